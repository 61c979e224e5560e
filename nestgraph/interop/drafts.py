"""A network in the making: layers that may still gain operations, and the projections between them."""

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import numpy as np

from nestgraph.edits import Batch
from nestgraph.edits.islands import island_edits
from nestgraph.graph import Structure
from nestgraph.graph.body import Body
from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.geometry import output_size
from nestgraph.graph.pinning import pinned
from nestgraph.graph.tying import tie_faults
from nestgraph.spec import Interface, Layer, Operation, Projection
from nestgraph.spec.arrays import AnyArray, owned
from nestgraph.spec.record import MAX_TEXT, check_text

Size = tuple[int, ...]


@dataclass
class Draft:
    """A layer whose operations and columns are not settled yet; `size` is () for neurons."""

    record: Layer
    units: int
    columns: dict[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    read: bool = False

    @property
    def output_size(self) -> Size:
        """(height, width) after the operations so far; () for neurons."""
        return output_size(self.record) or ()

    def append(self, operation: Operation, columns: Mapping[str, AnyArray], frozen: Sequence[str] = ()) -> None:
        """Add an operation to the end of the chain, with the columns it brings, and those that do not train."""
        added = {"operations": (*self.record.operations, operation), "frozen": (*self.record.frozen, *frozen)}
        self.record = Layer.model_validate(dict(self.record) | added)
        self.columns.update(columns)

    def note(self, text: str) -> None:
        """Say what is otherwise than in the module; each thing once."""
        known = self.record.note.split("; ") if self.record.note else []
        if text not in known:
            self.record = self.record.model_copy(update={"note": plain_text("; ".join([*known, text]))})


class Drafts:
    """The layers and projections of a network in the making, by name."""

    def __init__(self) -> None:
        self.layers: dict[str, Draft] = {}
        self._projections: dict[str, Projection] = {}
        self._connections: dict[str, ConnectionColumns] = {}
        self._bodies: dict[str, Body] = {}
        self._ties: dict[str, str] = {}
        self._before: list[tuple[Draft, Layer, dict[str, AnyArray]]] = []

    def begin(self) -> None:
        """From here on, what layers gain can be taken back."""
        self._before.clear()

    def append(
        self, layer: str, operation: Operation, columns: Mapping[str, AnyArray], frozen: Sequence[str] = ()
    ) -> None:
        """Let a layer gain an operation (see `Draft.append`)."""
        draft = self.layers[layer]
        self._before.append((draft, draft.record, dict(draft.columns)))
        draft.append(operation, columns, frozen)

    def take_back(self) -> None:
        """Take what layers gained since `begin` from them; layers that were added lead nowhere and go by themselves."""
        for draft, record, columns in reversed(self._before):
            draft.record, draft.columns = record, columns
        self._before.clear()

    def add(self, hint: str, units: int, size: Size, bias: AnyArray | None = None, **fields: Any) -> str:
        """A new layer; the name it got."""
        name = _unused(identifier(hint), self.layers)
        kind = "feature_maps" if size else "neurons"
        settled = {"kind": kind, "size": size or None, "bias": bias is not None} | fields
        record = Layer.model_validate({"name": name} | settled)
        self.layers[name] = Draft(record, units, {} if bias is None else {"bias": np.asarray(bias, np.float32)})
        return name

    def join(self, record: Projection, columns: ConnectionColumns) -> str:
        """Add a projection, under a name of its own, which it gives."""
        name = _unused(record.name, self._projections)
        self._projections[name] = record.model_copy(update={"name": name})
        self._connections[name] = columns
        self.layers[record.source].read = True
        return name

    def projection(self, name: str) -> Projection:
        """The record of a projection so far."""
        return self._projections[name]

    def tie(self, projection: str, like: str) -> None:
        """Let a projection have the table of a lookup, if what is left of both in the end can have one."""
        self._ties[projection] = like

    def give_places(self, layer: str, values: AnyArray, frozen: bool) -> None:
        """What is added to the sums of a layer's units at each place, (units, *size), instead of a bias."""
        draft = self.layers[layer]
        held = {"places": True, "frozen": ("places",) if frozen else ()}
        draft.record = Layer.model_validate(dict(draft.record) | held)
        draft.columns["places"] = np.asarray(values, np.float32)

    def take_places(self, layer: str, operations: Sequence[Operation]) -> None:
        """Add nothing to the sums of a layer's units at places any more, as its operations say the same."""
        draft = self.layers[layer]
        held = {"places": False, "frozen": (), "operations": tuple(operations)}
        draft.record = Layer.model_validate(dict(draft.record) | held)
        del draft.columns["places"]

    def at(self, layer: str, end: int) -> list[tuple[Projection, ConnectionColumns]]:
        """The projections so far that lead to a layer (end 0) or out of it (end 1)."""
        found = [record for record in self._projections.values() if record.ends[end] == layer]
        return [(record, self._connections[record.name]) for record in found]

    def rejoin(self, record: Projection, columns: ConnectionColumns) -> None:
        """Put another projection in the place of the one of its name."""
        self._projections[record.name], self._connections[record.name] = record, columns

    def part(self, projection: str) -> None:
        """Take a projection away."""
        del self._projections[projection], self._connections[projection]

    def give_body(self, layer: str, body: Body) -> None:
        """What an opaque layer computes."""
        self._bodies[layer] = body

    def mark_output(self, layer: str, label: str) -> None:
        """Make a layer one of the network's outputs."""
        draft = self.layers[layer]
        draft.record = draft.record.model_copy(update={"output": True, "label": draft.record.label or label})

    def structure(self, interface: Interface) -> Structure:
        """The structure with an interface, without what leads to no output."""
        units = {name: _columns(draft) for name, draft in self.layers.items()}
        records = [draft.record for draft in self.layers.values()]
        structure = Structure(records, self._projections.values(), units, self._connections, self._bodies, interface)
        structure = structure.replace(connections=dict(_revived(structure)))
        return self._tied(Batch(edits=island_edits(structure)).change(structure)[0])

    def _tied(self, structure: Structure) -> Structure:
        """The structure with one table for what shares one, where both ends are there, of the same units."""
        for name, like in self._ties.items():
            if not (structure.has_projection(name) and structure.has_projection(like)):
                continue
            record = structure.projection(name)
            tied = structure.replace(projections={name: record.model_copy(update={"like": like})})
            if any(tie_faults(tied)):
                draft = Draft(structure.layer(record.target), 0)
                draft.note(f"{name}: weights shared with {like}, they are copies here and train apart")
                structure = structure.replace(layers={record.target: draft.record})
            else:
                structure = tied
        return structure


def _revived(structure: Structure) -> Iterator[tuple[str, ConnectionColumns]]:
    """Connections of units that cannot go though the module has pruned all their weights: those weights, as zeros."""
    kept = pinned(structure) | set(structure.output_names)
    for layer in sorted(name for name in kept if structure.layer(name).opaque is None):
        incoming = structure.incoming(layer)
        if not incoming or any(projection.couples for projection in incoming):
            continue
        fed = {projection.name: structure.wired(projection.name) for projection in incoming}
        dead = ~np.logical_or.reduce([columns.touched(columns.edges, 0, ends) for columns, ends in fed.values()])
        for name, (columns, ends) in fed.items() if dead.any() else ():
            yield name, columns.with_weight(columns.weight, columns.mask | columns.spread(dead, 0, ends))


def _columns(draft: Draft) -> UnitColumns:
    given = UnitColumns.new(draft.record, draft.units)
    return UnitColumns.of(given.ids, {**given.values, **draft.columns})


def identifier(hint: str) -> str:
    """A layer's name from any text.

    >>> identifier("features.0.conv")
    'features_0_conv'
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "_", hint)[:56].strip("_") or "layer"
    return f"layer_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


def plain_text(text: str) -> str:
    """Any text as a label."""
    kept = "".join(character for character in text if character.isprintable())[:MAX_TEXT]
    return check_text(kept)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    numbered = (f"{name[:58]}_{number}" for number in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in taken)


def ungrouped(weight: AnyArray, groups: int) -> AnyArray:
    """Entries (out, in, *kernel) from those (out, in / groups, *kernel) of a grouped convolution."""
    if groups == 1:
        return weight
    rows, into = len(weight) // groups, weight.shape[1]
    full = np.zeros((len(weight), groups * into, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        own = slice(group * rows, (group + 1) * rows)
        full[own, group * into : (group + 1) * into] = weight[own]
    return owned(full)


def spread(entries: AnyArray, read: AnyArray, places: AnyArray, width: int) -> AnyArray:
    """(out, width, ...): the entries of `read` along the second axis, at `places` of it; elsewhere 0."""
    every: AnyArray = np.arange(width)
    if entries.shape[1] == width and np.array_equal(read, every) and np.array_equal(places, every):
        return entries
    found = np.zeros((len(entries), width, *entries.shape[2:]), entries.dtype)
    found[:, places] = entries[:, read]
    return owned(found)
