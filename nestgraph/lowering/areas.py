"""Convolutions that compute each pair of maps at positions of its own."""

import math

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from nestgraph.graph.geometry import output_size
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import pads
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Conv
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.windows import flattened, windows_of


def emit_partial_conv(
    emission: Emission, projection: Conv, source: fx.Node, weight: fx.Node, area: AnyArray
) -> fx.Node:
    """A convolution with areas (out, in, *size): at each position a matrix of the weights whose pairs compute there.

    Multiplies as often as the plain convolution, in one batched product; the response of each pair on its own would
    be `out` times the memory. Samples are the last axis meanwhile, so that windows are gathered by whole rows.
    """
    path, size = emission.projections[projection.name], area.shape[2:]
    if any(projection.padding):
        source = emission.call(functional.pad, source, pads([(pad, pad) for pad in projection.padding]))
    places = _window_places(emission, projection)
    rows = emission.call(torch.t, emission.call(torch.flatten, source, 1))
    rows = emission.graph.call_method("contiguous", (rows,))
    rows = emission.call(torch.index_select, rows, 0, emission.keep(f"{path}.windows", as_tensor(places, torch.int64)))
    windows = emission.call(torch.unflatten, rows, 0, (math.prod(size), -1))
    by_position = area.reshape(*area.shape[:2], -1).transpose(2, 0, 1)[..., None]
    kept = emission.keep(f"{path}.area", as_tensor(by_position))
    weights = emission.call(torch.flatten, emission.call(torch.mul, emission.call(torch.flatten, weight, 2), kept), 2)
    sums = emission.call(torch.permute, emission.call(torch.bmm, weights, windows), (2, 1, 0))
    return emission.call(torch.unflatten, sums, 2, size)


def _window_places(emission: Emission, projection: Conv) -> AnyArray:
    """Row-major places in the padded maps (in, *size) of each window, position by position."""
    maps = len(emission.network.units(projection.source))
    extents = output_size(emission.network.layer(projection.source))
    assert extents is not None
    shape = (maps, *(extent + 2 * pad for extent, pad in zip(extents, projection.padding, strict=True)))
    numbers = np.arange(np.prod(shape)).reshape(1, *shape)
    sweep = (projection.kernel, projection.stride, (0,) * len(extents), projection.dilation)
    windows = flattened(windows_of(numbers, *sweep), len(extents))[0]
    return np.moveaxis(windows, 0, -2).reshape(-1)
