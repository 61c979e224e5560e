"""Random sparse connections that leave no unit without one."""

import numpy as np

from nestgraph.graph.columns import ConnectionColumns
from nestgraph.spec.arrays import AnyArray


def sparse_mask(shape: tuple[int, ...], density: float, rng: np.random.Generator) -> AnyArray:
    """A bool mask of `shape` (out, in, ...) with `density` of its entries set.

    Every row (target unit) and every column (source unit) has at least one entry, so a very low density is raised
    to what that takes: max(out, in) entries.
    """
    size = int(np.prod(shape))
    cover = _covering_entries(shape, rng)
    count = max(round(density * size), len(cover))
    scores = rng.random(size, dtype=np.float32)
    scores[cover] = -1.0
    mask = np.zeros(size, bool)
    mask[np.argpartition(scores, count - 1)[:count]] = True
    return mask.reshape(shape)


def _covering_entries(shape: tuple[int, ...], rng: np.random.Generator) -> AnyArray:
    """Row-major positions of one entry for each pair of a cover of all rows and columns."""
    out, inputs = shape[:2]
    block = int(np.prod(shape[2:]))
    pairs = max(out, inputs)
    rows = rng.permutation(out)[np.arange(pairs) % out]
    columns = rng.permutation(inputs)[np.arange(pairs) % inputs]
    return (rows * inputs + columns) * block + rng.integers(block, size=pairs)


def he_connections(shape: tuple[int, ...], density: float, rng: np.random.Generator) -> ConnectionColumns:
    """Sparse connections with normal weights of variance 2 / fan-in, the fan-in of live connections.

    Source: He et al. 2015, equation 10, with the fan-in that the sparse unit really has.
    """
    mask = sparse_mask(shape, density, rng)
    fan_in = mask.reshape(shape[0], -1).sum(axis=1)
    deviation = np.sqrt(2 / fan_in, dtype=np.float32).reshape(-1, *([1] * (len(shape) - 1)))
    weight = rng.standard_normal(shape, dtype=np.float32) * deviation
    return ConnectionColumns.of(np.where(mask, weight, 0), mask)
