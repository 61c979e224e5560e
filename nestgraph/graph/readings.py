"""How often, and with what weight, a projection reads each output of its source, counted exactly without data."""

import numpy as np

from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


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
        float64 (units,), or (units, *size) where the source is maps.
    """
    columns = structure.connection_columns(name)
    entries = np.where(columns.mask, np.abs(columns.weight) if strength else 1.0, 0.0).astype(np.float64)
    return meaning_of(structure, structure.projection(name)).read(entries)
