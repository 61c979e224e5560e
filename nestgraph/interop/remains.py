"""Whether a module with zeros in the place of what a network lost computes what the network does.

Weights that went are 0 in the module, but what it computes without weights goes on: a skip, a product, a place in a
normalisation of what comes from an input.
"""

from collections.abc import Mapping

import numpy as np

from nestgraph.errors import InteropError
from nestgraph.graph import Network
from nestgraph.graph.columns import Links, Slotted
from nestgraph.lowering.parameters import Key
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


def check_remains(old: Network, new: Network, origins: Mapping[Key, AnyArray]) -> None:
    """Check that what the module still gives where units, links and weights went has no part in what it computes.

    Args:
        old: the network as it was imported.
        new: what is left of it.
        origins: as `provenance.origins` gives them: what is not 0 there is written to the module, as 0 where it
            went, but for what units have that are left.

    Raises:
        InteropError: it has.
    """
    remains = _Remains(old, new, origins)
    for name in old.layer_names:
        remains.check_mixed(name)
    for name in old.projection_names:
        remains.check_links(old.projection(name))


def shared_with_what_is_left(old: Network, new: Network, origins: Mapping[Key, AnyArray]) -> AnyArray:
    """Places in the row of tensors, from 1, whose values units have that are left.

    Units that went may have them as well, as those of a normalisation of each head are one for all heads.
    """
    found = [np.zeros(0, np.int64)]
    for (owner, column), origin in origins.items():
        if old.has_layer(owner) and column in old.unit_columns(owner).values:
            found.append(np.abs(origin[~_gone(old, new, owner)]).reshape(-1))
    places = np.unique(np.concatenate(found))
    return places[places > 0]


def _gone(old: Network, new: Network, layer: str) -> AnyArray:
    """(units,) bool: which units of a layer went."""
    left = new.units(layer) if new.has_layer(layer) else np.zeros(0, np.int64)
    return ~np.isin(old.units(layer), left)


