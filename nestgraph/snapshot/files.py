"""Networks as files: saved so that a crash cannot tear them, loaded so that no file can do harm."""

import os
from pathlib import Path

from nestgraph.errors import SnapshotError, StructureError, VerificationError
from nestgraph.graph.network import Network
from nestgraph.snapshot.disk import PathLike, read_bounded, shown, write_atomically
from nestgraph.snapshot.document import NETWORK, NetworkDocument
from nestgraph.snapshot.limits import LIMITS, Limits
from nestgraph.snapshot.migration import migrate
from nestgraph.snapshot.ownership import check_own
from nestgraph.snapshot.sidecar import read_network, write_sidecar
from nestgraph.snapshot.strict_json import check_json, read_record
from nestgraph.spec.arguments import checked

MARK = b'"nestgraph.network"'
"""What tells a snapshot from other files."""

SIDECAR_ABOVE = 2**20
"""A network with more connections has its arrays in a sidecar: as JSON it would take six megabytes and more."""


def to_bytes(network: Network, limits: Limits = LIMITS) -> bytes:
    """The JSON of a network, all in one; the same network gives the same bytes.

    Raises:
        SnapshotError: the network is larger than a document may be.
    """
    return _written(_document(network, limits), limits.model_copy(update={"document_bytes": 2**62}))


def from_bytes(data: bytes, where: str = "network", limits: Limits = LIMITS) -> Network:
    """The network whose JSON is `data`; `where` is what messages begin with.

    Raises:
        SnapshotError: it is no network, or a network that breaks a law, in one sentence.
    """
    document = read_record(NETWORK, data, where, limits, migrate)
    if document.sidecar:
        raise SnapshotError(f"{where}: expected a network in one piece, got one with a sidecar: load it from its file")
    return document.network


@checked(SnapshotError)
def save(
    network: Network,
    path: PathLike,
    sidecar_above: int = SIDECAR_ABOVE,
    limits: Limits = LIMITS,
    overwrite: bool = False,
) -> None:
    """Write a network as JSON. After a crash `path` holds either its old content or the whole network.

    Args:
        network: to write.
        path: of the document. Where there is a sidecar it lies in the same folder; that of the network that `path` held
            before stays there.
        sidecar_above: with more connections than this the arrays go into the sidecar, `DIGEST.safetensors`.
        limits: of what reads it.
        overwrite: replace a file that is no snapshot of a network; a snapshot is replaced without it.

    Raises:
        SnapshotError: another file is there, the file cannot be written, or is larger than may be read.
    """
    check_own(path, MARK, overwrite)
    document = _document(network, limits)
    if network.connection_count <= sidecar_above:
        write_atomically(path, _written(document, limits))
        return
    bare = _written(document.bare, limits)
    write_sidecar(document, Path(path).parent, limits)
    write_atomically(path, bare)


@checked(SnapshotError)
def load(path: PathLike, limits: Limits = LIMITS) -> Network:
    """Read a network, from whomever it comes, and verify it.

    Raises:
        SnapshotError: the file or its sidecar cannot be read, or what it holds is no network or breaks a law. One
            sentence.
    """
    where = shown(path)
    document = read_record(NETWORK, read_bounded(path, limits.document_bytes), where, limits, migrate)
    if not document.sidecar:
        return document.network
    try:
        return read_network(document, Path(os.path.realpath(path)).parent, limits)
    except (StructureError, VerificationError, ValueError) as error:
        raise SnapshotError(f"{where}: {error}") from error
    except (MemoryError, OverflowError) as error:
        problem = f"expected a network that fits this machine, got {type(error).__name__}"
        raise SnapshotError(f"{where}: {problem}") from None


def _document(network: Network, limits: Limits) -> NetworkDocument:
    try:
        return NetworkDocument.of(network, limits)
    except ValueError as error:
        raise SnapshotError(f"{network!r} cannot be written: {error}") from error


def _written(document: NetworkDocument, limits: Limits) -> bytes:
    data = document.text.encode()
    try:
        check_json(data, limits)  # nothing is written that would be refused
    except ValueError as error:
        raise SnapshotError(f"the network {document.digest[:8]} cannot be written: {error}") from error
    return data
