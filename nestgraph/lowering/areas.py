"""Convolutions that compute each pair of maps at positions of its own."""

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import fx
from torch.nn import functional

from nestgraph.graph.geometry import output_size
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.slots import as_tensor
from nestgraph.spec import Conv
from nestgraph.spec.arrays import AnyArray


def emit_partial_conv(
    emission: Emission, projection: Conv, source: fx.Node, weight: fx.Node, area: AnyArray
) -> fx.Node:
    """A convolution with areas (out, in, P, Q): at each position a matrix of the weights whose pairs compute there.

    Multiplies as often as the plain convolution, in one batched product; the response of each pair on its own would
    be `out` times the memory. Samples are the last axis meanwhile, so that windows are gathered by whole rows.
    """
    path, size = emission.projections[projection.name], area.shape[2:]
    if any(projection.padding):
        height, width = projection.padding
        source = emission.call(functional.pad, source, (width, width, height, height))
    places = _window_places(emission, projection)
    rows = emission.call(torch.t, emission.call(torch.flatten, source, 1))
    rows = emission.graph.call_method("contiguous", (rows,))
    rows = emission.call(torch.index_select, rows, 0, emission.keep(f"{path}.windows", as_tensor(places, torch.int64)))
    windows = emission.call(torch.unflatten, rows, 0, (size[0] * size[1], -1))
    by_position = area.reshape(*area.shape[:2], -1).transpose(2, 0, 1)[..., None]
    kept = emission.keep(f"{path}.area", as_tensor(by_position))
    weights = emission.call(torch.flatten, emission.call(torch.mul, emission.call(torch.flatten, weight, 2), kept), 2)
    sums = emission.call(torch.permute, emission.call(torch.bmm, weights, windows), (2, 1, 0))
    return emission.call(torch.unflatten, sums, 2, size)


def _window_places(emission: Emission, projection: Conv) -> AnyArray:
    """Row-major places in the padded maps (in, height, width) of each window, position by position."""
    maps = len(emission.network.units(projection.source))
    extents = output_size(emission.network.layer(projection.source))
    assert extents is not None
    shape = (maps, *(extent + 2 * pad for extent, pad in zip(extents, projection.padding, strict=True)))
    (high, wide), (down, right), (tall, broad) = projection.kernel, projection.stride, projection.dilation
    spans = (tall * (high - 1) + 1, broad * (wide - 1) + 1)
    windows = sliding_window_view(np.arange(np.prod(shape)).reshape(shape), spans, axis=(1, 2))
    return windows[:, ::down, ::right, ::tall, ::broad].transpose(1, 2, 0, 3, 4).reshape(-1)