class _Remains:
    def __init__(self, old: Network, new: Network, origins: Mapping[Key, AnyArray]) -> None:
        self._old, self._new, self._origins = old, new, origins
        self._shared = shared_with_what_is_left(old, new, origins)
        self._still: dict[str, AnyArray] = {}

    def check_mixed(self, layer: str) -> None:
        """Check units that went from a layer whose units work on each other."""
        if self._old.layer(layer).mixes_units and self._gone(layer).any():
            self._zeros(layer)

    def check_links(self, projection: Projection) -> None:
        """Check links without weights of their own that went from units that are left."""
        links, gone = self._links(projection)
        if not gone.any():
            return
        still = np.isin(links[:, 0], self._old.units(projection.source)[self._zeros(projection.source)])
        if projection.gates:  # a factor of 0 is not one that is absent
            still[:] = False
        if projection.matches:
            still |= self._met_by_zeros(projection, links)
        wrong = links[gone & ~still]
        if len(wrong):
            raise InteropError(
                f"state_dict expected that unit {int(wrong[0, 1])} of layer {projection.target!r} reads in the module "
                f"what it does in the network, got {projection.name!r}, by which it reads unit {int(wrong[0, 0])} of "
                f"{projection.source!r} without weights that could be 0"
            )

    def _met_by_zeros(self, match: Projection, links: AnyArray) -> AnyArray:
        """(links,) bool: where the product with what is on the other side of a slot is 0."""
        still = np.zeros(len(links), bool)
        for other in self._old.matches(match.target):
            if other.name != match.name:
                theirs, _ = self._links(other)
                zero = theirs[np.isin(theirs[:, 0], self._old.units(other.source)[self._zeros(other.source)])]
                slots = _rows(zero[:, 1:])
                still |= np.array([tuple(slot) in slots for slot in links[:, 1:].tolist()])
        return still

    def _gone(self, layer: str) -> AnyArray:
        return _gone(self._old, self._new, layer)

    def _links(self, projection: Projection) -> tuple[AnyArray, AnyArray]:
        """The active links (links, 2 or 3) of a projection that has no weights of the module, and which went alone."""
        columns = self._old.connection_columns(projection.name)
        origin = self._origins.get((projection.name, "weight"))
        if not isinstance(columns, Links) or (origin is not None and (origin != 0).all()):
            return np.zeros((0, 3 if projection.matches else 2), np.int64), np.zeros(0, bool)
        unwritten = (
            np.ones(len(columns.links), bool) if origin is None else ~(origin != 0).reshape(len(origin), -1).all(1)
        )
        links = columns.links[columns.edges & unwritten]
        there = set[tuple[int, ...]]()
        if self._new.has_projection(projection.name):
            left = self._new.connection_columns(projection.name)
            assert isinstance(left, Links), "a projection keeps its form"
            there = _rows(left.links[left.edges])
        lives = self._new.units(projection.target) if self._new.has_layer(projection.target) else np.zeros(0, np.int64)
        gone = np.array([tuple(link) not in there for link in links.tolist()], bool)
        return links, gone & np.isin(links[:, 1], lives)

    def _zeros(self, layer: str) -> AnyArray:
        """(units,) bool: which units that went are 0 in the module, whatever it is given."""
        waiting = [layer]
        while waiting:
            name = waiting[-1]
            near = [p.source for p in self._old.summed(name) if p.source not in self._still]
            if name in self._still or not near or not self._gone(name).any():
                waiting.pop()
                if name not in self._still:
                    self._still[name] = self._found(name)
            else:
                waiting += near
        return self._still[layer]

    def _found(self, name: str) -> AnyArray:
        gone, record, units = self._gone(name), self._old.layer(name), self._old.unit_columns(name)
        if record.kind == "input" or record.opaque is not None or not gone.any():
            return np.zeros(len(gone), bool)
        values = dict(units.values)
        for column, found in values.items():
            origin = self._origins.get((name, column))
            if origin is not None:
                written = (origin != 0) & ~np.isin(np.abs(origin), self._shared)
                values[column] = np.where(written & gone.reshape(-1, *(1,) * (found.ndim - 1)), 0, found)
        still = gone.copy()
        for column in ("bias", "places"):
            if column in values:
                still &= ~(values[column].reshape(len(gone), -1) != 0).any(1)
        for projection in self._old.summed(name):
            still &= ~np.isin(units.ids, self._fed(projection))
        size = record.size or ()
        x = np.where(still.reshape(-1, *(1,) * len(size)), 0.0, np.ones((1, len(gone), *size)))
        for operation in record.operations:
            if operation.facts.reach == "layer" and (x[0, gone] != 0).any():
                unit = int(units.ids[gone & (x[0].reshape(len(gone), -1) != 0).any(1)][0])
                raise InteropError(
                    f"state_dict expected unit {unit} of layer {name!r}, which went, to be 0 in the module before "
                    f"{operation.words}, which counts it, got what no weight of the module makes 0"
                )
            with np.errstate(all="ignore"):
                x = operation.apply(x, values, units.ids)
        return gone & ~(x[0].reshape(len(gone), -1) != 0).any(1)

    def _fed(self, projection: Projection) -> AnyArray:
        """The units that a projection feeds by more than weights that are 0, from units that are not."""
        columns = self._old.connection_columns(projection.name)
        if isinstance(columns, Slotted):
            return columns.ids(0)
        if not isinstance(columns, Links):
            origin = self._origins.get((projection.name, "weight"))
            rows = columns.mask & (True if origin is None else (origin == 0))
            return self._old.units(projection.target)[rows.reshape(len(rows), -1).any(1)]
        links, _ = self._links(projection)
        return links[~np.isin(links[:, 0], self._old.units(projection.source)[self._still[projection.source]]), 1]


def _rows(links: AnyArray) -> set[tuple[int, ...]]:
    rows: list[list[int]] = links.tolist()
    return {tuple(row) for row in rows}
