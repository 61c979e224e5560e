"""What functions of each element become that are no one activation."""

from typing import Any

import torch

from nestgraph.interop.elements import Elements
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.spec import Activation


def glu(weaver: Weaver, input: Elements, dim: int = -1) -> Elements:
    """`nn.GLU`: a half times the sigmoid of the other."""
    values, gates = (Elements(half, input.regions) for half in input.index.chunk(2, dim))
    return weaver.product(values, weaver.pointwise(gates, Activation(function="sigmoid")))


def detached(weaver: Weaver, input: Elements) -> Elements:
    """`detach`."""
    weaver.note(input, "the module stops gradients behind it; here they go on")
    return input


def attribute(weaver: Weaver, input: Elements, name: str) -> Any:
    """An attribute of a tensor: a transposition, or what `detach` gives."""
    if name == "data":
        return detached(weaver, input)
    found = getattr(input.index, name)
    if not isinstance(found, torch.Tensor) or name not in ("T", "mT", "H", "mH"):
        raise UncoveredError(f"the attribute {name!r} of a tensor")
    return Elements(found, input.regions)
