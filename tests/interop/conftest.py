"""What the tests of exports share."""

from functools import cache

import pytest


@pytest.fixture(scope="session")
def one_registry():
    """PyTorch's exporter looks up all its functions anew for each model, longer than it exports: here once."""
    try:
        from torch._export import utils
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:  # a later PyTorch keeps them elsewhere
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        patch.setattr(utils, "_materialize_cpp_cia_ops", cache(utils._materialize_cpp_cia_ops))
        yield
