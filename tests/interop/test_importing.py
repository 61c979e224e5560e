"""A network computes what the module computed that it came from, and says what it could not take apart."""

import logging

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.graph.reference import forward
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report
from tests.interop.odd_modules import cases
from tests.laws import quick

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
CASES = cases()


def outputs(result):
    if isinstance(result, torch.Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in outputs(part)]


def agree(module, network, *inputs):
    """The reference and the lowered module give what the module gives."""
    module = module.eval()
    with torch.no_grad():
        wanted = outputs(module(*inputs))
        lowered = outputs(ng.lower(network).eval()(*inputs))
    by_name = dict(zip(network.input_names, (x.numpy() for x in inputs), strict=True))
    referred = forward(network, by_name)
    assert len(wanted) == len(lowered) == len(network.output_names)
    for results in (lowered, [torch.tensor(referred[name]).float() for name in network.output_names]):
        for tensor in wanted:
            assert any(same(values, tensor) for values in results)


def same(got, wanted):
    return got.numel() == wanted.numel() and torch.allclose(got.reshape(wanted.shape), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_odd_modules_come_over_or_say_why_not(name):
    case = CASES[name]
    if case.error:
        with pytest.raises(InteropError, match=case.error):
            import_module(case.module, IMAGES)
        return
    network = import_module(case.module, IMAGES)
    reasons = [row.reason for row in import_report(network).rows if row.kind in ("opaque", "unitwise")]
    assert len(reasons) == len(case.opaque)
    assert all(part in reason for part, reason in zip(case.opaque, reasons, strict=True))
    agree(case.module, network, IMAGES)
    agree(case.module, network, torch.randn(5, 3, 8, 8))  # no constant of the batch was left in it


def test_a_module_stays_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2))
    module[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    import_module(module, IMAGES)
    assert modes == [part.training for part in module.modules()]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_weights_that_are_shared_are_noted():
    network = import_module(CASES["a module used twice"].module, IMAGES)
    notes = [row.note for row in import_report(network).rows if row.note]
    assert notes == ["twice: which is called twice, they are copies here and train apart"]
    assert notes[0] in str(import_report(network))


def test_statistics_after_a_step_of_training_are_the_module_s():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
    )
    network = import_module(module, IMAGES)
    lowered = ng.lower(network).train()
    for part in (module.train(), lowered):
        part(IMAGES)
    after = ng.collect(network, lowered)
    columns = after.unit_columns(network.layer_names[1]).values
    np.testing.assert_allclose(columns["mean"], module[1].running_mean.numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(columns["variance"], module[1].running_var.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "expected example inputs"),
        ("image", "import_module expected example_inputs: an instance of Tensor or a sequence"),
        (torch.randn(2, 3), "runs on"),
        (torch.randn(2, 3, 8), "runs on"),
        ((torch.randn(2, 192), torch.randn(2, 192)), "got 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(InteropError, match=message):
        import_module(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), inputs)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.LayerNorm(5), r"expected input with shape \[\*, 5\]"),
        (nn.Linear(5, 2), "mat1 and mat2 shapes cannot be multiplied"),
        (nn.BatchNorm2d(5), "running_mean should contain 4 elements not 5"),
        (nn.GroupNorm(2, 6), "Expected weight to be a vector of size equal to the number of channels"),
        (nn.PReLU(3), "Found parameter numbers = 3 and channel size = 4"),
        (nn.Conv2d(3, 2, 3), "to have 3 channels, but got 4 channels"),
        (nn.MaxPool2d(9), "Output size is too small"),
    ],
)
def test_why_a_module_does_not_run_pytorch_says_once(part, message, capfd, caplog):
    with pytest.raises(InteropError, match=f"inputs that Sequential runs on, .*{message}"):
        import_module(nn.Sequential(nn.Conv2d(3, 4, 3), part), IMAGES)
    assert not capfd.readouterr().err
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@st.composite
def convolutional(draw):
    """A module of convolutions of all kinds, on images (batch, 4, 9, 9)."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    parts: list[nn.Module] = []
    maps, size = 4, 9
    for _ in range(draw(st.integers(1, 4))):
        out = draw(st.sampled_from([4, 8]))
        kernel = draw(st.integers(1, min(3, size)))
        groups = draw(st.sampled_from([1, 2, 4]))
        stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2))
        parts.append(nn.Conv2d(maps, out, kernel, stride, padding, groups=groups, bias=draw(st.booleans())))
        size = (size + 2 * padding - kernel) // stride + 1
        if draw(st.booleans()):
            norm = nn.BatchNorm2d(out)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            parts.append(norm)
        parts.append(draw(st.sampled_from([nn.ReLU(), nn.Hardswish(), nn.GELU(), nn.LeakyReLU(0.2), nn.Identity()])))
        if size >= 3 and draw(st.booleans()):
            parts.append(
                draw(st.sampled_from([nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2), nn.ChannelShuffle(2)]))
            )
            size = {"MaxPool2d": -(-size // 2), "AvgPool2d": size // 2}.get(type(parts[-1]).__name__, size)
        maps = out
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(maps * size * size, 3))


@quick(20)
@given(convolutional())
def test_convolutional_modules_come_over_without_an_opaque_layer(module):
    images = torch.randn(2, 4, 9, 9)
    network = import_module(module, images)
    assert import_report(network).opaque_share == 0
    agree(module, network, images)
