"""A weight under its mask, as a part of a module that others may copy, pickle, trace and transform."""

from typing import Any

import torch
from torch import Tensor, nn

from nestgraph.lowering.memory import Memory


class MaskedWeight(nn.Module):
    """The product of a weight and a mask of zeros and ones: the only place where a lowered module multiplies by masks.

    It is a module without arguments that holds both, so that copies and pickles keep it whole, and whoever traces into
    it finds a multiplication. That is what it is to function transforms, compilers and in evaluation, too. In a plain
    training step it multiplies the weight in place, and its gradient into memory that it has already, since new
    products of AlexNet's 61 million weights would cost ten times the multiplication, in memory that the system clears
    first.
    """

    weight: nn.Parameter
    mask: Tensor

    def __init__(self, weight: nn.Parameter, mask: Tensor) -> None:
        """Hold a weight and its mask, of one shape."""
        super().__init__()
        self.weight = weight
        self.register_buffer("mask", mask)  # as float: multiplying by booleans would convert them in every step
        self._memory = Memory()

    def forward(self) -> Tensor:
        """`weight * mask`; in training dormant entries of the weight itself become 0, too."""
        if self.training and type(self.weight) is nn.Parameter and self.weight.requires_grad and _is_plain():
            return _Settled.apply(self.weight, self.mask, self._memory)  # type: ignore[no-any-return]
        return self.weight * self.mask


def _is_plain() -> bool:
    """Whether PyTorch records gradients here and now, seen by no tracer, compiler or transform."""
    return torch.is_grad_enabled() and not _is_watched()


def _is_watched() -> bool:
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        or torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    )


class _Settled(torch.autograd.Function):
    """A weight whose dormant entries are set to 0 in place, and whose gradient is multiplied by the mask."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, memory: Memory) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.memory = memory
        weight.data.mul_(mask)  # by `data`: dormant entries are 0 already, unless an optimizer moved them
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (mask,) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled() or _is_watched():  # the gradient is to be differentiated in turn, say
            return gradient * mask, None, None
        return ctx.memory.product(gradient, mask), None, None
