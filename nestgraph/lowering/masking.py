"""A weight under its mask, as a part of a module that others may copy, pickle, trace and transform."""

from typing import Any

import torch
from torch import Tensor, nn


class MaskedWeight(nn.Module):
    """The product of a weight and a mask of zeros and ones: the only place where a lowered module multiplies by masks.

    It is a module without arguments that holds both, so that copies and pickles keep it whole, and whoever traces into
    it finds a multiplication. That is what it is to function transforms, compilers and in evaluation, too. In a plain
    training step it multiplies the weight in place, since a new product of AlexNet's 61 million weights would cost
    ten times the multiplication, in memory that the system clears first.
    """

    weight: nn.Parameter
    mask: Tensor

    def __init__(self, weight: nn.Parameter, mask: Tensor) -> None:
        """Hold a weight and its mask, of one shape."""
        super().__init__()
        self.weight = weight
        self.register_buffer("mask", mask)  # as float: multiplying by booleans would convert them in every step

    def forward(self) -> Tensor:
        """`weight * mask`; in training dormant entries of the weight itself become 0, too."""
        if self.training and _is_plain(self.weight):
            return _Settled.apply(self.weight, self.mask)  # type: ignore[no-any-return]
        return self.weight * self.mask


def _is_plain(weight: Any) -> bool:
    """Whether a weight is a parameter that PyTorch trains here and now, seen by no tracer, compiler or transform."""
    return (
        not torch.compiler.is_compiling()
        and type(weight) is nn.Parameter
        and weight.requires_grad
        and torch.is_grad_enabled()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    )


class _Settled(torch.autograd.Function):
    """A weight whose dormant entries are set to 0 in place, and whose gradient is multiplied by the mask."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        weight.data.mul_(mask)  # by `data`: dormant entries are 0 already, unless an optimizer moved them
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (mask,) = gradients, ctx.saved_tensors
        return gradient * mask, None
