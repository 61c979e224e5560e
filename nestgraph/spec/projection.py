"""The records of projections: how the units of one layer feed the units of another."""

from typing import Annotated, Any, Literal

from pydantic import Field

from nestgraph.spec.operations import Padding, Pair
from nestgraph.spec.record import Name, Record


def _default_name(data: dict[str, Any]) -> str:
    return f"{data.get('source', 'source')}_to_{data.get('target', 'target')}"[:64]


class _Projection(Record):
    source: Name
    target: Name
    name: Name = Field(default_factory=_default_name, validate_default=True)


class Dense(_Projection):
    """Any unit to any neuron. Weights are (out, in) from neurons, (out, maps, height, width) from maps."""

    kind: Literal["dense"] = "dense"


class Conv(_Projection):
    """Maps to maps by a kernel: weights (out, in, kernel height, kernel width).

    A grouped convolution is one whose mask is block diagonal: groups need no field, and survive edits.
    """

    kind: Literal["conv"] = "conv"
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)


class OneToOne(_Projection):
    """Each linked target unit reads one source unit: skips, concatenations, depthwise kernels.

    Weights are (links,), or (links, kernel height, kernel width) where a kernel is given (depthwise).
    `trained=False` keeps the weights fixed, as an identity skip has them.
    """

    kind: Literal["one_to_one"] = "one_to_one"
    kernel: Pair | None = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
    trained: bool = False


Projection = Annotated[Dense | Conv | OneToOne, Field(discriminator="kind")]
