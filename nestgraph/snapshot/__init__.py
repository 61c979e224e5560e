"""Networks and edit logs on disk: strict JSON that is bounded, checked and written atomically."""

from nestgraph.snapshot.disk import read_bounded, write_atomically
from nestgraph.snapshot.document import NETWORK, NetworkDocument
from nestgraph.snapshot.files import from_bytes, load, save, to_bytes
from nestgraph.snapshot.journal import JournalEntry, JournalWriter, read_journal, replay
from nestgraph.snapshot.schemas import schemas, write_schemas
from nestgraph.snapshot.strict_json import MAX_BYTES, first_problem, read_record

__all__ = [
    "MAX_BYTES",
    "NETWORK",
    "JournalEntry",
    "JournalWriter",
    "NetworkDocument",
    "first_problem",
    "from_bytes",
    "load",
    "read_bounded",
    "read_journal",
    "read_record",
    "replay",
    "save",
    "schemas",
    "to_bytes",
    "write_atomically",
    "write_schemas",
]
