"""New heads of attention, and new slots and values of those that are there: the units and their links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.copying import check_apart
from nestgraph.edits.layers import Block, neutral_values
from nestgraph.edits.turning import chosen, read_by, turned_alike, turning, turns
from nestgraph.edits.tying import check_untied
from nestgraph.edits.units import AddUnits
from nestgraph.errors import EditError
from nestgraph.graph.columns import Grid, Links, Slotted
from nestgraph.graph.heads import linked_pairs, links_of, sides, together
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.limits import MAX_UNITS, MAX_WEIGHTS
from nestgraph.spec.projection import Match, OneToOne, Projection


@dataclass(frozen=True)
class HeadGrowth:
    """Heads to be added or widened.

    Attributes:
        structure: the network.
        layer: of the heads.
        query, key: the matches that lead to it.
        mix: the gate by which it mixes a layer.
        value: the links of values to what is mixed.
        rng: draws the weights.
        recipe: begins messages.
        taken: by layer, how many fresh ids new units have, as queries, keys and values may be of one layer.
    """

    structure: Structure
    layer: str
    query: Match
    key: Match
    mix: Projection
    value: Projection
    rng: np.random.Generator
    recipe: str
    taken: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def of(cls, structure: Structure, layer: str, rng: np.random.Generator, recipe: str) -> "HeadGrowth":
        """What new units of heads are linked to.

        Raises:
            EditError: the layer has not one layer each of queries, keys and values, or a layer mixes its units or
                is at a tied table.
        """
        found, readers = sides(structure, layer), structure.outgoing(layer)
        if not found["query"] or not found["key"] or len(readers) != 1 or not readers[0].mixes:
            _refuse(
                recipe, layer, "expected a layer of heads that compare queries with keys and mix one layer, got another"
            )
        summed = structure.summed(readers[0].target)
        if len(summed) != 1 or not isinstance(summed[0], OneToOne) or summed[0].window is not None:
            _refuse(recipe, layer, f"expected {readers[0].target!r} to sum up values by links alone, got more")
        compared = [found[side][0][0].source for side in ("query", "key")]
        turned = [p.source for name in compared for p in turning(structure, name)[:1]]
        values = (summed[0].source, readers[0].target)
        check_apart(structure, f"{recipe} on {layer!r}", (layer, *compared, *turned, *values))
        check_untied(structure, f"{recipe} on {layer!r}", (*compared, *turned, *values))
        return cls(structure, layer, found["query"][0][0], found["key"][0][0], readers[0], summed[0], rng, recipe)

    def batch(self, width: int | None, values: int | None) -> Batch:
        """The edits, in an order in which each finds what it links."""
        structure, (head,) = self.structure, self.structure.fresh_ids(self.layer, 1)
        links = structure.connection_columns(self.query.name)
        assert isinstance(links, Slotted), "a match leads to slots"
        heads, counts = np.unique(links.ids(0), return_counts=True)
        slots = int(counts.max(initial=1)) if width is None else width
        first = linked_pairs(structure, self.mix.name)[:, 0]
        mixed = int((first == first[0]).sum()) if values is None else values
        if slots < 1 or mixed < 1:
            self._refuse(f"expected at least one slot and one value, got {slots} and {mixed}")
        like = self._models(int(heads[np.argmax(counts)]), slots, beside=False)
        *asked, queries = self._read(self.query.source, slots, like.get(self.query.name))
        *known, keys = self._read(self.key.source, slots, like.get(self.key.name))
        (brought,) = self._read(self.value.source, mixed)
        edits = [*asked, queries, *known, keys, brought]
        scale = {self.query.name: float(links.weight[0]), self.key.name: 1.0}
        matched = {
            p.name: Block.of(
                Slotted.of(
                    np.full(slots, scale[p.name]),
                    links=np.stack([read.ids, np.full(slots, head), np.arange(slots)], 1),
                )
            )
            for p, read in ((self.query, queries), (self.key, keys))
        }
        copies, added = self._beside(head)
        edits += copies
        taken = self._columns(self.layer)
        edits.append(AddUnits(layer=self.layer, ids=np.array([head]), values=taken, blocks={**matched, **added}))
        edits.append(self._mixed([head] * mixed, brought.ids.tolist()))
        return Batch(edits=tuple[AnyEdit, ...](edits), title=f"grow a head of {self.layer}")

    def widened(self, count: int, values: int, heads: Sequence[int]) -> Batch:
        """The edits that give heads more slots and values."""
        structure, groups = self.structure, together(self.structure, self.layer, heads)
        if min(count, values) < 0 or not 0 < (count + values) * max(len(heads), 1) <= MAX_UNITS:
            self._refuse(f"expected numbers of slots and values from 0 up, not both 0, got {count:,} and {values:,}")
        edits: list[AddUnits] = []
        if count and heads:
            self._check_still()
            links, scale = links_of(structure, self.query), dict[int, float]()
            free = dict.fromkeys(heads, 0)
            for match in (self.query, self.key):
                for _, head, slot in links_of(structure, match).links.tolist():
                    free[head] = max(free.get(head, 0), slot + 1)
            for head, weight in zip(links.ids(0).tolist(), links.weight.tolist(), strict=True):
                scale.setdefault(head, weight)
            like = [(self._models(group[0], count, beside=True), len(group)) for group in groups]
            models = [
                [units for own, times in like for units in own.get(match.name, ()) * (times if again else 1)]
                for match, again in ((self.query, True), (self.key, False))
            ]
            *turned, asked = self._read(self.query.source, count * len(heads), models[0], still=True)
            edits += turned
            *turned, known = self._read(self.key.source, count * len(groups), models[1])
            slots = [(group, head, free[head] + at) for group in groups for head in group for at in range(count)]
            queries = [(unit, head, slot) for unit, (_, head, slot) in zip(asked.ids.tolist(), slots, strict=True)]
            place = {head: at for at, group in enumerate(groups) for head in group}
            keys = [(int(known.ids[place[head] * count + slot - free[head]]), head, slot) for _, head, slot in slots]
            weights = [scale.get(head, 1.0) for _, head, _ in slots]
            edits += [_leading(asked, self.query, queries, weights), *turned]
            edits.append(_leading(known, self.key, keys, [1.0] * len(keys)))
        if values and heads:
            (brought,) = self._read(self.value.source, values * len(groups))
            ids = brought.ids.reshape(len(groups), values).tolist()
            pairs = [(head, unit) for group, own in zip(groups, ids, strict=True) for head in group for unit in own]
            edits += [brought, self._mixed([head for head, _ in pairs], [unit for _, unit in pairs])]
        return Batch(edits=tuple[AnyEdit, ...](edits), title=f"widen {len(heads)} heads of {self.layer}")

    def _check_still(self) -> None:
        """Refuse queries that would not be 0 though their sums are."""
        queries = self.query.source
        for layer in (queries, *(p.source for p in turning(self.structure, queries)[:1])):
            record = self.structure.layer(layer)
            x, ids = np.zeros((1, 1, *(record.size or ()))), np.zeros(1, np.int64)
            for operation in record.operations:
                x = operation.apply(x, neutral_values(record, 1), ids)
            if np.any(x):
                self._refuse(
                    f"expected queries that are 0 where their sums are, got {layer!r}, whose operations move 0"
                )

    def _models(self, head: int, count: int, beside: bool) -> Mapping[str, list[tuple[int, ...]]]:
        """By match, the units that so many new ones are turned as, each pair together; none where none is turned."""
        given = turns(self.structure, self.layer, head)
        if given is None:
            return {}
        self._check_count(count)
        if (found := chosen(given, count, beside=beside)) is None:
            have = ", ".join(map(str, sorted({len(turn.slots) for turn in given}))) or "none"
            self._refuse(
                f"expected slots in whole pairs, as those of head {head} are turned by place, got {count:,}: it has "
                f"such of {have}"
            )
        return {match.name: [turn.units[match.name] for turn in found] for match in (self.query, self.key)}

    def _read(
        self, layer: str, count: int, models: Sequence[Sequence[int]] | None = None, still: bool = False
    ) -> list[AddUnits]:
        """New units that read all that their layer reads, by weights of 0 where still, and that nothing reads yet.

        Where the layer turns units by place, those that are turned as the models are come before.
        """
        if not turning(self.structure, layer) or not models:
            return [self._fed(layer, count, still)]
        base, wanted = turning(self.structure, layer)[0].source, read_by(self.structure, layer, models)
        read = self._fed(base, len(wanted), still)
        ids = self._fresh(layer, count)
        sources = dict(zip(wanted, read.ids.tolist(), strict=True))
        blocks = turned_alike(self.structure, layer, models, sources, ids.tolist())
        return [read, AddUnits(layer=layer, ids=ids, blocks=blocks)]

    def _fresh(self, layer: str, count: int) -> AnyArray:
        """Ids of new units of a layer, behind those that are taken."""
        taken = self.taken.get(layer, 0)
        self.taken[layer] = taken + count
        return np.array(self.structure.fresh_ids(layer, taken + count)[taken:])

    def _fed(self, layer: str, count: int, still: bool) -> AddUnits:
        """New units that read by convolutions all that their layer reads."""
        structure, blocks = self.structure, dict[str, Block]()
        if layer in (self.layer, self.mix.target):
            self._refuse(f"expected queries, keys and values beside heads and what they mix, got {layer!r} for both")
        for projection in structure.summed(layer):
            columns = structure.connection_columns(projection.name)
            if not isinstance(columns, Grid):
                self._refuse(f"expected {layer!r} to read by convolutions, got {projection.name!r}")
            self._check_count(count, columns.weight[:1].size)
            size = (
                0.0
                if still
                else float(np.sqrt(np.mean(np.square(columns.weight[columns.mask]))))
                if columns.active
                else 1.0
            )
            weight = self.rng.standard_normal((count, *columns.weight.shape[1:])).astype(np.float32) * np.float32(size)
            blocks[projection.name] = Block(weight=weight, mask=np.ones(weight.shape, bool))
        return AddUnits(layer=layer, ids=self._fresh(layer, count), blocks=blocks)

    def _check_count(self, count: int, weights: int = 1) -> None:
        """Refuse more units, of so many weights each, than a network may have."""
        if not 0 < count <= min(MAX_UNITS, MAX_WEIGHTS // max(weights, 1)):
            most = f"{MAX_UNITS:,} units and {MAX_WEIGHTS:,} weights"
            self._refuse(f"expected a count of new units from 1 up, got {count:,}: a network has at most {most}")

    def _beside(self, head: int) -> tuple[list[AddUnits], dict[str, Block]]:
        """Copies of the units that are linked to the first head, as those of masks, and their links to a new one."""
        structure, edits, blocks = self.structure, list[AddUnits](), dict[str, Block]()
        model = int(structure.units(self.layer)[0])
        for projection in structure.incoming(self.layer):
            part = self._links(projection, model)
            if part is None:
                continue
            source, (unit,) = projection.source, part.ids(1).tolist()
            if structure.layer(source).kind != "input":
                read = {p.name: self._links(p, unit) for p in structure.incoming(source)}
                ids = np.array(structure.fresh_ids(source, 1))
                given = {name: _renamed(links, None, int(ids[0])) for name, links in read.items() if links is not None}
                edits.append(AddUnits(layer=source, ids=ids, values=self._columns(source, unit), blocks=given))
                unit = int(ids[0])
            blocks[projection.name] = _renamed(part, unit, head)
        return edits, blocks

    def _links(self, projection: Projection, unit: int) -> Links | None:
        """The links that lead into a unit; none of heads."""
        columns = self.structure.connection_columns(projection.name)
        if projection.matches:
            return None
        if not isinstance(columns, Links):
            self._refuse(f"expected {projection.target!r} to be joined one to one, got {projection.name!r}")
        part = columns.chosen(columns.edges & (columns.ids(0) == unit))
        return part if len(part.links) else None

    def _columns(self, layer: str, unit: int | None = None) -> dict[str, AnyArray]:
        """The columns of a unit, by default the first."""
        columns = self.structure.unit_columns(layer)
        at = columns.positions(columns.ids[:1] if unit is None else np.array([unit]))
        return {name: values[at] for name, values in columns.values.items()}

    def _mixed(self, heads: Sequence[int], values: Sequence[int]) -> AddUnits:
        """Units that heads mix, each with a head and a value; what reads them has weights of 0."""
        structure, layer, count = self.structure, self.mix.target, len(values)
        ids = np.array(structure.fresh_ids(layer, count))
        blocks = {
            self.mix.name: Block.of(Links.of(np.ones(count), links=np.stack([heads, ids], 1))),
            self.value.name: Block.of(Links.of(np.ones(count), links=np.stack([values, ids], 1))),
        }
        for projection in structure.outgoing(layer):
            columns = structure.connection_columns(projection.name)
            if not isinstance(columns, Grid):
                self._refuse(f"expected {layer!r} to be read by weights alone, got {projection.name!r}")
            shape = (columns.weight.shape[0], count, *columns.weight.shape[2:])
            blocks[projection.name] = Block(weight=np.zeros(shape, np.float32), mask=np.ones(shape, bool))
        return AddUnits(layer=layer, ids=ids, blocks=blocks)

    def _refuse(self, problem: str) -> NoReturn:
        _refuse(self.recipe, self.layer, problem)


def _renamed(part: Links, source: int | None, target: int) -> Block:
    """Links led to another target, and from another source where one is given."""
    sources = part.ids(1) if source is None else np.full(len(part.links), source)
    return Block.of(part.relinked(np.stack([sources, np.full(len(part.links), target)], 1)))


def _leading(read: AddUnits, match: Match, links: Sequence[tuple[int, int, int]], weights: Sequence[float]) -> AddUnits:
    """New units with their links to slots of heads."""
    block = Block.of(Slotted.of(np.array(weights), links=np.array(links)).ordered())
    return read.model_copy(update={"blocks": {**read.blocks, match.name: block}})


def _refuse(recipe: str, layer: str, problem: str) -> NoReturn:
    raise EditError(f"{recipe} on {layer!r}: {problem}")
