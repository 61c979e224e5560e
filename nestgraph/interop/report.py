"""What of a network can be edited, and what cannot and why: the report of an import."""

from dataclasses import dataclass

from nestgraph.edits import coupled
from nestgraph.edits.strands import Strands
from nestgraph.errors import InteropError
from nestgraph.graph import Structure, cost
from nestgraph.graph.cost import NetworkCost
from nestgraph.graph.extents import sample_shape, shape_words
from nestgraph.spec.arguments import checked

HEADS = "remove_heads, grow_head, split_head and widen_heads edit heads, each with what is its own"


@dataclass(frozen=True)
class ReportRow:
    """One layer.

    Attributes:
        name: the layer.
        kind: `input`, `neurons`, `feature_maps`, `heads` of attention, `opaque`, or `unitwise` of an opaque layer that
            works unit by unit.
        units: how many it has.
        editable: whether units can be added and removed one by one; heads have edits of their own.
        reason: why not, or what is noteworthy; empty otherwise.
        note: what the import did otherwise than the module; empty where it is the same.
        parameters: how many the layer has, with the projections into it; None where its body does not say.
    """

    name: str
    kind: str
    units: int
    editable: bool
    reason: str
    note: str = ""
    parameters: int | None = 0

    @property
    def state(self) -> str:
        """Whether it can be edited, in a word."""
        return "editable" if self.editable else "whole" if self.kind == "heads" else "fixed"


@dataclass(frozen=True)
class ImportReport:
    """A row for each layer, in order."""

    rows: tuple[ReportRow, ...]

    @property
    def opaque_share(self) -> float:
        """The share of the parameters that are in opaque layers; of the layers, where there are no parameters."""
        computed = [row for row in self.rows if row.kind != "input"]
        counts = (
            [row.parameters or 0 for row in computed]
            if any(row.parameters for row in computed)
            else [1] * len(computed)
        )
        opaque = sum(count for row, count in zip(computed, counts, strict=True) if row.kind == "opaque")
        return opaque / max(sum(counts), 1)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [
            f"{row.name:<{width}}  {row.kind:<12}  {row.units:>6}  {row.state:<8}  "
            f"{'; '.join(filter(None, (row.reason, row.note)))}".rstrip()
            for row in self.rows
        ]
        return "\n".join([*lines, self._total()])

    def _total(self) -> str:
        """The last line: how much can be edited."""
        opaque = [row for row in self.rows if row.kind == "opaque"]
        words = f"{sum(row.editable for row in self.rows)} of {len(self.rows)} layers editable, {len(opaque)} opaque"
        if not opaque:
            return words
        unknown = sum(row.parameters is None for row in opaque)
        kept = f", but for {unknown} without a body that says how many it has" if unknown else ""
        return f"{words} with {self.opaque_share:.0%} of the parameters{kept}"


@checked(InteropError)
def import_report(structure: Structure) -> ImportReport:
    """Which layers of a network can be edited, and what keeps the others or some of their units."""
    strands, table = Strands.of(structure), cost(structure)
    return ImportReport(tuple(_row(structure, strands, table, name) for name in structure.layer_names))


def _row(structure: Structure, strands: Strands, table: NetworkCost, name: str) -> ReportRow:
    record, units = structure.layer(name), structure.units(name)
    kind = "heads" if structure.matches(name) else record.kind
    if record.opaque is not None:
        kind = "unitwise" if record.unitwise else "opaque"
    editable, reason = _judged(structure, strands, name)
    parameters = None if name in table.uncounted else table.by_layer[name].parameters
    return ReportRow(name, kind, len(units), editable, reason, record.note, parameters)


def _judged(structure: Structure, strands: Strands, name: str) -> tuple[bool, str]:
    """Whether a layer can be edited, and why not or not all of it."""
    record, units = structure.layer(name), structure.units(name)
    if record.opaque is not None and not record.unitwise:
        return False, record.opaque
    if record.kind == "input" or record.output:
        return False, _taken(structure, name) if record.kind == "input" else "an output"
    if structure.matches(name):
        return False, HEADS
    kept = units[strands.kept[strands.places[name]]]
    if not len(kept):
        return True, record.opaque or ""
    some = len(kept) < len(units)
    return some, (f"{len(kept)} units " if some else "") + _obstacle(structure, name, int(kept[0]))


def _taken(structure: Structure, name: str) -> str:
    """What an input layer takes, where that is worth a word."""
    port = next(port for port in structure.inputs if port.layer == name)
    if not len(structure.units(name)):
        return "an input that nothing reads"
    if structure.layer(name).size is None:
        return "an input"
    return f"an input of {shape_words(sample_shape(structure, port))}"


def _obstacle(structure: Structure, name: str, unit: int) -> str:
    """Why a unit that is kept can neither go nor get a twin."""
    for near in coupled(structure, name, [unit]):
        together = "" if near == name else f"coupled to {near!r}, "
        if readers := [p.target for p in structure.outgoing(near) if not p.weighted and not structure.ties(p)]:
            return f"{together}read by the opaque layer {readers[0]!r}"
        if structure.layer(near).opaque is not None and not structure.layer(near).unitwise:
            return f"coupled to the opaque layer {near!r}"
        linked = [p.target for p in structure.outgoing(near) if p.couples]
        outputs = [target for target in linked if structure.layer(target).output]
        if outputs:
            return f"{together}repeated by the output {outputs[0]!r}"
    return "held"
