"""The arrays of a large network in a safetensors file beside its document.

The file is named by the digest of the network, so that a document never names a file, and versions of a network lie
side by side until the document is replaced. Its bytes follow from the arrays: safetensors' own writer gives the same.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np

from nestgraph.errors import SnapshotError
from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.digest import absorb_interface, absorb_layer, absorb_projection, begun
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.snapshot.disk import Buffer, check_size, open_regular, reported, shown, write_atomically
from nestgraph.snapshot.document import LayerDocument, NetworkDocument, ProjectionDocument
from nestgraph.snapshot.limits import Limits
from nestgraph.snapshot.strict_json import check_json
from nestgraph.spec.arrays import AnyArray, owned

TYPES: Mapping[str, np.dtype[Any]] = {"I64": np.dtype("<i8"), "F32": np.dtype("<f4"), "U8": np.dtype("u1")}
"""The types of tensors, in the order in which they lie in the file."""

Form = tuple[str, tuple[int, ...]]
"""Type and shape of a tensor."""


def sidecar_path(folder: Path, digest: str) -> Path:
    """Where the arrays of the network with that digest lie."""
    return folder / f"{digest}.safetensors"


def write_sidecar(document: NetworkDocument, folder: Path, limits: Limits) -> None:
    """Write the arrays of a document that holds them itself.

    Raises:
        SnapshotError: the file cannot be written, or is larger than may be read: then nothing is written.
    """
    path = sidecar_path(folder, document.digest)
    tensors = {name: _stored(array) for name, array in _tensors(document) if array is not None}
    forms = {name: (_type_name(array), array.shape) for name, array in tensors.items()}
    head = _header(document.digest, forms)
    check_size(path, len(head) + sum(map(_bytes, forms.values())), limits.sidecar_bytes, "sidecar_bytes")
    try:
        check_json(head[8:].rstrip(b" "), limits)
    except ValueError as error:
        raise SnapshotError(f"{shown(path)}: the table of contents cannot be written: {error}") from error
    write_atomically(path, _parts(head, tensors, forms))


def _parts(head: bytes, tensors: Mapping[str, AnyArray], forms: Mapping[str, Form]) -> Iterator[Buffer]:
    yield head
    for name in _ordered(forms):
        yield tensors[name].reshape(-1).view(np.uint8).data


def _tensors(document: NetworkDocument) -> Iterator[tuple[str, AnyArray | None]]:
    for layer in document.layers:
        place = f"layers.{layer.layer.name}"
        yield f"{place}.ids", layer.ids
        yield from ((f"{place}.{column}", values) for column, values in (layer.values or {}).items())
    for projection in document.projections:
        place = f"projections.{projection.projection.name}"
        for kind in ("weights", "live", "area", "links"):
            yield f"{place}.{kind}", getattr(projection, kind)


def _stored(array: AnyArray) -> AnyArray:
    """The array in one of the types: booleans are packed, the first in the highest bit."""
    packed = np.packbits(array) if array.dtype == bool else array
    return np.ascontiguousarray(packed, packed.dtype.newbyteorder("<"))


def _type_name(array: AnyArray) -> str:
    return next(name for name, dtype in TYPES.items() if dtype == array.dtype)


def _ordered(forms: Mapping[str, Form]) -> list[str]:
    ranks = list(TYPES)
    return sorted(forms, key=lambda name: (ranks.index(forms[name][0]), name))


def _bytes(form: Form) -> int:
    return math.prod(form[1]) * TYPES[form[0]].itemsize


def _header(digest: str, forms: Mapping[str, Form]) -> bytes:
    """The start of the file: the length of a table in 8 bytes, and the table, filled up with spaces to 8 bytes."""
    table: dict[str, Any] = {"__metadata__": {"digest": digest}}
    end = 0
    for name in _ordered(forms):
        begin, end = end, end + _bytes(forms[name])
        table[name] = {"dtype": forms[name][0], "shape": list(forms[name][1]), "data_offsets": [begin, end]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


class Sidecar:
    """An open sidecar whose table was checked: each tensor is taken once. A context manager."""

    def __init__(self, path: Path, digest: str, limits: Limits) -> None:
        """Open the file and read its table.

        Raises:
            SnapshotError: it is missing, a link, too large, or not as nestgraph writes it.
        """
        self.path = path
        with reported(path, "read"):
            self._file = open_regular(path, lonely=True)
            size = os.fstat(self._file.fileno()).st_size
        try:
            check_size(path, size, limits.sidecar_bytes, "sidecar_bytes")
            head = self._read_table(size, limits)
            forms = self._forms(head, limits)
            if _header(digest, forms)[8:] != head:
                raise self._refused("expected the table of contents that nestgraph writes, got another")
            self._begin = 8 + len(head)
            whole = self._begin + sum(map(_bytes, forms.values()))
            if size != whole:
                raise self._refused(f"expected {whole:,} bytes, got {size:,}: it was cut short or altered")
        except BaseException:
            self._file.close()
            raise
        self._left = forms
        self._offsets = _offsets(forms)

    def _read_table(self, size: int, limits: Limits) -> bytes:
        with reported(self.path, "read"):
            length = int.from_bytes(self._file.read(8), "little")
            most = min(size - 8, limits.document_bytes)
            head = self._file.read(length) if 0 < length <= most else b""
        if not head:
            raise self._refused(f"expected a table of contents of at most {max(most, 0):,} bytes, got {length:,}")
        return head

    def _forms(self, head: bytes, limits: Limits) -> dict[str, Form]:
        try:
            table = check_json(head.rstrip(b" "), limits)
            del table["__metadata__"]
            forms = {str(name): (entry["dtype"], tuple(entry["shape"])) for name, entry in table.items()}
            if all(kind in TYPES and all(type(n) is int and n >= 0 for n in shape) for kind, shape in forms.values()):
                return cast(dict[str, Form], forms)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise self._refused("expected the table of contents of a safetensors file, got other data")

    def _refused(self, problem: str) -> SnapshotError:
        return SnapshotError(f"{shown(self.path)}: {problem}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def take(self, name: str, dtype: str, shape: tuple[int, ...] | None = None) -> AnyArray:
        """The values of a tensor, read-only.

        Raises:
            SnapshotError: it is missing, of another type or shape than is demanded, or cannot be read.
        """
        form = self._left.pop(name, None)
        if form is None or form[0] != dtype or (shape is not None and form[1] != shape):
            expected = f"{dtype} of shape {shape}" if shape is not None else dtype
            raise self._refused(f"{name}: expected {expected}, got {form or 'nothing'}")
        array = np.empty(form[1], TYPES[dtype])
        rest = array.reshape(-1).view(np.uint8).data
        with reported(self.path, "read"):
            self._file.seek(self._begin + self._offsets[name])
            while rest:
                got = cast(Any, self._file).readinto(rest)
                if not got:
                    raise self._refused(f"{name}: expected {rest.nbytes:,} bytes more, got the end of the file")
                rest = rest[got:]
        return owned(array.astype(TYPES[dtype].newbyteorder("="), copy=False))

    def take_bits(self, name: str, count: int) -> AnyArray:
        """Bool (count,), as `take`."""
        packed = self.take(name, "U8", (-(-count // 8),))
        bits = np.unpackbits(packed, count=count)
        if count % 8 and int(packed[-1]) << count % 8 & 255:
            raise self._refused(f"{name}: expected zeros after the last of {count} bits")
        return owned(bits.view(bool))

    def has(self, name: str) -> bool:
        """Whether there is such a tensor, not taken yet."""
        return name in self._left

    def finish(self) -> None:
        """Say that all was taken that belongs to the document.

        Raises:
            SnapshotError: there is more.
        """
        if self._left:
            raise self._refused(f"{min(self._left)[:80]!r}: expected no such tensor for this document")


def _offsets(forms: Mapping[str, Form]) -> dict[str, int]:
    place, offsets = 0, dict[str, int]()
    for name in _ordered(forms):
        offsets[name] = place
        place += _bytes(forms[name])
    return offsets


def read_network(document: NetworkDocument, folder: Path, limits: Limits) -> Network:
    """The network of a document whose arrays lie in a sidecar in `folder`.

    It is hashed in a second thread while the rest is read and verified: hashing is what takes longest.

    Raises:
        SnapshotError: the sidecar cannot be read or does not belong to the document.
        StructureError: a record and arrays that do not fit together.
        VerificationError: the network breaks a law.
        ValueError: arrays that do not fit together, or a digest that is not that of the content.
    """
    path = sidecar_path(folder, document.digest)
    units: dict[str, UnitColumns] = {}
    connections: dict[str, ConnectionColumns] = {}
    state, hashed = begun(), list[Future[None]]()
    with Sidecar(path, document.digest, limits) as sidecar, ThreadPoolExecutor(1) as pool:
        for layer in sorted(document.layers, key=lambda each: each.layer.name):
            columns = units[layer.layer.name] = _units(layer, sidecar)
            hashed.append(pool.submit(absorb_layer, state, layer.layer, columns))
        for each in sorted(document.projections, key=lambda each: each.projection.name):
            links = connections[each.projection.name] = _connections(each, sidecar)
            hashed.append(pool.submit(absorb_projection, state, each.projection, links))
        sidecar.finish()
        layers, projections = (d.layer for d in document.layers), (d.projection for d in document.projections)
        network = Network.of(Structure(layers, projections, units, connections, interface=document.interface))
    for each in hashed:
        each.result()
    absorb_interface(state, network.interface)
    document.check_digest(state.hexdigest())
    return network


def _units(document: LayerDocument, sidecar: Sidecar) -> UnitColumns:
    place = f"layers.{document.layer.name}"
    ids = sidecar.take(f"{place}.ids", "I64")
    shapes = {name: document.layer.column_shape(name, ids.size) for name in document.layer.column_names}
    values = {name: sidecar.take(f"{place}.{name}", "F32", shape) for name, shape in shapes.items()}
    return UnitColumns(ids, values, document.next_id)


def _connections(document: ProjectionDocument, sidecar: Sidecar) -> ConnectionColumns:
    place = f"projections.{document.projection.name}"
    size, area = math.prod(document.shape), document.area_shape
    found = {
        "live": sidecar.take_bits(f"{place}.live", size) if sidecar.has(f"{place}.live") else None,
        "area": None if area is None else sidecar.take_bits(f"{place}.area", math.prod(area)),
        "links": sidecar.take(f"{place}.links", "I64") if sidecar.has(f"{place}.links") else None,
    }
    weights = sidecar.take(f"{place}.weights", "F32")
    filled = document.model_copy(update={**found, "weights": weights})
    filled.check(weights)
    return filled.columns
