"""The operations a layer applies to the sum of its incoming projections, in the order of its chain."""

import operator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, Strict, model_validator

from nestgraph.spec.record import Count, Extent, Record, absent

Pair = Annotated[tuple[Count, Count], Strict(False)]  # a list will do
Padding = Annotated[tuple[Extent, Extent], Strict(False)]
Factor = Annotated[float, Field(gt=0)]
PoolingFunction = Literal["max", "average"]
ActivationFunction = Literal[
    "relu",
    "leaky_relu",
    "tanh",
    "sigmoid",
    "relu6",
    "hard_sigmoid",
    "hard_swish",
    "silu",
    "gelu",
    "gelu_tanh",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "mish",
    "log_sigmoid",
    "tanh_shrink",
    "clamp",
    "abs",
    "sign",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "sin",
    "cos",
    "erf",
]


class _Operation(Record):
    """What edits and lowerings ask an operation, whatever its kind; what is not declared is the careful answer to all.

    Attributes:
        mixes_units: whether a unit's output depends on the sums of others: they are fed, read and kept together.
        keeps_sign: whether it never makes a negative number of numbers that are not.
    """

    mixes_units: ClassVar[bool] = False
    keeps_sign: ClassVar[bool] = False


class BatchNorm(_Operation):
    """Batch normalisation (Ioffe, Szegedy 2015): gamma * (u - mean) / sqrt(variance + epsilon) + beta.

    The four values of each unit are columns of the layer.

    Attributes:
        epsilon: what is added to the variance.
        momentum: the weight of the newest batch in the running statistics; None for the average over all batches.
        batches: how many batches such an average has seen. It came after the first snapshots: 0 is left out of JSON.
    """

    kind: Literal["batch_norm"] = "batch_norm"
    epsilon: Annotated[float, Field(gt=0)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] | None = 0.1
    batches: Annotated[Extent, Field(exclude_if=operator.not_)] = 0

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        if self.batches and self.momentum is not None:
            raise ValueError(f"expected batches with momentum None only, got momentum {self.momentum}")
        return self


