"""What a file from a stranger may cost: every bound on reading that a trusting user may raise."""

from nestgraph.spec.record import Count, Record


class Limits(Record):
    """Bounds on what is read, checked before the memory is taken. `LIMITS` holds the usual ones.

    Fixed by the format, and not raised here: integers below 2**53, names of 64 and texts of 256 characters, 4,096
    layers and 16,384 projections.

    Attributes:
        document_bytes: of a document, or of a line of a journal.
        journal_bytes: of a whole journal.
        sidecar_bytes: of the sidecar of a document.
        depth: how deep JSON may be nested.
        values: in the JSON; packed arrays count as one.
        entries: of all weights, masks and areas together: a bit of a file becomes up to five bytes of memory.
    """

    document_bytes: Count = 64 * 2**20
    journal_bytes: Count = 2**30
    sidecar_bytes: Count = 2**30
    depth: Count = 32
    values: Count = 2**19
    entries: Count = 2**28


LIMITS = Limits()
MAX_BYTES = LIMITS.document_bytes
UNLIMITED = Limits(**dict.fromkeys(Limits.model_fields, 2**62))
"""For files that nobody but this program wrote: what they may cost is what they cost."""
