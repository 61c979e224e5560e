"""Places in a row in PyTorch. An import finds them in what a module joins or cuts (see `interop.joining`)."""

import torch
from torch import fx

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Room
from nestgraph.spec import Layer, Series


def emit(emission: Emission, layer: Layer, operation: Series, _path: str, x: fx.Node) -> fx.Node:
    """A flattening, with learned places put beside, which are the same for each sample."""
    row = emission.call(torch.flatten, x, 2)
    if not operation.columns:
        return row
    column = emission.parameter(emission.network.unit_columns(layer.name).values["ends"])
    kept = emission.keep(f"{emission.layers[layer.name]}.ends", column)
    samples = emission.graph.call_method("size", (row, 0))
    ends = emission.graph.call_method("expand", (emission.call(torch.unsqueeze, kept, 0), samples, -1, -1))
    counts = operation.before, operation.after
    first = emission.call(torch.narrow, ends, 2, 0, counts[0]) if all(counts) else ends
    last = emission.call(torch.narrow, ends, 2, *counts) if all(counts) else ends
    return emission.call(torch.cat, [*[first] * bool(counts[0]), row, *[last] * bool(counts[1])], 2)


ROOM = Room(Series, emit, {"ends": "ends"})
