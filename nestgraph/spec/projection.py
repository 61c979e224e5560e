"""The records of projections: how the units of one layer feed the units of another."""

import operator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nestgraph.spec.operations import Padding, Pair
from nestgraph.spec.record import Extent, Name, Record


def _default_name(data: dict[str, Any]) -> str:
    return f"{data.get('source', 'source')}_to_{data.get('target', 'target')}"[:64]


Frozen = Annotated[bool, Field(exclude_if=operator.not_)]


class _Projection(Record):
    source: Name
    target: Name
    name: Name = Field(default_factory=_default_name, validate_default=True)


class Dense(_Projection):
    """Any unit to any neuron. Weights are (out, in) from neurons, (out, maps, height, width) from maps.

    Attributes:
        frozen: as of `Conv`.
    """

    kind: Literal["dense"] = "dense"
    frozen: Frozen = False


class Conv(_Projection):
    """Maps to maps by a kernel: weights (out, in, kernel height, kernel width).

    A grouped convolution is one whose mask is block diagonal: groups need no field, and survive edits.

    Attributes:
        frozen: whether the weights are a parameter that does not train (`requires_grad` is off). It changes no value.
    """

    kind: Literal["conv"] = "conv"
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
    frozen: Frozen = False


class OneToOne(_Projection):
    """Each linked target unit reads one source unit: skips, concatenations, depthwise kernels, gates.

    Weights are (links,), or (links, kernel height, kernel width) where a kernel is given (depthwise). Without a kernel,
    maps of size (1, 1) lead to neurons and neurons to such maps, too.

    Attributes:
        trained: False keeps the weights fixed, as an identity skip has them.
        frozen: as of `Conv`; says nothing of weights that are fixed.
        gate: whether the links multiply the sum and bias of their targets rather than add to the sum: u = (sum + bias)
            * product of weight * source over the gates. A unit without a link is not gated. Neurons and maps of size
            (1, 1) gate maps of any size. All links of a gate are active, as dormant ones would be links of weight 0.
    """

    kind: Literal["one_to_one"] = "one_to_one"
    kernel: Pair | None = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
    trained: bool = False
    frozen: Frozen = False
    gate: Annotated[bool, Field(exclude_if=operator.not_)] = False  # left out of older records, so digests stay

    @model_validator(mode="after")
    def _check_gate(self) -> Self:
        if self.gate and self.kernel is not None:
            raise ValueError(f"expected a gate without a kernel, got {self.kernel}: gate by a layer of what it gives")
        return self


class Argument(_Projection):
    """The body of an opaque layer reads all of another layer, as its argument number `place`, from 0 up.

    It has no connections: its weights and mask have shape (0,). Each unit of the source is joined to each of the
    target.
    """

    kind: Literal["argument"] = "argument"
    place: Extent


Weighted = Dense | Conv | OneToOne
"""A projection with connections."""

Projection = Annotated[Weighted | Argument, Field(discriminator="kind")]


def is_trained(projection: Projection) -> bool:
    """Whether training changes a projection's weights."""
    return not isinstance(projection, OneToOne) or projection.trained


def is_frozen(projection: Projection) -> bool:
    """Whether a projection's weights are a parameter that does not train."""
    return not isinstance(projection, Argument) and projection.frozen


def is_gate(projection: Projection) -> bool:
    """Whether a projection multiplies what it leads to, rather than adds to it."""
    return isinstance(projection, OneToOne) and projection.gate
