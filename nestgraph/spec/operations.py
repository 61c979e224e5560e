"""The operations a layer applies to the sum of its incoming projections, in the order of its chain."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from nestgraph.spec.record import Record

Pair = tuple[PositiveInt, PositiveInt]
Padding = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
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
    """Maximum or average over windows of a feature map; kernel, stride and padding are (height, width)."""

    kind: Literal["pooling"] = "pooling"
    function: Literal["max", "average"]
    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0)


class Dropout(Record):
    """Zero each output with `probability` while training (Srivastava et al. 2014)."""

    kind: Literal["dropout"] = "dropout"
    probability: Annotated[float, Field(ge=0, lt=1)]


Operation = Annotated[BatchNorm | Activation | Pooling | Dropout, Field(discriminator="kind")]
