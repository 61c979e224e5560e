"""Batch normalisation over the samples of all processes, on any device."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

ATEN: Any = torch.ops.aten


class Normalised(torch.autograd.Function):
    """Batch normalisation by the statistics of all processes' samples; its gradients know that these are of samples.

    All passes over samples are PyTorch's own kernels, so it takes little longer than in one process. A process sends
    its count, means and variances, and in the backward pass two sums; all put them together in one order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        """What is normalised, and the means, variances (without Bessel's correction) and count of all samples.

        Args:
            ctx: torch's.
            x: (batch, units, *size).
            weight: (units,).
            bias: (units,).
            eps: is added to variances.
        """
        own, spread = ATEN.batch_norm_update_stats(x, None, None, 0.0)
        places = own.new_tensor([x.numel() / x.shape[1]])
        mine = torch.cat([places, own, spread])
        told = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(told, mine)
        every = torch.stack(told)
        counts, (means, variances) = every[:, :1], every[:, 1:].chunk(2, dim=1)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        given = nn.functional.batch_norm(x, mean, variance, weight, bias, eps=eps)
        return given, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The gradients of x, weight and bias; that of x through the statistics, too."""
        x, weight, mean, variance, count = ctx.saved_tensors
        last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        slope = gradients[0].contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        # as if the statistics were given: also the sums over samples of the slope times what is normalised, and of it
        direct, of_weight, of_bias = ATEN.native_batch_norm_backward(
            slope, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_weight, of_bias])
        distributed.all_reduce(sums)
        inverse = (variance + ctx.eps).rsqrt()
        scale = (inverse if weight is None else inverse * weight) / count
        by_place = -scale * inverse * sums[0]
        shape = (1, -1, *(1,) * (x.ndim - 2))
        through = direct.addcmul_(x, by_place.reshape(shape)).sub_((scale * sums[1] + by_place * mean).reshape(shape))
        return through, None if weight is None else of_weight, None if weight is None else of_bias, None


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
        given, mean, variance, count = cast(Any, Normalised).apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked or 1) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean), momentum)
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_var.lerp_(unbiased.to(self.running_var), momentum)
        return given


def reduce_statistics(module: nn.Module) -> None:
    """Let each batch normalisation of a module, its bodies' too, take its statistics from all processes."""
    parts: list[tuple[str, Any]] = [*cast(Any, module).named_modules()]
    for name, part in parts:
        if isinstance(part, _BatchNorm) and not isinstance(part, ReducedBatchNorm):
            module.set_submodule(name, ReducedBatchNorm.of(part))
