"""All strands of a network at once: which units links and tied tables hold together, and which of them cannot go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.edits.coupling import held_units, live_links, shared_gates
from nestgraph.graph.heads import links_of, opposite
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import sides
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


@dataclass(frozen=True)
class Strands:
    """The hidden units in a row, layer after layer, and for each the number of its strand, that of its first unit.

    Attributes:
        places: by layer, where its units stand.
        labels: int64 (units,).
        kept: bool (units,): whether a unit belongs to a strand that cannot go.
    """

    places: Mapping[str, slice]
    labels: AnyArray
    kept: AnyArray

    @classmethod
    def of(cls, structure: Structure) -> "Strands":
        """The strands of a structure."""
        names = [
            n for n in structure.layer_names if structure.layer(n).kind != "input" and not structure.layer(n).output
        ]
        ends: list[int] = np.cumsum([0, *(len(structure.unit_columns(name)) for name in names)]).tolist()
        places = {name: slice(*ends[i : i + 2]) for i, name in enumerate(names)}
        labels = _joined(np.arange(ends[-1]), list(_links(structure, places)))
        fixed = np.zeros(ends[-1], bool)
        for name, units in _fixed(structure):
            if name in places:
                fixed[places[name].start + structure.unit_columns(name).positions(units)] = True
        return cls(places, labels, np.isin(labels, labels[fixed]))


def _links(structure: Structure, places: Mapping[str, slice]) -> Iterator[tuple[AnyArray, AnyArray]]:
    """The numbers of the units at both ends of each link between hidden units, by projection in order."""
    for name in structure.projection_names:
        projection, links = structure.projection(name), live_links(structure, name)
        if len(links) and projection.source in places and projection.target in places:
            ends = ((projection.source, links[:, 0]), (projection.target, links[:, 1]))
            sources, targets = (places[end].start + structure.unit_columns(end).positions(ids) for end, ids in ends)
            yield sources, targets
        if projection.matches and projection.source in places:
            yield from _met(structure, projection, places)
    for looked_up, read in sides(structure):
        if looked_up in places and read in places:
            ids = structure.units(looked_up)
            one, other = (places[end].start + structure.unit_columns(end).positions(ids) for end in (looked_up, read))
            yield one, other


def _met(structure: Structure, match: Projection, places: Mapping[str, slice]) -> Iterator[tuple[AnyArray, AnyArray]]:
    """The numbers of the units that meet at the slots of a head, from a match and from one on its other side."""
    here = links_of(structure, match)
    for other, there in opposite(structure, match):
        if other.source in places:
            _, rows, far = np.intersect1d(here.keys, there.keys, return_indices=True)
            both = ((match.source, here.ids(1)[rows]), (other.source, there.ids(1)[far]))
            one, two = (places[end].start + structure.unit_columns(end).positions(ids) for end, ids in both)
            yield one, two


def _joined(labels: AnyArray, links: list[tuple[AnyArray, AnyArray]]) -> AnyArray:
    """The smallest label that links lead to, for each."""
    while True:
        before = labels.copy()
        for sources, targets in (*links, *links[::-1]):
            np.minimum.at(labels, targets, labels[sources])
            np.minimum.at(labels, sources, labels[targets])
        if (labels == before).all():
            return labels


def _fixed(structure: Structure) -> Iterator[tuple[str, AnyArray]]:
    """The units that are frozen, those that others depend on one way, or those that an output unit repeats.

    Heads go by a recipe of their own, and gates of several units with the last of these.
    """
    yield from held_units(structure).items()
    for projection in structure.projections_by_name.values():
        if projection.matches:
            yield projection.target, structure.units(projection.target)
        if projection.gates and not projection.mixes:
            yield projection.source, shared_gates(structure, projection.name)
    for output in structure.output_names:
        for projection in structure.incoming(output):
            links = live_links(structure, projection.name)
            if len(links):
                yield projection.source, np.unique(links[:, 0])
