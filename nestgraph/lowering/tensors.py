"""Arrays as tensors, and tensors as arrays."""

import numpy as np
import torch
from torch import Tensor

from nestgraph.spec.arrays import AnyArray


def as_tensor(values: AnyArray, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that owns a copy of a read-only array of any strides."""
    return torch.tensor(values if values.flags.c_contiguous else np.ascontiguousarray(values), dtype=dtype)


def as_array(tensor: Tensor) -> AnyArray:
    """A tensor as float32 on the processor."""
    return tensor.detach().to("cpu", torch.float32).numpy()
