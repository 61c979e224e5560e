"""How often, and with what weight, a projection reads each output of its source, counted exactly without data."""

import math

import numpy as np

from nestgraph.graph.geometry import output_size, target_size
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Argument, Conv, Dense, OneToOne


def readings(structure: Structure, name: str, strength: bool = False) -> AnyArray:
    """How often a projection's active connections read each output of its source in one forward pass.

    A kernel reads a place of a map once for every position that its area keeps and that covers the place. A gate reads
    a single value once for every position of the map that it multiplies. What the body of an opaque layer does with its
    arguments is not known, and counts as nothing.

    Args:
        structure: the network.
        name: of the projection.
        strength: add |weight| for each reading instead of 1.

    Returns:
        float64 (units,), or (units, height, width) where the source is maps.
    """
    projection, columns = structure.projection(name), structure.connection_columns(name)
    if isinstance(projection, Argument):
        size = output_size(structure.layer(projection.source)) or ()
        return np.zeros((len(structure.units(projection.source)), *size))
    entries = np.where(columns.mask, np.abs(columns.weight) if strength else 1.0, 0.0).astype(np.float64)
    if isinstance(projection, Dense):
        return entries.sum(axis=0)
    if isinstance(projection, OneToOne):
        return _by_links(structure, projection, entries)
    kept = np.ones((1, 1, *(target_size(structure, projection) or ())), bool) if columns.area is None else columns.area
    return _swept(structure, projection, entries, kept)


def _by_links(structure: Structure, projection: OneToOne, entries: AnyArray) -> AnyArray:
    """The readings of entries (links,) or (links, kernel height, kernel width)."""
    source, size = structure.unit_columns(projection.source), output_size(structure.layer(projection.source)) or ()
    if projection.kernel is None:
        positions = math.prod(target_size(structure, projection) or ()) // math.prod(size)  # of a gate maybe many
        by_link = np.broadcast_to(positions * entries.reshape(-1, *(1 for _ in size)), (len(entries), *size))
    else:
        kept = np.ones((1, 1, *(target_size(structure, projection) or ())), bool)
        by_link = _swept(structure, projection, entries[None], kept)
    links = structure.connection_columns(projection.name).links
    assert links is not None
    total = np.zeros((len(source), *size))
    np.add.at(total, source.positions(links[:, 0]), by_link)
    return total


def _swept(structure: Structure, projection: Conv | OneToOne, kernels: AnyArray, kept: AnyArray) -> AnyArray:
    """(in, height, width): kernels (out, in, ...) summed over the positions kept (out or 1, in or 1, P, Q)."""
    size = output_size(structure.layer(projection.source))
    assert size is not None
    (down, right), (top, left), (tall, broad) = projection.stride, projection.padding, projection.dilation
    total = np.zeros((kernels.shape[1], size[0] + 2 * top, size[1] + 2 * left))
    high, wide = kept.shape[2:]
    for row, column in np.ndindex(*kernels.shape[2:]):
        added = np.einsum("oi,oipq->ipq", kernels[:, :, row, column], kept)  # an axis of 1 is broadcast
        down_to, right_to = row * tall + down * high, column * broad + right * wide
        total[:, row * tall : down_to : down, column * broad : right_to : right] += added
    return total[:, top : top + size[0], left : left + size[1]]
