"""Networks as files: saved so that a crash cannot tear them, loaded so that no file can do harm."""

from nestgraph.errors import SnapshotError
from nestgraph.graph.network import Network
from nestgraph.snapshot.disk import PathLike, read_bounded, shown, write_atomically
from nestgraph.snapshot.document import NETWORK, NetworkDocument
from nestgraph.snapshot.strict_json import MAX_BYTES, check_json, read_record


def to_bytes(network: Network) -> bytes:
    """The JSON of a network; the same network gives the same bytes.

    Raises:
        SnapshotError: the network is larger than a document may be.
    """
    try:
        data = NetworkDocument.of(network).model_dump_json().encode() + b"\n"
        check_json(data, max_bytes=len(data))  # nothing is written that would be refused
        return data
    except ValueError as error:
        raise SnapshotError(f"{network!r} cannot be written: {error}") from error


def from_bytes(data: bytes, where: str = "network", max_bytes: int = MAX_BYTES) -> Network:
    """The network whose JSON is `data`; `where` is what messages begin with.

    Raises:
        SnapshotError: it is no network, or a network that breaks a law, in one sentence.
    """
    return read_record(NETWORK, data, where, max_bytes).network


def save(network: Network, path: PathLike) -> None:
    """Write a network as JSON. After a crash `path` holds either its old content or the whole network.

    Raises:
        SnapshotError: the file cannot be written.
    """
    write_atomically(path, to_bytes(network))


def load(path: PathLike, max_bytes: int = MAX_BYTES) -> Network:
    """Read a network, from whomever it comes, and verify it.

    Raises:
        SnapshotError: the file cannot be read, or what it holds is no network or breaks a law. One sentence.
    """
    return from_bytes(read_bounded(path, max_bytes), shown(path), max_bytes)
