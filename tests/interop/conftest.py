"""What the tests of exports share."""

from functools import cache

import pytest


@pytest.fixture(scope="session")
def one_registry():
    """PyTorch's exporter reads all functions that it knows anew for each model, longer than it exports: here once."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:  # a later PyTorch keeps them elsewhere
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield
