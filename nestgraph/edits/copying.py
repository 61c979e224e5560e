"""New units that are linked as living ones are: what growing and splitting have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.edits.layers import Block, UnitValues
from nestgraph.edits.tying import check_untied
from nestgraph.edits.units import AddUnits
from nestgraph.errors import EditError
from nestgraph.graph.heads import links_of
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
                f"model, got {layer!r} with {mixing[0]}: replace its operations first, or widen where it is a "
                "normalisation of all units together"
            )


def check_headless(structure: Structure, layers: Iterable[str]) -> None:
    """Refuse heads, which are copied with queries and keys that are not coupled to them.

    Raises:
        EditError: a layer is one of heads.
    """
    for layer in layers:
        if structure.matches(layer):
            raise EditError(
                f"copies of units of {layer!r}: expected units beside heads of attention, got a layer of heads: "
                "split_head copies one with its queries, keys and values, grow_head adds one"
            )


@dataclass(frozen=True)
class Copies:
    """New units, each with a living one as its model, in whole strands: everything that is coupled comes along.

    Attributes:
        models: by layer in the order of layers, the (copy, model) of each new unit.
        ids: the id of each new unit, by (layer, copy, model).
        slots: of queries and keys the slot of each copy, by (layer of heads, head, copy, slot of the model).
    """

    models: Mapping[str, Sequence[tuple[int, int]]]
    ids: Mapping[tuple[str, int, int], int]
    slots: Mapping[tuple[str, int, int, int], int]

    @classmethod
    def plan(cls, structure: Structure, strands: Sequence[Mapping[str, AnyArray]]) -> "Copies":
        """One copy of each strand, which is what `coupled` gives; a strand may occur many times.

        Raises:
            EditError: queries or keys meet units which are not copied, or a tied table is at one of the layers.
        """
        check_untied(structure, "copies of units", dict.fromkeys(layer for strand in strands for layer in strand))
        models: dict[str, list[tuple[int, int]]] = {}
        for copy, strand in enumerate(strands):
            for layer, units in strand.items():
                models.setdefault(layer, []).extend((copy, unit) for unit in units.tolist())
        ids: dict[tuple[str, int, int], int] = {}
        for layer, pairs in models.items():
            fresh = structure.fresh_ids(layer, len(pairs))
            ids |= {(layer, *pair): unit for pair, unit in zip(pairs, fresh, strict=True)}
        ids |= _tied_ids(structure, models)
        ordered = {name: models[name] for name in structure.layer_names if name in models}
        return cls(ordered, ids, _fresh_slots(structure, ordered))

    def of(self, layer: str) -> AnyArray:
        """(k,) int64: the ids of a layer's new units."""
        return np.array([self.ids[layer, copy, model] for copy, model in self.models[layer]], np.int64)

    def places(self, structure: Structure, layer: str) -> AnyArray:
        """(k,) int64: the positions of their models."""
        models = np.array([model for _, model in self.models[layer]], np.int64)
        return structure.unit_columns(layer).positions(models)

    def edits(
        self,
        structure: Structure,
        values: Callable[[str], UnitValues],
        block: "BlockMaker",
    ) -> tuple[list[AddUnits], Structure]:
        """The edits that add the new units, a layer each, and what they lead to.

        Each unit is linked by one-to-one projections as its model is: to its own copy of the model's source, or to
        the source itself where that has none. A query and a key that meet at a slot of a head do so at a slot of their
        own, or at that of their models where the head is copied with them; what a head mixes has the head of its
        model, or its copy.

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
                p.name: self._links(structure, p, axis) if p.couples or p.mixes else block(structure, p, axis)
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

    def slotted(
        self, structure: Structure, match: Projection, end: int, shares: Sequence[float] | None = None
    ) -> Block | None:
        """The links of new units of an end of a match: each as its model's, between the new units.

        A copied head is linked at the slots of its model once it comes itself, and a query or key of it only then.

        Args:
            structure: the network whose links those of the models are.
            match: the projection.
            end: at which the new units are.
            shares: by copy, what its links have of their scale; all where not given.
        """
        columns, layer = links_of(structure, match), match.ends[end]
        rows: dict[int, list[int]] = {}
        for row, unit in enumerate(columns.ids(end).tolist()):
            rows.setdefault(unit, []).append(row)
        found: list[tuple[int, int]] = []
        links: list[tuple[int, int, int]] = []
        for copy, model in self.models[layer]:
            for row in rows.get(model, ()):
                unit, head, slot = columns.links[row].tolist()
                if end == 0:
                    links.append((self.ids.get((match.source, copy, unit), unit), self.ids[layer, copy, head], slot))
                elif (match.target, copy, head) not in self.ids:
                    links.append((self.ids[layer, copy, unit], head, self.slots[match.target, head, copy, slot]))
                else:
                    continue
                found.append((copy, row))
        if not found:
            return None
        part = columns.chosen(np.array([row for _, row in found]))
        if shares is not None and end == 1 and match.scales:
            part = part.with_weight(part.weight * np.array([shares[copy] for copy, _ in found], np.float32))
        return Block.of(part.relinked(np.array(links, np.int64)).ordered())


BlockMaker = Callable[[Structure, Projection, int], Block | None]


def _fresh_slots(
    structure: Structure, models: Mapping[str, Sequence[tuple[int, int]]]
) -> dict[tuple[str, int, int, int], int]:
    """The slots of copies of queries and keys, behind all that their head has; see `Copies.slots`.

    Raises:
        EditError: a copy would meet nothing, as what its model meets is not copied.
    """
    found: dict[tuple[str, int, int, int], int] = {}
    matches = [p for p in structure.projections_by_name.values() if p.matches]
    for heads in dict.fromkeys(p.target for p in matches if p.source in models):
        both = [(p, links_of(structure, p)) for p in matches if p.target == heads]
        free: dict[int, int] = {}
        for _, links in both:
            for _, head, slot in links.links.tolist():
                free[head] = max(free.get(head, 0), slot + 1)
        copied_heads = set(models.get(heads, ()))
        copied = [dict[tuple[int, int, int], int](), dict[tuple[int, int, int], int]()]
        for side, (match, links) in zip(copied, both, strict=True):
            for copy, model in models.get(match.source, ()):
                at = links.links[links.ids(1) == model, 1:].tolist()
                side.update({(head, copy, slot): model for head, slot in at if (copy, head) not in copied_heads})
        living = [{(head, slot) for _, head, slot in links.links.tolist()} for _, links in both]
        for side, other, there, (match, _) in zip(copied, copied[::-1], living[::-1], both, strict=True):
            alone = [key for key in side if key not in other and (key[0], key[2]) in there]
            if alone:
                raise EditError(
                    f"copies of units of {match.source!r}: expected queries and keys that come together, got unit "
                    f"{side[alone[0]]}, which meets at a slot of {heads!r} what is not copied, such as an input"
                )
        for key in sorted(copied[0].keys() | copied[1].keys()):
            found[heads, *key] = free[key[0]]
            free[key[0]] += 1
    return found


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
