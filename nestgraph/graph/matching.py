"""Which parts of two networks are the same part, and which of those have other bits: what a difference rests on.

Layers and projections are matched by name, units by id, connections by the ids at their ends and their place between
them. Parts are compared as digests are made: floats bit by bit, records by their JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from nestgraph.graph.columns import Common
from nestgraph.graph.structure import Structure
from nestgraph.graph.tally import Fate
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.record import Record

R = TypeVar("R", bound=Record)


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
    return old.connection_columns(name).inner == new.connection_columns(name).inner


def same_area(before: AnyArray | None, after: AnyArray | None) -> bool:
    """Whether areas are recorded alike; None is not the same as an area of the whole map."""
    return before is after or (before is not None and after is not None and np.array_equal(before, after))


def unequal(values: AnyArray, later: AnyArray) -> AnyArray:
    """Bool: where float32 arrays differ bit by bit; everywhere where they are of other shapes."""
    if values.shape != later.shape:
        return np.ones(len(values), bool)
    return values.view(np.uint32) != later.view(np.uint32)


def common_pairs(old: Structure, new: Structure, name: str) -> Common:
    """The pairs that a projection of the same make may join in both networks."""
    (before, ends), (after, later) = old.wired(name), new.wired(name)
    return before.common(after, ends, later)
