"""Convolutions of a compact module: by groups where the mask has blocks, within the positions of areas."""

import math

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.graph.columns import ConnectionColumns
from nestgraph.graph.columns.areas import paired
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.areas import emit_partial_conv
from nestgraph.lowering.blocks import blocks_of
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import pads, sweeps_places
from nestgraph.lowering.tensors import as_tensor
from nestgraph.lowering.terms import CompactEmission, Term, by_place, convolution, filled
from nestgraph.spec import Conv
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Extents

Kernels = tuple[AnyArray, AnyArray]
"""Weights (rows, in, *kernel), and bool (rows, in): the pairs of maps that any of them joins."""

FEW = 8
"""Samples up to which maps of every pair are quicker than a matrix for every position (LeNet-5: 0.1 ms to 0.5 ms)."""


def emit_conv(
    emission: CompactEmission, projection: Conv, source: fx.Node, rows: AnyArray, bias: AnyArray | None
) -> Term:
    """A convolution, by groups where its mask has blocks, at the positions of its area only."""
    columns = emission.network.connection_columns(projection.name)
    weight, edges, area = (*_of_rows(columns, rows), _area(columns.area, rows, columns.edges))
    if paired(area):
        return Term(_emit_pairs(emission, projection, source, weight, area), rows)
    used = np.flatnonzero(edges.any(axis=0))
    extents, positions = _places(emission, projection)
    applied = extents if projection.transposed else positions
    if emission.pays((edges.shape[1] - len(used)) * weight[:, 0].size * applied, len(used) * extents):
        source = emission.choose(source, f"{emission.projections[projection.name]}_maps", used, edges.shape[1])
        weight, edges = weight[:, used], edges[:, used]
    if area is not None:
        node, biased = _emit_within(emission, projection, source, (weight, edges), area[:, 0], bias)
        return Term(node, rows, biased)
    node = _emit_kernels(emission, projection, source, (weight, edges), bias, projection.padding)
    return Term(node, rows, bias is not None)


def _of_rows(columns: ConnectionColumns, rows: AnyArray) -> Kernels:
    """Those of rows, ascending: the arrays as they are where that is all of them."""
    both = columns.weight, columns.edges
    return both if len(rows) == len(columns.weight) else (both[0][rows], both[1][rows])


def _places(emission: Emission, projection: Conv) -> tuple[int, int]:
    """How many places a map of a projection's source has, and one of its target's sums."""
    sizes = output_size(emission.network.layer(projection.source)), summed_size(emission.network, projection.target)
    return math.prod(sizes[0] or ()), math.prod(sizes[1] or ())


def _area(area: AnyArray | None, rows: AnyArray, edges: AnyArray) -> AnyArray | None:
    """The area of the edges that are left: None where it is everywhere, (rows, 1, *size) where a map's pairs agree."""
    if area is None:
        return None
    area, edges = area[rows], edges[rows].reshape(len(rows), -1, *(1,) * (area.ndim - 2))
    within: AnyArray = np.logical_and(area, edges)
    common = np.any(within, axis=1, keepdims=True)
    if (area | ~edges).all():
        return None
    return common if ((area == common) | ~edges).all() else within


def _emit_kernels(
    emission: CompactEmission,
    projection: Conv,
    source: fx.Node,
    kernels: Kernels,
    bias: AnyArray | None,
    padding: Extents,
) -> fx.Node:
    """A convolution everywhere, by groups where they are worth it."""
    weight, edges = kernels
    path, extent, rows = emission.projections[projection.name], weight.shape[1], len(weight)
    blocks = blocks_of(edges)
    if blocks is None and sweeps_places(projection):
        linear = filled(nn.Linear(extent, rows, bias is not None, device="meta"), weight[:, :, 0], bias)
        sums = emission.apply(path, linear, emission.call(torch.movedim, source, 1, 2))
        return emission.call(torch.movedim, sums, 2, 1)
    if blocks is None:
        module = convolution(projection, extent, rows, bias is not None, padding=padding)
        return emission.apply(path, filled(module, weight, bias), source)
    source = emission.choose(source, f"{path}_sources", blocks.read, extent)
    sizes = blocks.sources.size, blocks.targets.size
    module = convolution(projection, *sizes, bias is not None, groups=len(blocks.targets), padding=padding)
    module = filled(module, blocks.weights(weight), None if bias is None else blocks.biases(bias))
    return emission.choose(emission.apply(path, module, source), f"{path}_order", blocks.places, blocks.targets.size)


