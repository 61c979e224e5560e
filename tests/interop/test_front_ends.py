"""What torch.fx leaves whole torch.export reads, into the same network by the same rows; what is said of it."""

import copy
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.interop.calling import Call
from nestgraph.interop.capturing import UnexportableError, captured
from nestgraph.interop.front_ends import EXPORT, FX, Subject, networks, read_by
from nestgraph.interop.imported import Imported
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report
from nestgraph.interop.values import leaves
from nestgraph.lowering.evaluating import evaluated
from tests.interop.odd_modules import Branching, cases, written
from tests.interop.test_import_facts import IDENTITIES, POINTWISE, SUMS, part
from tests.interop.test_importing import convolutional
from tests.interop.test_interface import MODELS
from tests.laws import quick

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
OTHERWISE = {
    "work in place": "what is changed in place has one name, and is one layer less",
    "a product in place beside its factor": "as torch.fx loses the second name",
    "a hook": "which torch.fx does not see",
    "a channel shuffle by views": "of which torch.export leaves out a convolution that is asked for its size alone",
    "arithmetic with numbers": "Python's sum begins at 0, which is added",
    "a recurrent layer": "the module is a function",
    "attention": "which torch.fx does not look into",
    "a drop path": "whose note is on the input",
    "softsign": "as a function it is a quotient",
    "tanhshrink": "as a function it is a difference",
    "a quotient": "the name of a layer",
}
"""Modules that both front ends read, into networks that differ, and in what."""


def named_modules():
    """Modules and samples by name."""
    yield from ((name, case.module, [IMAGES]) for name, case in cases().items() if name != "a state that changes")
    yield from ((kind.__name__, kind(), samples()) for kind, samples in MODELS.items())
    parts = [*((name, inner) for name, (inner, _) in IDENTITIES.items()), *POINTWISE.items()]
    parts += [(name, part(function)) for name, function in SUMS.items()]
    for name, inner in parts:
        yield name, nn.Sequential(nn.Conv2d(3, 8, 3), inner, nn.Conv2d(4 if "halves" in name else 8, 8, 3)), [IMAGES]


def read(front, module, samples):
    with torch.no_grad():
        return read_by(front, Subject(evaluated(module), samples))


def both(module, samples):
    """The networks that both front ends read; None where one of them does not read it."""
    found = []
    for front in (FX, EXPORT):
        try:
            found.append(read(front, module, samples))
        except InteropError:
            return None
    return found


def agree(module, network, *samples):
    with torch.no_grad():
        wanted = list(leaves(Call()(module.eval(), *samples), torch.Tensor))
        got = list(leaves(ng.lower(network).eval()(*samples), torch.Tensor))
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_both_front_ends_read_the_same_network(every):
    torch.manual_seed(0)
    read_by_both, differ, tried = 0, [], list(named_modules())[::every]
    for name, module, samples in tried:
        found = both(module, samples)
        if found is None:
            continue
        read_by_both += 1
        if found[0] != found[1]:
            differ.append(name)
        if not (name == "a hook" or name.startswith("a product in place")):
            agree(module, found[1], *samples)
    assert sorted(differ) == sorted(OTHERWISE.keys() & {name for name, _, _ in tried})
    assert read_by_both > 70 // every


@quick(3)
@given(convolutional())
def test_both_front_ends_read_the_same_convolutions(module):
    one, other = both(module, [torch.randn(2, 4, 9, 9)])
    assert one == other


