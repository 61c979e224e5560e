"""What a file from a stranger may cost: every bound on reading that a trusting user may raise."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from nestgraph.spec.limits import MAX_WEIGHTS
from nestgraph.spec.record import Record, plain_integer

Bound = Annotated[int, Field(gt=0, le=2**62), BeforeValidator(plain_integer)]


class Limits(Record):
    """Bounds on what is read, checked before the memory is taken. `LIMITS` holds the usual ones.

    Fixed by the format, and not raised here: integers below 2**53, names of 64 and texts of 256 characters, and
    the counts of `nestgraph.spec.limits`.

    Attributes:
        document_bytes: of a document, or of a line of a journal.
        journal_bytes: of a whole journal.
        sidecar_bytes: of the sidecar of a document.
        depth: how deep JSON may be nested.
        values: in the JSON; packed arrays count as one.
        entries: of all weights, masks and areas together: a bit of a file becomes up to five bytes of memory.
    """

    document_bytes: Bound = 64 * 2**20
    journal_bytes: Bound = 2**30
    sidecar_bytes: Bound = 2**30
    depth: Bound = 32
    values: Bound = 2**19
    entries: Bound = MAX_WEIGHTS


LIMITS = Limits()
MAX_BYTES = LIMITS.document_bytes
UNLIMITED = Limits(**dict.fromkeys(Limits.model_fields, 2**62))
"""For files that nobody but this program wrote: what they may cost is what they cost."""
