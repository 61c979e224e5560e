"""The operations a layer applies to the sum of its incoming projections, in the order of its chain."""

from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from nestgraph.spec.record import Count, Extent, Record

Pair = Annotated[tuple[Count, Count], Strict(False)]  # a list will do
Padding = Annotated[tuple[Extent, Extent], Strict(False)]
ActivationFunction = Literal["relu", "leaky_relu", "tanh", "sigmoid"]


class BatchNorm(Record):
    """Batch normalisation (Ioffe, Szegedy 2015): gamma * (u - mean) / sqrt(variance + epsilon) + beta.

    The four values of each unit are columns of the layer. `momentum` is the weight of the newest batch in
    the running statistics.
    """

    kind: Literal["batch_norm"] = "batch_norm"
    epsilon: Annotated[float, Field(gt=0)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1


class Activation(Record):
    """A pointwise function. `slope` is leaky ReLU's factor for negative inputs and unused by the others."""

    kind: Literal["activation"] = "activation"
    function: ActivationFunction
    slope: Annotated[float, Field(ge=0, le=1)] = 0.01


class Pooling(Record):
    """Maximum or average over windows of a feature map; kernel, stride and padding are (height, width).

    Padding is at most half of the kernel, so that no window lies outside the map. It counts as 0 in an average.
    """

    kind: Literal["pooling"] = "pooling"
    function: Literal["max", "average"]
    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0)

    @model_validator(mode="after")
    def _check_padding(self) -> Self:
        if any(2 * pad > window for pad, window in zip(self.padding, self.kernel, strict=True)):
            raise ValueError(f"expected padding of at most half the kernel {self.kernel}, got {self.padding}")
        return self


class Dropout(Record):
    """Zero each output with `probability` while training (Srivastava et al. 2014)."""

    kind: Literal["dropout"] = "dropout"
    probability: Annotated[float, Field(ge=0, lt=1)]


Operation = Annotated[BatchNorm | Activation | Pooling | Dropout, Field(discriminator="kind")]
Chain = Annotated[tuple[Operation, ...], Field(max_length=16), Strict(False)]
