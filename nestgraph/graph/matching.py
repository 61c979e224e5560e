"""Which parts of two networks are the same part, and which of those have other bits: what a difference rests on.

Layers and projections are matched by name, units by id, connections by the ids at their ends and their place between
them. Parts are compared as digests are made: floats bit by bit, records by their JSON.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from nestgraph.graph.columns import ConnectionColumns
from nestgraph.graph.structure import Structure
from nestgraph.graph.tally import Fate
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.record import Record

R = TypeVar("R", bound=Record)
Places = tuple[Any, ...]
"""What indexes the first axes of a projection's arrays."""


def same_record(before: Record | None, after: Record | None) -> bool:
    """Whether records say the same in a file; `==` takes 0.0 for -0.0."""
    if before is None or after is None:
        return before is after
    return before is after or (before == after and before.model_dump_json() == after.model_dump_json())


def other_fields(before: Record, after: Record) -> tuple[str, ...]:
    """The names of the fields in which two records differ."""
    if same_record(before, after):
        return ()
    tables: list[Mapping[str, Any]] = [json.loads(record.model_dump_json()) for record in (before, after)]
    names = dict.fromkeys((*type(before).model_fields, *type(after).model_fields))
    return tuple(name for name in names if len({json.dumps(table.get(name)) for table in tables}) > 1)


@dataclass(frozen=True, eq=False)
class Matched(Generic[R]):
    """A layer or projection of either of two networks, matched by name.

    Attributes:
        name: of both.
        before: its record in the old network; None where there was none of that name.
        after: its record in the new one; None where there is none.
    """

    name: str
    before: R | None
    after: R | None

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields of the record that changed, such as `operations`; none where only one network has the part."""
        return () if self.before is None or self.after is None else other_fields(self.before, self.after)

    @property
    def alone(self) -> Fate | None:
        """What became of a part that only one network has; None where both have it."""
        if self.before is not None and self.after is not None:
            return None
        return "added" if self.before is None else "removed"


def same_make(old: Structure, new: Structure, name: str) -> bool:
    """Whether a projection of both networks joins the same layers by edges of one form, so that they compare."""
    before, after = old.projection(name), new.projection(name)
    if (before.source, before.target, before.kind) != (after.source, after.target, after.kind):
        return False
    axes = 1 if before.kind == "one_to_one" else 2
    shapes = [network.connection_columns(name).weight.shape[axes:] for network in (old, new)]
    return shapes[0] == shapes[1]


def same_area(before: AnyArray | None, after: AnyArray | None) -> bool:
    """Whether areas are recorded alike; None is not the same as an area of the whole map."""
    return before is after or (before is not None and after is not None and np.array_equal(before, after))


def unequal(values: AnyArray, later: AnyArray) -> AnyArray:
    """Bool: where float32 arrays differ bit by bit."""
    return values.view(np.uint32) != later.view(np.uint32)


@dataclass(frozen=True, eq=False)
class Common:
    """The edges that a projection could have in both of two networks.

    Attributes:
        here: where they are in the arrays of the old one.
        there: where they are in those of the new one.
        ends: ids of the targets and of the sources, one an index of the first two axes; or, of links, one a link.
    """

    here: Places
    there: Places
    ends: tuple[AnyArray, AnyArray]


def common_edges(old: Structure, new: Structure, name: str) -> Common:
    """Match the edges of a projection that has the same make in both networks."""
    before, after = old.connection_columns(name), new.connection_columns(name)
    if before.links is not None and after.links is not None:
        _, rows, later_rows = np.intersect1d(before.links[:, 1], after.links[:, 1], return_indices=True)
        same = before.links[rows, 0] == after.links[later_rows, 0]
        links = before.links[rows[same]]
        return Common((rows[same],), (later_rows[same],), (links[:, 1], links[:, 0]))
    projection = old.projection(name)
    ends = old.units(projection.target), old.units(projection.source)
    later = new.units(projection.target), new.units(projection.source)
    if all(np.array_equal(*ids) for ids in zip(ends, later, strict=True)):
        return Common((...,), (...,), ends)  # the arrays as they are, without a copy
    targets, rows, later_rows = np.intersect1d(ends[0], later[0], return_indices=True)
    sources, columns, later_columns = np.intersect1d(ends[1], later[1], return_indices=True)
    return Common(np.ix_(rows, columns), np.ix_(later_rows, later_columns), (targets, sources))


def other_areas(before: ConnectionColumns, after: ConnectionColumns, common: Common) -> AnyArray:
    """Bool (targets, sources): where both can have an edge, whether its area differs; None is the whole map."""
    if before.area is None and after.area is None:
        return np.zeros((1, 1), bool)
    first, second = _positions(before, common.here), _positions(after, common.there)
    return (first != second).any(axis=(2, 3))


def _positions(columns: ConnectionColumns, places: Places) -> AnyArray:
    """Bool (targets, sources, P, Q), or one that broadcasts to it."""
    area = columns.area
    if area is None:
        return np.ones((1, 1, 1, 1), bool)
    if places[0] is ...:
        return area
    return area[places[0][:, 0]] if area.shape[1] == 1 else area[places]


def connection_ends(
    at: AnyArray, shape: Sequence[int], ends: tuple[AnyArray, AnyArray], linked: bool
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Ids of target and source of connections, and their places between the two.

    Args:
        at: (connections,) flat indices of an array of a projection's weights.
        shape: of that array.
        ends: ids of the targets and of the sources: one an index of the first two axes, or one a link.
        linked: whether the first axis counts links.
    """
    targets, sources = ends
    if len(shape) < 2 and not linked:  # an argument
        return targets[:0], sources[:0], at[:0]
    inner = int(np.prod(shape[1 if linked else 2 :], dtype=np.int64))
    edge, place = np.divmod(at, max(inner, 1))
    row, column = (edge, edge) if linked else np.divmod(edge, max(shape[1], 1))
    return targets[row], sources[column], place