def _emit_within(
    emission: CompactEmission,
    projection: Conv,
    source: fx.Node,
    kernels: Kernels,
    area: AnyArray,
    bias: AnyArray | None,
) -> tuple[fx.Node, bool]:
    """A convolution at the positions of an area (out, *size): of the smallest box around it, where that is smaller.

    Returns:
        The node, and whether it has the bias in it.
    """
    path, size = emission.projections[projection.name], area.shape[1:]
    axes = range(1, area.ndim)
    spans = [np.flatnonzero(area.any(axis=(0, *(other for other in axes if other != axis)))) for axis in axes]
    box = [(int(span[0]), int(span[-1]) + 1) for span in spans]
    saved = kernels[0].size * (math.prod(size) - math.prod(stop - start for start, stop in box))
    if projection.transposed or not emission.pays(saved, _moved(emission, projection, len(area))):
        everywhere = _emit_kernels(emission, projection, source, kernels, None, projection.padding)
        kept = emission.keep(f"{path}_area", as_tensor(area))
        if bias is None:
            return emission.call(torch.mul, everywhere, kept), False
        added = emission.keep(f"{path}_bias", by_place(emission, projection.target, bias))
        return emission.call(torch.addcmul, added, everywhere, kept), True
    source = emission.call(functional.pad, source, _field(emission, projection, box))
    result = _emit_kernels(emission, projection, source, kernels, None, (0,) * len(size))
    area = area[:, *(slice(*span) for span in box)]
    if not area.all():
        result = emission.call(torch.mul, result, emission.keep(f"{path}_area", as_tensor(area)))
    around = [(start, extent - stop) for (start, stop), extent in zip(box, size, strict=True)]
    return emission.call(functional.pad, result, pads(around)), False


def _moved(emission: Emission, projection: Conv, out: int) -> int:
    """How many values cropping a source and filling up what a convolution gives copies."""
    extents, positions = _places(emission, projection)
    return len(emission.network.units(projection.source)) * extents + out * positions


def _field(emission: Emission, projection: Conv, box: list[tuple[int, int]]) -> tuple[int, ...]:
    """What a source is to be padded by, or cropped where negative, so that a convolution gives the box alone."""
    extents = output_size(emission.network.layer(projection.source))
    assert extents is not None
    sweep = zip(
        box, extents, projection.kernel, projection.stride, projection.padding, projection.dilation, strict=True
    )
    edges: list[tuple[int, int]] = []
    for (start, stop), extent, window, step, pad, dilate in sweep:
        last = (stop - 1) * step - pad + dilate * (window - 1) + 1
        edges.append((pad - start * step, last - extent))
    return pads(edges)


def _emit_pairs(
    emission: CompactEmission, projection: Conv, source: fx.Node, weight: AnyArray, area: AnyArray
) -> fx.Node:
    """A convolution whose pairs of maps have areas of their own, (out, in, *size)."""
    path = emission.projections[projection.name]
    if emission.batch > FEW:
        return emit_partial_conv(emission, projection, source, emission.keep(f"{path}_weight", as_tensor(weight)), area)
    out, into = weight.shape[:2]
    pairs = weight.swapaxes(0, 1).reshape(out * into, 1, *weight.shape[2:])
    module = convolution(projection, into, out * into, False, groups=into, padding=projection.padding)
    responses = emission.call(
        torch.unflatten, emission.apply(path, filled(module, pairs, None), source), 1, (into, out)
    )
    kept = emission.keep(f"{path}_area", as_tensor(area.swapaxes(0, 1)))
    return emission.call(torch.sum, emission.call(torch.mul, responses, kept), 1)
