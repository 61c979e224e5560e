"""Where each unit went: what optimizer state, evidence and diagrams follow through an edit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.errors import EditError
from nestgraph.graph.structure import Structure
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray


@dataclass(frozen=True, eq=False)
class IndexMap:
    """For each layer of the new network, the old position of each unit; -1 for a unit that is new.

    Ids are never reused, so the map between two versions follows from their ids alone.
    """

    old_positions: Mapping[str, AnyArray]

    @classmethod
    @checked(EditError)
    def between(cls, old: Structure, new: Structure) -> "IndexMap":
        """The map from the units of `old` to those of `new`."""
        return cls({name: _old_positions(old, new, name) for name in new.layers_by_name})

    @checked(EditError)
    def then(self, later: "IndexMap") -> "IndexMap":
        """This map followed by a later one."""
        return IndexMap({name: _through(self.old_positions.get(name), at) for name, at in later.old_positions.items()})

    @checked(EditError)
    def of_connections(self, old: Structure, new: Structure, projection: str) -> tuple[AnyArray, ...]:
        """For each leading axis of a projection's weights in `new`, the place in those of `old`; -1 of what is new.

        It is over targets and over sources, or over links.
        """
        (columns, ends), (older, older_ends), record = (
            new.wired(projection),
            old.wired(projection),
            new.projection(projection),
        )
        places = self.old_positions[record.target], self.old_positions[record.source]
        return columns.follow(older, places, ends, older_ends)

    @checked(EditError)
    def is_identity(self, layer: str, old_count: int) -> bool:
        """Whether the units of a layer, of which there were `old_count`, all stayed in place."""
        return np.array_equal(self.old_positions[layer], np.arange(old_count))


def _old_positions(old: Structure, new: Structure, layer: str) -> AnyArray:
    ids = new.units(layer)
    if not old.has_layer(layer):
        return np.full(len(ids), -1)
    if old.units(layer) is ids:
        return np.arange(len(ids))
    return old.unit_columns(layer).find(ids)


def _through(earlier: AnyArray | None, later: AnyArray) -> AnyArray:
    if earlier is None or not len(earlier):
        return np.full(len(later), -1)
    return np.where(later >= 0, earlier[later], -1)
