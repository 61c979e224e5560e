"""Batch normalisation over the samples of all processes, on any device."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]


class Summed(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        """See `Summed`."""
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        """See `Summed`."""
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def summed(tensor: Tensor) -> Tensor:
    """See `Summed`."""
    return cast(Any, Summed).apply(tensor)


class ReducedBatchNorm(_BatchNorm):
    """Batch normalisation whose statistics are those of the samples of all processes while it trains.

    What torch's own SyncBatchNorm is on GPUs: the same as one process has over the whole batch, but for rounding. Each
    process arrives at the same statistics to the bit.
    """

    @classmethod
    def of(cls, module: _BatchNorm) -> "ReducedBatchNorm":
        """One in the place of another, with its parameters and buffers."""
        made = cls.__new__(cls)
        made.__dict__ = module.__dict__
        return made

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  # torch's name
        """Any number of extents."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise (batch, units, *size)."""
        if not self.training or input.numel() == 0 or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        places = (0, *range(2, input.ndim))
        shape = (1, -1, *(1,) * (input.ndim - 2))
        counted = input.new_tensor([input.numel() / input.shape[1]])
        sums = summed(torch.cat([input.sum(places), counted]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        apart = input - mean.reshape(shape)
        variance = summed((apart * apart).sum(places)) / count
        with torch.no_grad():
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked or 1) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach().to(self.running_mean), momentum)
            unbiased = variance.detach() * (count / (count - 1).clamp(min=1))
            self.running_var.lerp_(unbiased.to(self.running_var), momentum)
        given = apart * (variance + self.eps).rsqrt().reshape(shape)
        if not self.affine:
            return given
        return given * self.weight.reshape(shape) + self.bias.reshape(shape)


def reduce_statistics(module: nn.Module) -> None:
    """Let each batch normalisation of a module, its bodies' too, take its statistics from all processes."""
    parts: list[tuple[str, Any]] = [*cast(Any, module).named_modules()]
    for name, part in parts:
        if isinstance(part, _BatchNorm) and not isinstance(part, ReducedBatchNorm):
            module.set_submodule(name, ReducedBatchNorm.of(part))
