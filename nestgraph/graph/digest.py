"""The digest of a network: SHA-256 over its records and arrays, the same on every machine.

Big arrays go into the hash in parts, so that it takes little more than the hashing, and no memory.
"""

import hashlib
from typing import Any

import numpy as np

from nestgraph.graph.columns import PART, ConnectionColumns, UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.interface import Interface
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Projection


def digest(structure: Structure) -> str:
    """SHA-256 of structure, weights and statistics, in hexadecimal."""
    state = begun()
    for name, layer in sorted(structure.layers_by_name.items()):
        absorb_layer(state, layer, structure.unit_columns(name))
    for name, projection in sorted(structure.projections_by_name.items()):
        absorb_projection(state, projection, structure.connection_columns(name))
    absorb_interface(state, structure.interface)
    return state.hexdigest()


def fingerprint(structure: Structure) -> bytes:
    """SHA-256 of which units, links, connections and areas there are, in their order, whatever their weights.

    Weights that do not train are part of it: they are where a value goes, too. So is whose table a projection has.
    """
    state = hashlib.sha256(b"nestgraph structure 1")
    for name in structure.layer_names:
        _absorb(state, name.encode())
        _absorb(state, structure.unit_columns(name).ids.astype("<i8").tobytes())
    for name in structure.projection_names:
        _absorb(state, name.encode())
        columns = structure.connection_columns(name)
        _absorb_mask(state, columns)
        _absorb_places(state, columns)
        record = structure.projection(name)
        if not record.learns:
            _absorb_active(state, columns)
        if record.follows is not None:
            _absorb(state, b"like " + record.follows.encode())
    return state.digest()


def begun() -> Any:
    """The state of a digest that absorbed nothing yet: all layers follow, then all projections, each by name."""
    return hashlib.sha256(b"nestgraph network 1")


def absorb_layer(state: Any, layer: Layer, columns: UnitColumns) -> None:
    """Absorb a layer's record and columns."""
    _absorb(state, layer.model_dump_json().encode())
    _absorb(state, columns.ids.astype("<i8").tobytes())
    for name in sorted(columns.values):
        _absorb(state, columns.values[name].astype("<f4").tobytes())


def absorb_projection(state: Any, projection: Projection, columns: ConnectionColumns) -> None:
    """Absorb a projection's record and connections."""
    _absorb(state, projection.model_dump_json().encode())
    _absorb_mask(state, columns)
    _absorb_active(state, columns)
    _absorb_places(state, columns)


def absorb_interface(state: Any, interface: Interface | None) -> None:
    """Absorb the interface, if one is recorded."""
    if interface is not None:
        _absorb(state, interface.model_dump_json().encode())


def _absorb(state: Any, data: bytes) -> None:
    state.update(len(data).to_bytes(8, "little"))
    state.update(data)


def _absorb_mask(state: Any, columns: ConnectionColumns) -> None:
    _absorb(state, np.asarray(columns.mask.shape, "<i8").tobytes())
    _absorb(state, np.packbits(columns.mask).tobytes())


def _absorb_places(state: Any, columns: ConnectionColumns) -> None:
    """Absorb the area and the links, which may be nothing, then other arrays of the kind."""
    parts = columns.parts
    for name in dict.fromkeys(("area", "links", *columns.names)):
        _absorb(state, _bytes(parts[name]) if name in parts else b"")


def _bytes(array: AnyArray) -> bytes:
    """Truth values with their shape, ids in their order."""
    if array.dtype == bool:
        return np.asarray(array.shape, "<i8").tobytes() + np.packbits(array).tobytes()
    return array.astype("<i8").tobytes()


def _absorb_active(state: Any, columns: ConnectionColumns) -> None:
    """Absorb the active weights as `_absorb` would, without an array of all of them."""
    state.update((4 * columns.active).to_bytes(8, "little"))
    weight, mask = columns.weight.reshape(-1), columns.mask.reshape(-1)
    for at in range(0, weight.size, PART):
        state.update(_packed(weight[at : at + PART], mask[at : at + PART]))


def _packed(weight: AnyArray, mask: AnyArray) -> AnyArray:
    """The active weights in a row, little-endian."""
    return np.ascontiguousarray(weight if mask.all() else np.compress(mask, weight), "<f4")
