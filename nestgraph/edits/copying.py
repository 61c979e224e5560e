"""New units that are linked as living ones are: what growing and splitting have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.edits.layers import Block, UnitValues
from nestgraph.edits.units import AddUnits
from nestgraph.errors import EditError
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


def check_apart(structure: Structure, recipe: str, layers: Iterable[str]) -> None:
    """Refuse layers whose units depend on which others live beside them, so that a copy is no twin.

    Raises:
        EditError: a layer mixes its units.
    """
    for layer in layers:
        mixing = [operation.kind for operation in structure.layer(layer).operations if operation.facts.reach == "layer"]
        if mixing:
            raise EditError(
                f"{recipe}: expected layers that do not mix their units, as a copy there has other neighbours than its "
                f"model, got {layer!r} with {mixing[0]}: replace its operations first"
            )


def check_headless(structure: Structure, layers: Iterable[str]) -> None:
    """Refuse layers that heads compare or mix, where a unit alone has no slot and no head of its own.

    Raises:
        EditError: a layer is one of heads, or of their queries and keys, or of what they mix.
    """
    for layer in layers:
        around = (*structure.incoming(layer), *structure.outgoing(layer))
        found = next((projection for projection in around if projection.matches or projection.mixes), None)
        if found is not None:
            raise EditError(
                f"copies of units of {layer!r}: expected layers beside heads of attention, got one that projection "
                f"{found.name!r} leads to or from: grow_head adds a head with all that is its own"
            )


@dataclass(frozen=True)
class Copies:
    """New units, each with a living one as its model, in whole strands: everything that is coupled comes along.

    Attributes:
        models: by layer in the order of layers, the (copy, model) of each new unit.
        ids: the id of each new unit, by (layer, copy, model).
    """

    models: Mapping[str, Sequence[tuple[int, int]]]
    ids: Mapping[tuple[str, int, int], int]

    @classmethod
    def plan(cls, structure: Structure, strands: Sequence[Mapping[str, AnyArray]]) -> "Copies":
        """One copy of each strand, which is what `coupled` gives; a strand may occur many times.

        Raises:
            EditError: heads compare or mix a layer of a strand.
        """
        check_headless(structure, {layer for strand in strands for layer in strand})
        models: dict[str, list[tuple[int, int]]] = {}
        for copy, strand in enumerate(strands):
            for layer, units in strand.items():
                models.setdefault(layer, []).extend((copy, unit) for unit in units.tolist())
        ids: dict[tuple[str, int, int], int] = {}
        for layer, pairs in models.items():
            fresh = structure.fresh_ids(layer, len(pairs))
            ids |= {(layer, *pair): unit for pair, unit in zip(pairs, fresh, strict=True)}
        ids |= _tied_ids(structure, models)
        return cls({name: models[name] for name in structure.layer_names if name in models}, ids)

    def of(self, layer: str) -> AnyArray:
        """(k,) int64: the ids of a layer's new units."""
        return np.array([self.ids[layer, copy, model] for copy, model in self.models[layer]], np.int64)

    def places(self, structure: Structure, layer: str) -> AnyArray:
        """(k,) int64: the positions of their models."""
        models = np.array([model for _, model in self.models[layer]], np.int64)
        return structure.unit_columns(layer).positions(models)

    def edits(
        self, structure: Structure, values: Callable[[str], UnitValues], block: "BlockMaker"
    ) -> tuple[list[AddUnits], Structure]:
        """The edits that add the new units, a layer each, and what they lead to.

        Each unit is linked by one-to-one projections as its model is: to its own copy of the model's source, or to
        the source itself where that has none.

        Args:
            structure: the network that has the models.
            values: the columns of a layer's new units.
            block: their connections in a projection at an axis of its weights (0 where the layer is its target), for
                the structure that has the new units of the layers before.
        """
        made: list[AddUnits] = []
        for layer in self.models:
            sides = [(p, 0) for p in structure.incoming(layer)] + [(p, 1) for p in structure.outgoing(layer)]
            blocks = {
                p.name: self._links(structure, p, axis) if p.couples else block(structure, p, axis)
                for p, axis in sides
                if p.weighted
            }
            given = {name: found for name, found in blocks.items() if found is not None}
            made.append(AddUnits(layer=layer, ids=self.of(layer), values=values(layer), blocks=given))
            structure, _ = made[-1].change(structure)
        return made, structure

    def _links(self, structure: Structure, projection: Projection, end: int) -> Block | None:
        """The links of the new targets of a projection that couples: each as its model's, between the new units."""
        columns, target = structure.linked(projection.name)[0], projection.target
        rows = dict(zip(columns.ids(0)[columns.edges].tolist(), np.flatnonzero(columns.edges).tolist(), strict=True))
        linked = [pair for pair in self.models.get(target, ()) if end == 0 and pair[1] in rows]
        if not linked:
            return None
        part = columns.chosen(np.array([rows[model] for _, model in linked]))
        links = [
            (self.ids.get((projection.source, copy, source), source), self.ids[target, copy, model])
            for (copy, model), source in zip(linked, part.ids(1).tolist(), strict=True)
        ]
        return Block.of(part.relinked(np.array(links, np.int64)))


BlockMaker = Callable[[Structure, Projection, int], Block | None]


def _tied_ids(structure: Structure, models: Mapping[str, Sequence[tuple[int, int]]]) -> dict[tuple[str, int, int], int]:
    """The ids of new units of layers that work unit by unit and of their arguments, whose copies of one have one id."""
    ids: dict[tuple[str, int, int], int] = {}
    for group in _tied_groups(structure, models):
        start = max(structure.unit_columns(layer).next_id for layer in group)
        pairs = dict.fromkeys(pair for layer in group for pair in models[layer])
        fresh = dict(zip(pairs, range(start, start + len(pairs)), strict=True))
        ids |= {(layer, *pair): fresh[pair] for layer in group for pair in models[layer]}
    return ids


def _tied_groups(structure: Structure, layers: Iterable[str]) -> list[set[str]]:
    """The layers of some that arguments tie together, through any number of them."""
    groups: list[set[str]] = []
    for layer in layers:
        ties = {p.source for p in structure.arguments(layer) if structure.ties(p)}
        if ties:
            joined = [group for group in groups if group & (ties | {layer})]
            groups = [group for group in groups if group not in joined]
            groups.append({layer}.union(ties, *joined))
    return groups
