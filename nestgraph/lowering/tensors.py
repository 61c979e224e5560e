"""Arrays as tensors, and tensors as arrays."""

from typing import Any, cast

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


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece: one whose parts lie in several processes is gathered, which all of them must ask for."""
    return cast(Any, tensor).full_tensor() if hasattr(tensor, "full_tensor") else tensor


def placed_as(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor that each process has whole, in parts as another one of its shape lies; any other as it is."""
    if not hasattr(other, "full_tensor") or tensor.shape != other.shape or tensor.ndim == 0:
        return tensor
    from torch.distributed.tensor import distribute_tensor  # here: who has such tensors has loaded it

    mesh, placements = cast(Any, other).device_mesh, cast(Any, other).placements
    return cast(Any, distribute_tensor)(tensor, mesh, placements, src_data_rank=None)  # nothing is sent