def test_facts_of_training_are_the_module_s():
    """Evaluation, which is exported, does not tell how a normalisation averages, and what is pruned."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.Dropout(0.3), nn.Flatten())
    module.append(nn.Linear(144, 2))
    nn.utils.prune.l1_unstructured(module[4], "weight", 0.5)
    one, other = both(module, [IMAGES])
    assert one == other
    assert other.layer("layer_0").counting is not None
    assert other.connection_count < 4 * 27 + 288


class Norm(nn.Module):
    """What no row covers, and torch.fx cannot trace where it is asked for its width."""

    def __init__(self, width):
        super().__init__()
        self.scale, self.inner = nn.Parameter(torch.rand(width)), nn.Linear(width, width)
        self.register_buffer("shift", torch.rand(width))

    def forward(self, x):
        if x.shape[1] % 2:
            raise ValueError("an odd width")
        for _ in range(x.shape[1] // 4):
            x = torch.relu(self.inner(x)) * self.scale + self.shift
        return x


def asking(width=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, width), Norm(width), nn.Linear(width, 3)), torch.randn(4, 5)


def test_what_torch_fx_leaves_whole_is_read_by_torch_export_and_said():
    module, x = asking()
    network = import_module(module, x)
    report = import_report(network)
    assert report.opaque_share == 0
    assert all(row.editable for row in report.rows[1:-1])
    assert report.rows[0].note == "read by torch.export, as torch.fx leaves 1 whole"
    assert "1.inner: which is called twice" in str(report)
    agree(module, network, x)
    agree(module, network, torch.randn(7, 5))


def test_what_both_leave_whole_is_as_torch_fx_reads_it():
    network = import_module(nn.Sequential(nn.Linear(5, 4), Branching(), nn.Linear(4, 3)), torch.randn(4, 5))
    report = import_report(network)
    assert [row.kind for row in report.rows] == ["input", "neurons", "opaque", "neurons"]
    assert "read by torch.fx, as torch.export cannot: GuardOnDataDependentSymNode" in report.rows[0].note


def test_the_reading_with_fewer_opaque_parameters_is_kept():
    class Half(nn.Module):
        """One part by shapes, which torch.export reads, and one that no kind covers."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Bilinear(8, 8, 8)

        def forward(self, x):
            y = self.a(x) if x.shape[1] == 8 else x
            return self.b(y, y)

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 8), Half(), nn.Linear(8, 3))
    found = dict(networks(Subject(evaluated(module), [torch.randn(4, 5)])))
    assert list(found) == [EXPORT, FX]
    counts = [sum(body.parameter_count for body in network.bodies.values()) for network in found.values()]
    assert counts == [8 * 8 * 8 + 8, 8 * 8 * 8 + 8 + 72]


def test_a_module_that_neither_reads_is_refused_with_both_reasons():
    with pytest.raises(InteropError, match=r"odd_modules.py.*torch.export cannot read it either: GuardOnData"):
        import_module(Branching(), torch.randn(4, 5))
    fixed = written(lambda _, x: x * 2 if x.shape[0] == 3 else x)
    with pytest.raises(InteropError, match="fixes the number of samples"):
        import_module(fixed, torch.randn(4, 5))


