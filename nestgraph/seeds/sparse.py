"""Random sparse connections that leave no unit without one."""

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Grid
from nestgraph.spec.arrays import AnyArray

COARSE = 2**22
"""Masks of more entries than this are drawn with scores of 16 bits, which takes a quarter of the time."""


def sparse_mask(shape: tuple[int, ...], density: float, rng: np.random.Generator, groups: int = 1) -> AnyArray:
    """A bool mask of `shape` (out, in, ...) with `density` of its entries set, all such masks being equally likely.

    Every row (target unit) and every column (source unit) has at least one entry, so a very low density is raised
    to what that takes: max(out, in) entries. With `groups` the mask is block diagonal, and this holds in each block;
    there are at most as many blocks as rows or columns.
    """
    groups = min(groups, *shape[:2])
    if groups == 1:
        return _block(shape, density, rng)
    mask = np.zeros(shape, bool)
    ends = [np.linspace(0, extent, groups + 1).astype(int) for extent in shape[:2]]
    for top, bottom, left, right in zip(ends[0], ends[0][1:], ends[1], ends[1][1:], strict=False):
        mask[top:bottom, left:right] = _block((bottom - top, right - left, *shape[2:]), density, rng)
    return mask


def _block(shape: tuple[int, ...], density: float, rng: np.random.Generator) -> AnyArray:
    size = int(np.prod(shape))
    cover = _covering_entries(shape, rng)
    count = max(round(density * size), len(cover))
    choose = _chosen_coarsely if size > COARSE else _chosen
    return choose(size, count, cover, rng).reshape(shape)


def _covering_entries(shape: tuple[int, ...], rng: np.random.Generator) -> AnyArray:
    """Row-major positions of one entry for each pair of a cover of all rows and columns."""
    out, inputs = shape[:2]
    block = int(np.prod(shape[2:]))
    pairs = max(out, inputs)
    rows = rng.permutation(out)[np.arange(pairs) % out]
    columns = rng.permutation(inputs)[np.arange(pairs) % inputs]
    return (rows * inputs + columns) * block + rng.integers(block, size=pairs)


def _chosen(size: int, count: int, cover: AnyArray, rng: np.random.Generator) -> AnyArray:
    """Bool (size,): the cover and random others, `count` in all."""
    scores = rng.random(size, dtype=np.float32)
    scores[cover] = -1.0
    mask = np.zeros(size, bool)
    mask[np.argpartition(scores, count - 1)[:count]] = True
    return mask


def _chosen_coarsely(size: int, count: int, cover: AnyArray, rng: np.random.Generator) -> AnyArray:
    """As `_chosen`, for many entries: scores of 16 bits, and a draw among those that tie at the threshold."""
    if count == size:
        return np.ones(size, bool)
    scores = rng.integers(1, 2**16, size, dtype=np.uint16)
    scores[cover] = 0
    parts = np.array_split(scores, 1 + size // 2**20)
    frequency = np.sum([np.bincount(part, minlength=2**16) for part in parts], axis=0)
    threshold = np.searchsorted(np.cumsum(frequency), count)
    mask = scores < threshold
    tied = np.flatnonzero(scores == threshold)
    mask[rng.choice(tied, count - np.count_nonzero(mask), replace=False)] = True
    return mask


def he_connections(
    shape: tuple[int, ...], density: float, rng: np.random.Generator, groups: int = 1
) -> ConnectionColumns:
    """Sparse connections with normal weights of variance 2 / fan-in, the fan-in of live connections.

    Source: He et al. 2015, equation 10, with the fan-in that the sparse unit really has.
    """
    mask = sparse_mask(shape, density, rng, groups)
    fan_in = mask.reshape(shape[0], -1).sum(axis=1)
    deviation = np.sqrt(2 / fan_in, dtype=np.float32).reshape(-1, *([1] * (len(shape) - 1)))
    weight = rng.standard_normal(shape, dtype=np.float32)
    weight *= deviation
    np.putmask(weight, ~mask, 0)
    for array in (weight, mask):
        array.flags.writeable = False  # given away: the columns need no copy
    return Grid.of(weight, mask)
