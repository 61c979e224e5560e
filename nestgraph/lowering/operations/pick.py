"""One place of a map in PyTorch. An import finds it in what is read (see `interop.picking`), not by a name."""

import torch
from torch import fx

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Room
from nestgraph.spec import Layer, Pick


def emit(emission: Emission, _layer: Layer, operation: Pick, _path: str, x: fx.Node) -> fx.Node:
    """A view of the place along each axis."""
    for axis, at in enumerate(operation.place, 2):
        x = emission.call(torch.narrow, x, axis, at, 1)
    return x


ROOM = Room(Pick, emit)
