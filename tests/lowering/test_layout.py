"""How maps lie in memory changes the time that modules take, and results by rounding at most."""

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import fx

from nestgraph.errors import LoweringError
from nestgraph.graph import reference
from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from nestgraph.lowering.layout import PLANAR, SWEEPING, SWEEPS
from nestgraph.seeds import alexnet, lenet_5
from tests.laws import quick
from tests.lowering.running import close, results, tensors
from tests.lowering.test_compact import scale_of
from tests.strategies import SEEDS, inputs_for, networks


class Lying(fx.Interpreter):
    """Runs a module and keeps what its sweeps of maps read, and what is to be read map by map."""

    def __init__(self, module):
        super().__init__(module)
        self.swept, self.planar = [], []

    def run_node(self, n):
        sweeps = n.op == "call_module" and isinstance(self.submodules[n.target], SWEEPING)
        if sweeps or n.target in SWEEPS:
            self.swept.append(self.env[n.args[0]])
        elif n.target in PLANAR:
            self.planar.append(self.env[n.args[0]])
        return super().run_node(n)


def is_last(maps):
    """Whether the channels of each place lie side by side; a single channel does, whatever its strides."""
    return maps.shape[1] == 1 or maps.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.timeout(600)  # of the many networks that a thorough run draws
@quick(40)
@given(networks(), SEEDS)
def test_all_layouts_agree_with_the_reference_and_lie_as_they_say(network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    expected = reference.forward(network, inputs)
    for layout in ("channels_last", "contiguous"):
        for module in (lower(network, layout=layout), *(compact(network, batch, layout) for batch in (1, 10**6))):
            for name, got in results(module, network, inputs).items():
                close(got, expected[name], scale_of(network, expected))
            if layout == "channels_last":
                lying = Lying(module.eval())
                lying.run(*tensors(network, inputs))
                assert all(map(is_last, lying.swept))
                assert all(maps.is_contiguous() for maps in lying.planar)


@pytest.mark.parametrize("make", [lower, compact])
@pytest.mark.parametrize(("network", "shape"), [(lenet_5(), (1, 28, 28)), (alexnet(width=0.05), (3, 224, 224))])
def test_a_processor_has_the_channels_of_images_last(make, network, shape):
    """A single map lies both ways but for its strides, by which PyTorch chooses the kernels of all that follows."""
    lying = Lying(make(network).eval())
    lying.run(torch.zeros(2, *shape))
    assert [maps.stride(1) for maps in lying.swept] == [1] * len(lying.swept)
    assert not any(maps.is_contiguous() for maps in lying.swept[1:])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_they_lie_map_by_map():
    lying = Lying(lower(lenet_5(), device="cuda"))
    lying.run(torch.zeros(2, 1, 28, 28, device="cuda"))
    assert all(maps.is_contiguous() for maps in lying.swept)


def test_maxima_are_taken_of_slices_in_inference_alone_where_that_is_quicker():
    network = lenet_5()
    assert "maximum" in compact(network, 256).code
    assert "max_pool2d" not in compact(network, 256).code
    assert "max_pool2d" in compact(network, 1).code  # a call takes longer than the maxima of so few
    assert "max_pool2d" in compact(network, 256, "contiguous").code
    assert "max_pool2d" in lower(network).eval().code


@pytest.mark.parametrize("make", [lower, compact])
def test_an_unknown_layout_is_refused(make):
    with pytest.raises(LoweringError, match="layout: one of 'auto', 'channels_last', 'contiguous', got 'NHWC'"):
        make(lenet_5(), layout="NHWC")