def test_nothing_is_exported_that_torch_fx_reads(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("exported")

    monkeypatch.setattr(torch.export, "export", refuse)
    for name in ("functional calls", "a norm that has no kind", "a recurrent layer"):
        assert import_module(cases()[name].module, IMAGES).layer_names
    assert "torch.export cannot: AssertionError: exported" in str(import_report(import_module(*asking())))


@pytest.mark.parametrize("front", [FX, EXPORT])
def test_what_only_the_number_of_samples_told_is_a_constant_where_samples_agree(front):
    torch.manual_seed(0)

    def biased(self, x):
        return self.linear(x) + x.new_full((x.size(0), 1), 0.5) * torch.ones_like(x[:, :4])

    def numbered(self, x):
        return self.linear(x) + x.new_ones(x.size(0), 1).cumsum(0)

    x = torch.randn(3, 5)
    for function, kinds in ((biased, ["neurons", "neurons"]), (numbered, ["neurons", "opaque"])):
        module = written(function, linear=nn.Linear(5, 4))
        network = read(front, module, [x])
        assert [row.kind for row in import_report(network).rows[1:]] == kinds
        agree(module, network, x)
        agree(module, network, torch.randn(7, 5))


# -- parameters, state and names ---------------------------------------------------------------------------


class Attention(nn.Module):
    """Attention with a head for each part, positions, a mask of the batch size and tied weights, as people write it."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.attention_dropout = 0.1
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)
        self.norm, self.positions = nn.LayerNorm(width), nn.Parameter(torch.randn(1, 5, width))
        self.back = nn.Linear(width, width, bias=False)
        self.back.weight = self.out.weight
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        batch, length, width = x.shape
        if length > self.positions.shape[1]:
            raise ValueError("too long")
        x = x + self.positions[:, :length]
        q, k, v = (
            t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm(x)).split(width, -1)
        )
        mask = torch.ones(length, length, dtype=torch.bool).tril().expand(batch, 1, length, length)
        y = (
            functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            .transpose(1, 2)
            .reshape(batch, length, width)
        )
        return self.drop(self.back(self.out(y))).mean(1)


def test_calls_and_parameters_of_a_program_have_their_names():
    torch.manual_seed(0)
    module, x = evaluated(Attention()), torch.randn(3, 5, 8)
    graph, _ = captured(module, [x], Call())
    torch.testing.assert_close(graph(x), module(x), rtol=0, atol=0)
    wider = torch.randn(9, 5, 8)
    torch.testing.assert_close(graph(wider), module(wider), rtol=0, atol=0)
    assert {name for name, _ in graph.named_parameters(remove_duplicate=False)} == {
        name for name, _ in module.named_parameters(remove_duplicate=False)
    }
    assert all(held is module.get_parameter(name) for name, held in graph.named_parameters(remove_duplicate=False))
    called = {
        getattr(node.target, "__name__", node.target) for node in graph.graph.nodes if node.op.startswith("call_")
    }
    assert {"scaled_dot_product_attention", "norm", "out", "back", "qkv", "drop"} <= called
    assert [node for node in graph.graph.nodes if isinstance(node.target, torch._ops.OpOverload)] == []
    assert not any("assert" in str(node.target) for node in graph.graph.nodes)
    assert "dropout of attention in training, of 0.1" in str(import_report(import_module(module, x)))


def test_an_export_changes_nothing_in_the_module():
    module, x = asking()
    before, state = (
        copy.deepcopy(module.train()),
        {name: tensor.clone() for name, tensor in module.state_dict().items()},
    )
    import_module(module, x)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())
    assert [sorted(vars(part)) for part in module.modules()] == [sorted(vars(part)) for part in before.modules()]
    assert not any(part._forward_hooks for part in module.modules())


def test_values_go_back_to_a_module_that_was_exported():
    module, x = asking(4)
    imported = Imported(module, x)
    assert import_report(imported.network).opaque_share == 0
    lowered = ng.lower(imported.network)
    lowered(x).square().sum().backward()
    with torch.no_grad():
        for parameter in lowered.parameters():
            parameter -= 0.01 * parameter.grad
    trained = ng.collect(imported.network, lowered)
    module.load_state_dict(imported.state_dict(trained))
    agree(module, trained, x)


# -- examples by name, and chosen outputs ------------------------------------------------------------------


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, x, scale=None, *, y, twice=False):  # noqa: ARG002
        hidden = self.a(x) + self.b(y)
        hidden = hidden * 2 if twice else hidden
        return {"sum": hidden, "parts": (self.a(x), [self.b(y)]), "nothing": None}


@pytest.mark.parametrize("front", [FX, EXPORT])
def test_examples_go_by_name_in_the_order_of_the_parameters(front):
    torch.manual_seed(0)
    module, x, y = ByName(), torch.randn(4, 4), torch.randn(4, 5)
    with torch.no_grad():
        network = read_by(front, Subject(evaluated(module), [x, y], Call(("x", "y"), ("parts.1.0", "sum"))))
        first, second = ng.lower(network).eval()(x, y)
        given = module(x, y=y)
    assert [port.layer for port in network.inputs] == ["x", "y"]
    assert [port.label for port in network.outputs] == [
        "output parts 1 0".replace("parts 1 0", "parts.1.0"),
        "output sum",
    ]
    torch.testing.assert_close(first, given["parts"][1][0])
    torch.testing.assert_close(second, given["sum"])


def test_examples_by_name_are_put_in_order():
    module, x, y = ByName(), torch.randn(4, 4), torch.randn(4, 5)
    network = import_module(module, {"y": y, "x": x}, outputs="sum")
    assert network.input_names == ("x", "y")
    torch.testing.assert_close(ng.lower(network).eval()(x, y), module.eval()(x, y=y)["sum"])
    with pytest.raises(InteropError, match=r"parameters of ByName.forward \(x, scale, y, twice\), got one for 'z'"):
        import_module(module, {"x": x, "z": y})
    with pytest.raises(InteropError, match="one tensor for each parameter without a default"):
        import_module(module, {"x": x})


@dataclasses.dataclass
class Told:
    score: torch.Tensor
    inner: list[torch.Tensor]


def test_results_may_be_a_data_class():
    torch.manual_seed(0)
    module, x = written(lambda s, x: Told(s.a(x), [s.b(x)]), a=nn.Linear(5, 4), b=nn.Linear(5, 3)), torch.randn(3, 5)
    network = import_module(module, x)
    assert [port.label for port in network.outputs] == ["output score", "output inner 0"]
    agree(module, network, x)


@pytest.mark.parametrize("outputs", ["total", 3, ["sum", "parts.2"]])
def test_outputs_that_are_not_there_are_refused(outputs):
    with pytest.raises(InteropError, match=r"outputs among \['sum', 'parts', 'nothing'\]|outputs among \['0', '1'\]"):
        import_module(ByName(), {"x": torch.randn(4, 4), "y": torch.randn(4, 5)}, outputs=outputs)


def test_a_recurrent_layer_at_the_end_gives_what_is_asked_for():
    module = nn.Sequential(nn.Linear(4, 6), nn.GRU(6, 3, batch_first=True))
    x = torch.randn(4, 2, 4)
    network = import_module(written(lambda self, x: self.inner(x), inner=module), x, outputs=0)
    torch.testing.assert_close(ng.lower(network).eval()(x), module(x)[0])


# -- threads ---------------------------------------------------------------------------------------------


class Meanwhile(nn.Module):
    """Does something else while it is exported."""

    def __init__(self, function):
        super().__init__()
        self.inner, self.function = nn.Linear(8, 4), function

    def forward(self, x):
        self.function(torch.compiler.is_exporting())
        return self.inner(x) if x.shape[1] == 8 else x


def test_what_another_thread_does_while_a_module_is_exported_is_as_ever():
    torch.manual_seed(0)
    other, x, found = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU()).eval(), torch.randn(3, 8), []
    plain = nn.Module.__call__, nn.Module.__getattr__, nn.Linear.__call__

    def work():
        classes = nn.Module.__call__(other, x), max(2, 3), min([1.0, 2.0])
        twice = torch.autograd.Function.__dict__["apply"]
        return *classes, copy.deepcopy(other)(x), callable(twice)

    expected = work()
    with ThreadPoolExecutor(1) as pool:
        module = Meanwhile(lambda exporting: found.append((exporting, pool.submit(work).result(60))))
        import_module(module, torch.randn(2, 8))
    during = [got for exporting, got in found if exporting]
    assert len(during) == 1
    for got, wanted in zip(during[0], expected, strict=True):
        assert torch.equal(got, wanted) if isinstance(wanted, torch.Tensor) else got == wanted
    assert plain == (nn.Module.__call__, nn.Module.__getattr__, nn.Linear.__call__)


def test_exports_at_once_wait_for_each_other_and_agree():
    module, x = asking()
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda _: import_module(module, x).digest, range(3))]
    assert len(set(found)) == 1
    assert threading.active_count() < 20


def test_what_cannot_be_exported_is_told_by_an_error_alone(capfd):
    with pytest.raises(UnexportableError, match="GuardOnData"):
        captured(evaluated(Branching()), [torch.randn(3, 4)], Call())
    assert capfd.readouterr() == ("", "")
