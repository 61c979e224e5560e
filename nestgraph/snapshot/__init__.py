"""Networks and edit logs on disk: strict JSON that is bounded, checked and written atomically."""

from nestgraph.snapshot.disk import read_bounded, sha256_of, write_atomically
from nestgraph.snapshot.document import NETWORK, NetworkDocument
from nestgraph.snapshot.files import SIDECAR_ABOVE, from_bytes, load, save, to_bytes
from nestgraph.snapshot.journal import JournalWriter, is_torn, read_journal, replay
from nestgraph.snapshot.journal_entry import JournalEntry, Proposal, read_entry
from nestgraph.snapshot.limits import LIMITS, MAX_BYTES, UNLIMITED, Limits
from nestgraph.snapshot.options import options_json, read_options
from nestgraph.snapshot.ownership import check_own, write_all_own, write_own
from nestgraph.snapshot.schemas import schemas, write_schemas
from nestgraph.snapshot.strict_json import check_json, in_one_sentence, problems_of, read_record

__all__ = [
    "LIMITS",
    "MAX_BYTES",
    "NETWORK",
    "SIDECAR_ABOVE",
    "UNLIMITED",
    "JournalEntry",
    "JournalWriter",
    "Proposal",
    "Limits",
    "NetworkDocument",
    "check_json",
    "check_own",
    "from_bytes",
    "is_torn",
    "load",
    "in_one_sentence",
    "options_json",
    "problems_of",
    "read_bounded",
    "read_entry",
    "read_journal",
    "read_options",
    "read_record",
    "replay",
    "save",
    "schemas",
    "sha256_of",
    "to_bytes",
    "write_all_own",
    "write_atomically",
    "write_own",
    "write_schemas",
]
