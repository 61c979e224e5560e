"""Tables at both ends of a network: a lookup leads, and what weighs the classes follows it (`Projection.follows`).

Where unit e of a lookup has the value w for class v, unit v of what the follower leads to weighs unit e by w, too. Both
are one parameter; they are recorded at both ends, and edits keep them alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from nestgraph.graph.columns import gathered
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Conv, Dense, Projection

REMEDY = ": untie it first (nestgraph.edits.untie)"


@dataclass(frozen=True, eq=False)
class Tie:
    """Where the units of both ends of a tie are: a place is -1 where the other end lacks the unit or class.

    Attributes:
        leader: the name of the lookup, whose weights are (units, 1, classes).
        follower: the name of what follows it, whose weights are (classes, units) or (classes, units, 1, ...).
        units: by source of the follower, its place among the targets of the leader.
        classes: by target of the follower, its class.
        sources: by target of the leader, its place among the sources of the follower.
        targets: by class, its place among the targets of the follower.
    """

    leader: str
    follower: str
    units: AnyArray
    classes: AnyArray
    sources: AnyArray
    targets: AnyArray

    @classmethod
    def of(cls, structure: Structure, projection: str) -> Self | None:
        """The tie of a projection, at whichever of its ends it is; None where it has none."""
        other = structure.tied.get(projection)
        if other is None:
            return None
        leads = structure.projection(projection).follows is None
        leader, follower = (projection, other) if leads else (other, projection)
        table, weights = (structure.connection_columns(name) for name in (leader, follower))
        if table.edges.shape[1:] != (1,) or weights.edges.ndim < 2 or weights.edges.size != weights.mask.size:
            return None
        looked_up, ends = structure.ends(leader).target, structure.ends(follower)
        (count,) = table.inner
        return cls(
            leader,
            follower,
            looked_up.find(ends.source.ids),
            np.where(ends.target.ids < count, ends.target.ids, -1),
            ends.source.find(looked_up.ids),
            ends.target.find(np.arange(count)),
        )

    def onward(self, table: AnyArray, known: AnyArray) -> AnyArray:
        """Values at the leader as the follower has them; those that the leader lacks as they are known there."""
        width = known.shape[1]
        return gathered(table[:, 0], (self.units, self.classes), known.reshape(-1, width).T).T.reshape(known.shape)

    def back(self, weights: AnyArray, known: AnyArray) -> AnyArray:
        """Values at the follower as the leader has them; those that the follower lacks as they are known there."""
        turned = weights.reshape(weights.shape[:2]).T
        return gathered(turned, (self.sources, self.targets), known[:, 0])[:, None]

    def other(self, projection: str, values: AnyArray, known: AnyArray) -> AnyArray:
        """Values at one end, in the shape of its weights, as the other end has them; see `onward` and `back`."""
        return self.onward(values, known) if projection == self.leader else self.back(values, known)

    def partner(self, projection: str, entries: AnyArray) -> AnyArray:
        """(k,) int64: where entries of a projection are at the other end; -1 where that lacks them."""
        if projection == self.leader:
            unit, of_class = np.divmod(entries, len(self.targets))
            target, source, width = self.targets[of_class], self.sources[unit], len(self.units)
        else:
            row, column = np.divmod(entries, max(len(self.units), 1))
            target, source, width = self.units[column], self.classes[row], len(self.targets)
        return np.where((target >= 0) & (source >= 0), target * width + source, -1)


def ties(structure: Structure) -> Iterator[Tie]:
    """The ties of a structure, as far as their forms fit."""
    for name in structure.tied:
        if structure.projection(name).follows is not None and (tie := Tie.of(structure, name)) is not None:
            yield tie


def sides(structure: Structure) -> Iterator[tuple[str, str]]:
    """By tie the two layers whose units have the same ids: what is looked up, and what the follower reads."""
    for name in structure.tied:
        record = structure.projection(name)
        if record.follows is not None:
            yield structure.projection(record.follows).target, record.source


def across(structure: Structure, layer: str) -> Iterator[str]:
    """The layers whose units have the ids of a layer's by a tie, and so come and go with them."""
    for pair in sides(structure) if structure.tied else ():
        if layer in pair and pair[0] != pair[1]:
            yield pair[1 - pair.index(layer)]


