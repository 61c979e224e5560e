"""What a layer, a unit or a projection is at a moment, to the bit, in few bytes.

Those of two moments are equal exactly if nothing of the part changed, as `difference` says it.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from nestgraph.graph.columns import ConnectionColumns
from nestgraph.graph.columns.areas import of_pairs, paired
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


def layer_part(structure: Structure, name: str) -> bytes:
    """Of a layer: its record, its units in their order, and their values."""
    columns = structure.unit_columns(name)
    values = (columns.values[column].tobytes() for column in sorted(columns.values))
    return _hashed(structure.layer(name).model_dump_json().encode(), columns.ids.tobytes(), *values)


def unit_parts(structure: Structure, name: str) -> Iterator[bytes]:
    """Of each unit of a layer: its values, and which it has."""
    values = structure.unit_columns(name).values
    units, names = len(structure.units(name)), ",".join(sorted(values)).encode()
    parts = [values[column].reshape(units, -1) for column in sorted(values)]
    rows = np.concatenate([np.zeros((units, 0), np.float32), *parts], axis=1)
    return (names + row.tobytes() for row in rows)


def projection_part(structure: Structure, name: str, rows: AnyArray, weights: AnyArray) -> bytes:
    """Of a projection: its record, its active connections whatever the order of units, and the areas of its maps.

    Args:
        structure: which has the projection.
        name: of it.
        rows: (connections, 3), ids of target and source and place of all that are active.
        weights: (connections,), theirs.
    """
    projection, columns = structure.projection(name), structure.connection_columns(name)
    order = np.lexsort(rows.T[::-1])
    ends = projection.target, projection.source
    places = [np.argsort(structure.units(layer)) for layer in ends]
    shape = str(columns.inner).encode()
    parts = projection.model_dump_json().encode(), shape, rows[order].tobytes(), weights[order].tobytes()
    return _hashed(*parts, *_area(columns, places))


def _area(columns: ConnectionColumns, places: list[AnyArray]) -> tuple[bytes, ...]:
    if columns.area is None:
        return ()
    area = of_pairs(columns.area, places[0][:, None], places[1][None])
    return str(paired(columns.area)).encode(), np.packbits(area).tobytes()


def _hashed(*parts: bytes) -> bytes:
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little") + part)
    return state.digest()
