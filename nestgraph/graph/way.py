"""The way from one network to another: where each unit went, so that what was made for the one fits the other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray

NOBODY = np.zeros(0, np.int64)
Born = Mapping[str, tuple[AnyArray, AnyArray]]


@dataclass(frozen=True, eq=False)
class Way:
    """From the network that an edit was made for to another one.

    Attributes:
        base: the network that the edit was made for.
        here: the network that it is to fit.
        twins: by layer of the base, (units,) int64: the id that each unit has here, -1 where it is gone. It is another
            than its own only where two branches drew the same one for new units.
        remade: names of layers and projections that were removed on the way: those of that name here are others.
    """

    base: Structure
    here: Structure
    twins: Mapping[str, AnyArray]
    remade: frozenset[str] = frozenset()

    @classmethod
    @checked(StructureError)
    def between(cls, base: Structure, here: Structure) -> "Way":
        """Along one line of history, on which an id is one unit for ever. Nothing of a name may have been made anew."""
        return cls(base, here, {name: _alive(base.units(name), here, name) for name in base.layers_by_name})

    @checked(StructureError)
    def then(self, later: "Way") -> "Way":
        """This way and another that begins where it ends, such as one down a branch to where both part, and one up."""
        twins = {name: later.twin(name, ids) for name, ids in self.twins.items()}
        return Way(self.base, later.here, twins, self.remade | later.remade)

    def on(self, base: Structure, here: Structure, born: Born, gone: Iterable[str]) -> "Way":
        """The way between what an edit makes of the base and what one that means the same makes of what is here.

        Args:
            base: the base after the edit.
            here: what is here after the other one.
            born: by layer, the ids that the edit gave to new units, and those that the other one gave to them.
            gone: names that the edits removed: what they name later is the same on both sides.
        """
        twins = {name: self._twins_on(base, here, name, born) for name in base.layers_by_name}
        return Way(base, here, twins, self.remade - frozenset(gone))

    def _twins_on(self, base: Structure, here: Structure, layer: str, born: Born) -> AnyArray:
        ids = base.units(layer)
        if not self.base.has_layer(layer):
            return _alive(ids, here, layer)
        if ids is self.base.units(layer) and here.has_layer(layer) and here.units(layer) is self._units(layer):
            return self.twins[layer]
        twins, (given, becomes) = self.twin(layer, ids), born.get(layer, (NOBODY, NOBODY))
        place = UnitColumns.of(given, {}).find(ids)
        return _alive(np.where(place >= 0, np.append(becomes, -1)[place], twins), here, layer)

    def _units(self, layer: str) -> AnyArray | None:
        return self.here.units(layer) if self.here.has_layer(layer) else None

    @cached_property
    def is_identity(self) -> bool:
        """Whether it leads nowhere: the very same network."""
        return self.base is self.here and not self.remade

    def twin(self, layer: str, ids: AnyArray) -> AnyArray:
        """The ids here of units of the base; -1 of those that are gone, or never were."""
        if not self.base.has_layer(layer):
            return np.full(np.shape(ids), -1)
        return np.append(self.twins[layer], -1)[self.base.unit_columns(layer).find(ids)]  # -1 reads what is appended

    def old(self, layer: str) -> AnyArray:
        """(units,): for each unit of a layer here its position in the base; -1 of those that the base has not."""
        columns, twins = self.here.unit_columns(layer), self.twins.get(layer, NOBODY)
        if twins is columns.ids:
            return np.arange(len(twins))
        old = np.full(len(columns) + 1, -1)
        old[columns.find(twins)] = np.arange(len(twins))  # those that are gone go into the last place
        return old[:-1]

    def follow(self, projection: str) -> tuple[AnyArray, ...]:
        """For each leading axis of a projection's weights here the place that its entries had in the base, or -1."""
        (columns, ends), (older, older_ends) = self.here.wired(projection), self.base.wired(projection)
        target, source = self.here.projection(projection).ends
        return columns.follow(older, (self.old(target), self.old(source)), ends, older_ends)


def _alive(ids: AnyArray, here: Structure, layer: str) -> AnyArray:
    """Ids of units of a layer; -1 of those that do not live here."""
    if not here.has_layer(layer):
        return np.full(len(ids), -1)
    return ids if ids is here.units(layer) else np.where(here.unit_columns(layer).find(ids) >= 0, ids, -1)
