"""A weight under its mask, without the memory that a product takes."""

from typing import Any

import torch
from torch import Tensor


class _Masked(torch.autograd.Function):
    """The product of a weight and a mask of zeros and ones, computed in place, forward and backward.

    Multiplying anew would write and give back as much memory as the weights take, twice a step: with AlexNet's 61
    million weights that costs ten times what the multiplication does.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        weight.data.mul_(mask)  # by `data`: dormant entries are 0 already, unless an optimizer moved them
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (mask,) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated in turn
            return gradient * mask, None
        return gradient.mul_(mask), None


def masked(weight: Tensor, mask: Tensor) -> Tensor:
    """`weight * mask` for a mask of zeros and ones; dormant entries of the weight itself become 0, too."""
    if torch.compiler.is_compiling():  # a compiler fuses the product, and must not see data change
        return weight * mask
    return _Masked.apply(weight, mask)  # type: ignore[no-any-return]
