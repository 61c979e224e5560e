"""A module inside of wrappers is read as it is; what has nothing to read is refused with the way round."""

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.interop.imported import Imported
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report

COMPUTED = "weights that the module computes from others are taken as they are"


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))


def with_part(change):
    module = plain()
    module[0] = change(module[0])
    return module


def compiled_in_place():
    module = plain()
    module.compile()
    return module


class CompiledForward(nn.Sequential):
    forward = torch.compile(nn.Sequential.forward, backend="eager")


def sharded():
    module = plain()
    fully_shard(module)
    return module


def empty():
    with torch.device("meta"):
        return plain()


READ = {
    "torch.compile": lambda: torch.compile(plain()),
    "compile()": compiled_in_place,
    "a compiled part": lambda: with_part(torch.compile),
    "DataParallel": lambda: nn.DataParallel(plain()),
    "both": lambda: torch.compile(nn.DataParallel(plain())),
    "AveragedModel": lambda: AveragedModel(plain()),
    "a part that is computed again": lambda: with_part(checkpoint_wrapper),
    "torch.fx": lambda: torch.fx.symbolic_trace(plain()),
}
COMPUTING = {
    "weight_norm, of old": nn.utils.weight_norm,
    "spectral_norm, of old": nn.utils.spectral_norm,
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}
REFUSED = {
    "scripted": (lambda: torch.jit.script(plain()), "RecursiveScriptModule, which is scripted or traced"),
    "traced by jit": (lambda: torch.jit.trace(plain().eval(), torch.randn(2, 8)), "import the module that it was made"),
    "quantised": (
        lambda: torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}),
        "'0' in it, whose weights are packed integers: import the module before it was quantised",
    ),
    "without numbers": (empty, "'0.weight' in it, which has no numbers: load them first"),
    "without shapes": (lambda: nn.Sequential(nn.LazyLinear(4)), "'0.weight' in it, which has no shape yet: run"),
}


@pytest.fixture
def group(tmp_path) -> Iterator[None]:
    """A group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def check_read(module):
    """A wrapped module gives the network of the plain one, and takes its values back under the names that it has."""
    x = torch.randn(5, 8)
    imported = Imported(module, x)
    assert imported.network == import_module(plain(), x)
    lowered = ng.lower(imported.network)
    with torch.no_grad():
        for parameter in lowered.parameters():
            parameter += 0.1
    trained = ng.collect(imported.network, lowered)
    state = imported.state_dict(trained)
    module.load_state_dict(state)
    again = import_module(module, x)
    assert again == trained
    assert imported.values(imported.network, module.state_dict()).apply(imported.network).network == trained


@pytest.mark.parametrize("name", READ)
def test_a_module_inside_of_a_wrapper_is_read(name):
    check_read(READ[name]())


def test_a_module_whose_processes_have_all_of_it_is_read(group):  # noqa: ARG001
    check_read(nn.parallel.DistributedDataParallel(plain()))


@pytest.mark.parametrize("wrap", [FullyShardedDataParallel, fully_shard])
def test_a_module_of_which_each_process_has_a_part_is_refused(group, wrap):  # noqa: ARG001
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = sharded() if wrap is fully_shard else wrap(plain(), device_id=torch.device("cpu"))
    with pytest.raises(InteropError, match="parameters are sharded: gather them"):
        import_module(module, torch.randn(2, 8))


def test_a_forward_that_is_compiled_is_read_by_torch_export():
    torch.manual_seed(0)
    module, x = CompiledForward(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)), torch.randn(2, 8)
    network = import_module(module, x)
    assert import_report(network).opaque_share == 0
    torch.testing.assert_close(ng.lower(network).eval()(x), nn.Sequential.forward(module.eval(), x))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:.*spectral_norm:FutureWarning")
@pytest.mark.parametrize("name", COMPUTING)
def test_weights_that_are_computed_are_taken_as_they_are_now(name):
    module, x = with_part(COMPUTING[name]), torch.randn(5, 8)
    with torch.no_grad():
        next(module[0].parameters()).mul_(1.5)
        for parameter in module[0].parameters():
            parameter += 0.1
    network = import_module(module, x)
    assert COMPUTED in str(import_report(network))
    torch.testing.assert_close(ng.lower(network).eval()(x), module.eval()(x))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_has_nothing_to_read_is_refused_with_the_way_round(name):
    build, message = REFUSED[name]
    with pytest.raises(InteropError, match=message):
        import_module(build(), torch.randn(2, 8))
