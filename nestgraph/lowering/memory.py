"""Memory for the gradients of large weights, which costs more to get anew than to fill."""

import sys
from typing import Any

import torch
from torch import Tensor

LARGE = 2**20
"""Entries from which on new memory costs more than finding out whether the old is free."""

Holders = tuple[int, int]
"""How many hold a tensor's memory: tensors, what NumPy and others have of it among them; and storages of Python."""


class Memory:
    """Memory for the gradients of one weight: what nobody holds any more is taken for the next one.

    The incoming gradient stays as it is, since hooks may hold it, so the product needs memory of its own; the system
    clears what it gives anew, which takes longer than a product. This is for the processor alone: the allocators of
    other devices keep memory themselves, and know what their queues still read.

    A copy of it, and one that was pickled, starts without memory.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, Holders]] = []

    def __reduce__(self) -> tuple[type["Memory"], tuple[()]]:
        return Memory, ()

    def product(self, gradient: Tensor, mask: Tensor) -> Tensor:
        """`gradient * mask`, which may be in memory that an earlier product was in, unless that is held still."""
        if mask.numel() < LARGE or not (_is_real(gradient) and _is_like(gradient, mask) and gradient.is_cpu):
            return gradient * mask
        kept, alone = self._taken(mask)
        torch.mul(gradient, mask, out=kept)
        product = kept.detach()  # a tensor of its own: what is of no other use becomes the weight's gradient as it is
        self._kept.append((kept, alone))
        return product

    def _taken(self, like: Tensor) -> tuple[Tensor, Holders]:
        """A tensor that only the caller holds, and how many hold its memory then; threads get different ones."""
        if self._kept:
            kept, alone = self._kept.pop()
            if _is_like(kept, like) and _is_whole(kept) and _holders(kept) == alone and not kept.is_shared():
                return kept, alone
        kept = torch.empty_like(like)
        return kept, _holders(kept)


def _is_real(tensor: Tensor) -> bool:
    """Whether a tensor has memory, as those that stand for batches of tensors or for traces have not."""
    return type(tensor) is Tensor and torch._C._has_storage(tensor)  # pyright: ignore[reportPrivateUsage]


def _is_like(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.device, one.layout, one.shape) == (other.dtype, other.device, other.layout, other.shape)


def _is_whole(tensor: Tensor) -> bool:
    """Whether nobody freed memory of a tensor under it, as those do who free gradients by their storage."""
    return tensor.untyped_storage().nbytes() >= tensor.nbytes


def _holders(tensor: Tensor) -> Holders:
    storage: Any = tensor.untyped_storage()
    return torch._C._storage_Use_Count(storage._cdata), sys.getrefcount(storage)  # pyright: ignore[reportPrivateUsage]
