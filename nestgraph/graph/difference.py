"""The difference of two networks: the one meaning of "changed", read by all that shows what changed.

Layers and projections are matched by name, units by id, connections by the ids at their ends and their place between
them. What only the later network has was added, what only the earlier one has was removed. What both have has changed
where any bit of it differs, which is what a digest notices: so a difference is empty exactly if digests agree. By how
much a value moved is for pictures to shade; it is in no count.

A projection that joins other layers, is of another kind, or has edges of another form is another one under an old name:
all its connections were removed, and others added. Bodies of opaque layers are in no digest, since one may be missing:
where both networks hold one and these compute something else, as after training, the layer has changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.body import same_body
from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.layer_difference import LayerDifference
from nestgraph.graph.matching import same_record
from nestgraph.graph.projection_difference import ProjectionDifference
from nestgraph.graph.structure import Structure
from nestgraph.graph.tally import Counts, Fate
from nestgraph.spec.arguments import checked

_NO_UNITS = UnitColumns.of(np.zeros(0, np.int64), {})


@dataclass(frozen=True, eq=False)
class Difference:
    """What changed from one network to another; true where anything did.

    Tables of units and connections are made when they are first asked for; what both networks share costs nothing.

    Attributes:
        old: the earlier network.
        new: the later one.
        layers: what became of every layer of either, in the order of the old network and then of the new one.
        projections: what became of every projection of either, by the layers that they lead into, in the same order.
    """

    old: Structure
    new: Structure
    layers: Mapping[str, LayerDifference]
    projections: Mapping[str, ProjectionDifference]

    @property
    def interface(self) -> bool:
        """Whether another interface is recorded: `old.interface` and `new.interface`."""
        return not same_record(self.old.interface, self.new.interface)

    def __bool__(self) -> bool:
        parts = (*self.layers.values(), *self.projections.values())
        return self.interface or any(part.fate != "unchanged" for part in parts)

    def incoming(self, layer: str) -> tuple[ProjectionDifference, ...]:
        """What became of the projections that lead into a layer in either network."""
        sides = [network.incoming(layer) for network in (self.old, self.new) if network.has_layer(layer)]
        names = dict.fromkeys(projection.name for side in sides for projection in side)
        return tuple(self.projections[name] for name in names)

    def fate(self, layer: str) -> Fate:
        """What became of a layer, its units, or what leads into it."""
        own = self.layers[layer].fate
        fed = any(projection.fate != "unchanged" for projection in self.incoming(layer))
        return "changed" if own == "unchanged" and fed else own

    def notes(self, layer: str) -> tuple[str, ...]:
        """What changed of a layer beside units, connections and values: fields, order, body, names of projections.

        A projection whose area alone is the same spelled otherwise is named as respelled.
        """
        entry = self.layers[layer]
        if entry.alone:
            return ()
        order = (*["order"] * entry.reordered, *["body"] * entry.body)
        rewritten = (projection for projection in self.incoming(layer) if projection.rewritten)
        records = (f"{p.name} (respelled)" if p.respelled and not p.fields else p.name for p in rewritten)
        return (*entry.fields, *order, *records)

    @cached_property
    def by_layer(self) -> Mapping[str, Counts]:
        """Counts of each layer of either network, with the connections that lead into it."""
        return {
            name: sum((Counts(connections=p.into(name)) for p in self.incoming(name)), entry.counts)
            for name, entry in self.layers.items()
        }

    @cached_property
    def counts(self) -> Counts:
        """Counts of the whole network."""
        return sum(self.by_layer.values(), Counts())

    @property
    def reversed(self) -> "Difference":
        """What changed from the new network to the old one."""
        return difference(self.new, self.old)

    def __repr__(self) -> str:
        units, connections = self.counts.units, self.counts.connections
        words = (
            f"{units.before:,} -> {units.after:,} units, {connections.before:,} -> {connections.after:,} connections"
        )
        return f"<Difference: {words}, {self.counts.numbers:,} values>"


@checked(StructureError)
def difference(old: Structure, new: Structure) -> Difference:
    """What changed from `old` to `new`: layers, units, connections, values, records and interface.

    `diff` gives the edits that lead from one to the other.
    """
    names = dict.fromkeys((*old.layer_names, *new.layer_names))
    layers = {name: _layer(old, new, name) for name in names}
    known = dict.fromkeys((*old.projection_names, *new.projection_names))
    return Difference(old, new, layers, {name: _projection(old, new, name) for name in known})


def _layer(old: Structure, new: Structure, name: str) -> LayerDifference:
    before, after = (network.layers_by_name.get(name) for network in (old, new))
    units = (network.unit_columns(name) if network.has_layer(name) else _NO_UNITS for network in (old, new))
    other = not same_body(old.bodies.get(name), new.bodies.get(name))
    return LayerDifference(name, before, after, *units, body=other)


def _projection(old: Structure, new: Structure, name: str) -> ProjectionDifference:
    before, after = (network.projections_by_name.get(name) for network in (old, new))
    return ProjectionDifference(name, before, after, old, new)
