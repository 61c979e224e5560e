"""Which tensors are plain arrays of numbers, as all that is computed here takes them."""

from typing import TypeGuard

import torch
from torch import Tensor


def is_dense(value: object) -> TypeGuard[Tensor]:
    """Whether something is a tensor of real numbers, one at each place: none that is sparse, nested or quantised."""
    if not isinstance(value, Tensor) or value.is_nested or value.is_quantized or value.is_complex():
        return False
    return value.layout == torch.strided and value.device.type != "meta"
