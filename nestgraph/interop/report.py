"""What of a network can be edited, and what cannot and why: the report of an import."""

from dataclasses import dataclass

from nestgraph.edits import coupled
from nestgraph.edits.strands import Strands
from nestgraph.graph import Structure
from nestgraph.graph.extents import sample_shape, shape_words
from nestgraph.spec import Argument, OneToOne


@dataclass(frozen=True)
class ReportRow:
    """One layer.

    Attributes:
        name: the layer.
        kind: `input`, `neurons`, `feature_maps` or `opaque`.
        units: how many it has.
        editable: whether units can be added and removed.
        reason: why not, or what is noteworthy; empty otherwise.
    """

    name: str
    kind: str
    units: int
    editable: bool
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """A row for each layer, in order."""

    rows: tuple[ReportRow, ...]

    @property
    def opaque_share(self) -> float:
        """The share of opaque layers among the layers that are no inputs."""
        computed = [row for row in self.rows if row.kind != "input"]
        return sum(row.kind == "opaque" for row in computed) / max(len(computed), 1)

    def __str__(self) -> str:
        width, state = max(len(row.name) for row in self.rows), {True: "editable", False: "fixed"}
        lines = [
            f"{row.name:<{width}}  {row.kind:<12}  {row.units:>6}  {state[row.editable]:<8}  {row.reason}".rstrip()
            for row in self.rows
        ]
        editable = sum(row.editable for row in self.rows)
        opaque = sum(row.kind == "opaque" for row in self.rows)
        return "\n".join([*lines, f"{editable} of {len(self.rows)} layers editable, {opaque} opaque"])


def import_report(structure: Structure) -> ImportReport:
    """Which layers of a network can be edited, and what keeps the others or some of their units."""
    strands = Strands.of(structure)
    return ImportReport(tuple(_row(structure, strands, name) for name in structure.layer_names))


def _row(structure: Structure, strands: Strands, name: str) -> ReportRow:
    record, units = structure.layer(name), structure.units(name)
    if record.opaque is not None:
        return ReportRow(name, "opaque", len(units), False, record.opaque)
    if record.kind == "input" or record.output:
        reason = _taken(structure, name) if record.kind == "input" else "an output"
        return ReportRow(name, record.kind, len(units), False, reason)
    kept = units[strands.kept[strands.places[name]]]
    if not len(kept):
        return ReportRow(name, record.kind, len(units), True, "")
    some = len(kept) < len(units)
    reason = (f"{len(kept)} units " if some else "") + _obstacle(structure, name, int(kept[0]))
    return ReportRow(name, record.kind, len(units), some, reason)


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
        if readers := [p.target for p in structure.outgoing(near) if isinstance(p, Argument)]:
            return f"{together}read by the opaque layer {readers[0]!r}"
        if structure.layer(near).opaque is not None:
            return f"coupled to the opaque layer {near!r}"
        linked = [p.target for p in structure.outgoing(near) if isinstance(p, OneToOne)]
        outputs = [target for target in linked if structure.layer(target).output]
        if outputs:
            return f"{together}repeated by the output {outputs[0]!r}"
    return "held"