def lone_entries(structure: Structure, projection: str) -> AnyArray | None:
    """Bool, in the shape of the weights: what the other end of a tie lacks, so that it stays dormant; None untied."""
    tie = Tie.of(structure, projection)
    if tie is None:
        return None
    shape = structure.connection_columns(projection).mask.shape
    ends = (tie.sources, tie.targets) if projection == tie.leader else (tie.classes, tie.units)
    lone = np.logical_or.outer(*(places < 0 for places in ends))
    return lone.reshape(shape)


def asleep_entries(structure: Structure, projection: str) -> AnyArray:
    """Bool, in the shape of the weights: what can be woken, as it is dormant and the other end of a tie has it."""
    mask, lone = structure.connection_columns(projection).mask, lone_entries(structure, projection)
    return ~mask if lone is None else ~(mask | lone)


def agree(structure: Structure, tie: Tie) -> bool:
    """Whether what both ends of a tie have is the same to the bit: which connections live, and their weights."""
    leader, follower = (structure.connection_columns(name) for name in (tie.leader, tie.follower))
    pairs = ((leader.mask, follower.mask), (leader.weight.view(np.uint32), follower.weight.view(np.uint32)))
    return all(np.array_equal(tie.onward(table, known), known) for table, known in pairs)


def tie_faults(structure: Structure) -> Iterator[tuple[str, str]]:
    """What is wrong with the ties of a structure whose shapes agree: the projection, and the problem."""
    for name in structure.projection_names:
        record = structure.projection(name)
        if record.follows is not None:
            fault = _fault(structure, record, record.follows)
            if fault is not None:
                yield name, fault + REMEDY


def _fault(structure: Structure, record: Projection, like: str) -> str | None:
    """The first that is wrong with a tie, as what was expected and got."""
    if not structure.has_projection(like):
        return f"expected the lookup {like!r}, whose table it has, got none of that name"
    leader = structure.projection(like)
    if not leader.names_classes:
        return f"expected to have the table of a lookup, got {like!r}, which is {leader.kind}"
    others = [p.name for p in structure.projections_by_name.values() if p.follows == like and p is not record]
    if others:
        return f"expected to follow {like!r} alone, got {others[0]!r}, which does as well"
    form = _form_fault(structure, record)
    if form is not None:
        return form
    if len(structure.units(leader.source)) != 1:
        return f"expected a lookup of one id, got {len(structure.units(leader.source))} of {leader.source!r}"
    if leader.held != record.held:
        words = ["frozen" if each.held else "trained" for each in (leader, record)]
        return f"expected one parameter at both ends, got {like!r} {words[0]} and this {words[1]}"
    tie = Tie.of(structure, record.name)
    assert tie is not None, "both ends are there and of the right form"
    return _unit_fault(structure, record, leader) or _table_fault(structure, tie, record, leader)


def _form_fault(structure: Structure, record: Projection) -> str | None:
    """Why a projection is no linear map of each place, if it is none."""
    columns = structure.connection_columns(record.name)
    if isinstance(record, Dense) and columns.weight.ndim == 2:
        return None
    plain = isinstance(record, Conv) and not record.transposed and columns.area is None
    if plain and meaning_of(structure, record).pointwise:
        return None
    return f"expected dense weights between neurons, or kernels of one place without an area, got {record.words}"


def _unit_fault(structure: Structure, record: Projection, leader: Projection) -> str | None:
    """The first unit that one end of a tie lacks."""
    ends = (leader.target, structure.units(leader.target)), (record.source, structure.units(record.source))
    for (name, ids), (other, there) in (ends, ends[::-1]):
        missing = np.setdiff1d(ids, there)
        if len(missing):
            got = f"{int(missing[0])} in {name!r} and not in {other!r}"
            return f"expected the same ids of units in {leader.target!r} and {record.source!r}, got {got}"
    return None


def _table_fault(structure: Structure, tie: Tie, record: Projection, leader: Projection) -> str | None:
    """The first class that both ends of a tie do not have alike."""
    if (tie.classes < 0).any():
        unit = int(structure.units(record.target)[tie.classes < 0][0])
        return f"expected units of {record.target!r} that are among {len(tie.targets):,} classes, got unit {unit}"
    gone = tie.targets < 0
    known = structure.connection_columns(leader.name).mask
    if gone.any() and known[:, 0, gone].any():
        which = int(np.flatnonzero(gone & known[:, 0].any(axis=0))[0])
        return f"expected no connections of class {which} in {leader.name!r}, as {record.target!r} lacks it, got some"
    if not agree(structure, tie):
        return f"expected the connections and weights of {leader.name!r}, turned, got others"
    return None
