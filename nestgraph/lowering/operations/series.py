"""Places in a row in PyTorch. An import finds them in what a module joins or cuts (see `interop.joining`)."""

import torch
from torch import fx
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Room
from nestgraph.spec import Layer, Series


def emit(emission: Emission, layer: Layer, operation: Series, _path: str, x: fx.Node) -> fx.Node:
    """A flattening, and a padding that may be negative; learned places are put beside."""
    row = emission.call(torch.flatten, x, 2)
    first, last = operation.before, operation.after
    if operation.learned:
        first, last = min(first, 0), min(last, 0)
    if first or last:
        row = emission.call(functional.pad, row, (first, last))
    return _beside(emission, layer, operation, row) if operation.learned else row


def _beside(emission: Emission, layer: Layer, operation: Series, row: fx.Node) -> fx.Node:
    """A row between values that are the same for each sample."""
    column = emission.parameter(emission.network.unit_columns(layer.name).values["ends"])
    kept = emission.keep(f"{emission.layers[layer.name]}.ends", column)
    samples = emission.graph.call_method("size", (row, 0))
    ends = emission.graph.call_method("expand", (emission.call(torch.unsqueeze, kept, 0), samples, -1, -1))
    counts = max(operation.before, 0), max(operation.after, 0)
    first = emission.call(torch.narrow, ends, 2, 0, counts[0]) if all(counts) else ends
    last = emission.call(torch.narrow, ends, 2, *counts) if all(counts) else ends
    parts = [*[first] * bool(counts[0]), row, *[last] * bool(counts[1])]
    return emission.call(torch.cat, parts, 2)


ROOM = Room(Series, emit, {"ends": "ends"})