class Activation(_Operation):
    """A pointwise function. `slope` is leaky ReLU's factor for negative inputs, and of ELU (Clevert et al. 2016) how
    far it falls below 0; unused by the others. `clamp` has the bounds `low` and `high`, one at least.

    The hard ones are those of MobileNetV3 (Howard et al. 2019), x * min(max(x + 3, 0), 6) / 6; `gelu` has the error
    function (Hendrycks, Gimpel 2016) and `gelu_tanh` its approximation.
    """

    kind: Literal["activation"] = "activation"
    function: ActivationFunction
    slope: Annotated[float, Field(ge=0, le=1)] = 0.01
    low: Annotated[float | None, Field(exclude_if=absent)] = None
    high: Annotated[float | None, Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        bounded = self.low is not None or self.high is not None
        if bounded != (self.function == "clamp"):
            raise ValueError(f"expected bounds low or high of a clamp, and only there, got function {self.function!r}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"expected low of at most high, got {self.low} and {self.high}")
        return self


class Pooling(_Operation):
    """Maximum or average over windows of a feature map; kernel, stride and padding are (height, width).

    Padding is at most half of the kernel, so that no window lies outside the map. Windows follow PyTorch's rules. The
    two switches came after the first snapshots: at their default they are left out of JSON, so digests stay.

    Attributes:
        function: what is taken of a window.
        kernel: the extent of a window.
        stride: the step from a window to the next.
        padding: rows and columns on each side; they are never the maximum.
        ceil_mode: whether a last window may reach beyond the padding; one that starts beyond the map may not.
        count_padding: whether an average counts the padding as zeros, else only what lies in the map. Never counted is
            what lies beyond the padding.
    """

    kind: Literal["pooling"] = "pooling"
    keeps_sign: ClassVar[bool] = True
    function: PoolingFunction
    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0)
    ceil_mode: Annotated[bool, Field(exclude_if=operator.not_)] = False
    count_padding: Annotated[bool, Field(exclude_if=operator.truth)] = True

    @model_validator(mode="after")
    def _check_padding(self) -> Self:
        if any(2 * pad > window for pad, window in zip(self.padding, self.kernel, strict=True)):
            raise ValueError(f"expected padding of at most half the kernel {self.kernel}, got {self.padding}")
        return self


class AdaptivePooling(_Operation):
    """Maximum or average over windows that part a map of any size into (height, width) of `size`, as PyTorch parts it.

    Along each axis, window i of n on an extent e is from floor(i * e / n) up to ceil((i + 1) * e / n).
    """

    kind: Literal["adaptive_pooling"] = "adaptive_pooling"
    keeps_sign: ClassVar[bool] = True
    function: PoolingFunction
    size: Pair


class Upsampling(_Operation):
    """Interpolation of a map, as PyTorch's `interpolate` does it.

    Places are taken from the middles of pixels, or with `align_corners` (bilinear only) so that corners meet. `nearest`
    reads place floor(i * e / n) of an extent e for the i-th of n, rounded in single precision as PyTorch rounds it.

    Attributes:
        mode: how values between places are made.
        size: the (height, width) that it gives.
        align_corners: whether the corners of both maps are at the same places.
        scale: factors by which a map of any size grows, rounded down: `size` is what they make of the layer's own.
            Places then go by the factors, where corners are not aligned. None where the size is absolute. It came
            after the first snapshots: None is left out of JSON, so digests stay.
    """

    kind: Literal["upsampling"] = "upsampling"
    keeps_sign: ClassVar[bool] = True
    mode: Literal["nearest", "bilinear"]
    size: Pair
    align_corners: bool = False
    scale: Annotated[tuple[Factor, Factor] | None, Strict(False), Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check_corners(self) -> Self:
        if self.align_corners and self.mode == "nearest":
            raise ValueError("expected align_corners with mode bilinear only, got mode nearest")
        return self


class LocalResponseNorm(_Operation):
    """Division by the responses of neighbouring maps (Krizhevsky et al. 2012): x / (k + alpha * s / size) ** beta.

    s is the sum of squares over the living units with ids from i - size // 2 to i + (size - 1) // 2, at the place of
    the unit with id i. An absent id counts as 0 and positions do not matter, so that removing a unit whose output is 0
    changes nothing. Where ids are consecutive it is PyTorch's `local_response_norm`.
    """

    kind: Literal["local_response_norm"] = "local_response_norm"
    mixes_units: ClassVar[bool] = True
    keeps_sign: ClassVar[bool] = True
    size: Count
    alpha: Annotated[float, Field(ge=0)] = 1e-4
    beta: Annotated[float, Field(ge=0)] = 0.75
    k: Annotated[float, Field(gt=0)] = 1.0


class Dropout(_Operation):
    """Drop outputs with `probability` while training (Srivastava et al. 2014).

    Attributes:
        probability: of each to be dropped.
        maps: whether whole maps are dropped together (Tompson et al. 2015), which single values are alike.
        alpha: whether what is dropped takes SELU's value for large negative inputs, and mean and variance stay
            (Klambauer et al. 2017), instead of 0. The two switches came after the first snapshots: at their default
            they are left out of JSON, so digests stay.
    """

    kind: Literal["dropout"] = "dropout"
    keeps_sign: ClassVar[bool] = True
    probability: Annotated[float, Field(ge=0, lt=1)]
    maps: Annotated[bool, Field(exclude_if=operator.not_)] = False
    alpha: Annotated[bool, Field(exclude_if=operator.not_)] = False


Resizing = Pooling | AdaptivePooling | Upsampling
"""What can change the size of a map."""

Spatial = Resizing | LocalResponseNorm
"""What only maps can have."""

Operation = Annotated[BatchNorm | Activation | Spatial | Dropout, Field(discriminator="kind")]
Chain = Annotated[tuple[Operation, ...], Field(max_length=16), Strict(False)]
