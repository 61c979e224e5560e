"""Convolutions that compute each pair of maps at positions of its own."""

import math

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional

from nestgraph.graph import Structure
from nestgraph.graph.geometry import output_size
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Conv, OneToOne
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.windows import flattened


def emit_partial_conv(
    emission: Emission, projection: Conv, source: fx.Node, weight: fx.Node, area: AnyArray
) -> fx.Node:
    """A convolution with areas (out, in, *size): at each position a matrix of the weights whose pairs compute there.

    Multiplies as often as the plain convolution, in one batched product; the response of each pair on its own would
    be `out` times the memory. Samples are the last axis meanwhile, so that windows are gathered by whole rows.
    """
    path, size = emission.projections[projection.name], area.shape[2:]
    places, kept = partial_parts(emission.network, projection, area).values()
    rows = emission.call(torch.flatten, emission.call(torch.movedim, source, 0, -1), 0, len(size))
    if window_places(emission.network, projection).min() < 0:
        rows = emission.call(functional.pad, rows, (0, 0, 1, 0))
    rows = emission.graph.call_method("contiguous", (rows,))
    rows = emission.call(torch.index_select, rows, 0, emission.keep(f"{path}.windows", places))
    windows = emission.call(torch.unflatten, rows, 0, (math.prod(size), -1))
    kept = emission.keep(f"{path}.area", kept)
    weights = emission.call(torch.flatten, emission.call(torch.mul, emission.call(torch.flatten, weight, 2), kept), 2)
    sums = emission.call(torch.permute, emission.call(torch.bmm, weights, windows), (2, 0, 1))
    maps = emission.call(torch.unflatten, emission.graph.call_method("contiguous", (sums,)), 1, size)
    return emission.call(torch.movedim, maps, -1, 1)  # normalisation is slow on what lies askew


def partial_parts(structure: Structure, projection: Conv, area: AnyArray) -> dict[str, Tensor]:
    """What a convolution with areas (out, in, *size) reads, and where: `windows`, from 1 where 0 is nothing; `area`."""
    places = window_places(structure, projection)
    by_position = area.reshape(*area.shape[:2], -1).transpose(2, 0, 1)[..., None]
    windows = as_tensor(places + 1 if places.min() < 0 else places, torch.int64)
    return {"windows": windows, "area": as_tensor(by_position)}


def window_places(structure: Structure, projection: Conv | OneToOne) -> AnyArray:
    """Row-major places in the maps (in, *size) of each window, position by position; -1 for what is 0 there."""
    maps = len(structure.units(projection.source))
    extents = output_size(structure.layer(projection.source))
    assert extents is not None
    numbers = np.arange(1, 1 + maps * math.prod(extents)).reshape(1, maps, *extents)
    windows = flattened(projection.windows(numbers), len(extents))[0] - 1
    return np.moveaxis(windows, 0, -2).reshape(-1)
