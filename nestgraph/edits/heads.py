"""Recipe functions on heads of attention: a head goes with what is its own alone, or comes with units of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.copying import check_apart
from nestgraph.edits.coupling import check_free, chosen_units, linked_to
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import Block, neutral_values
from nestgraph.edits.preserving import preserving
from nestgraph.edits.pruning import followed
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.edits.widening import shared
from nestgraph.errors import EditError
from nestgraph.graph.columns import Grid, Links, Slotted
from nestgraph.graph.heads import linked_pairs, links_of, sides, together
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.limits import MAX_UNITS, MAX_WEIGHTS
from nestgraph.spec.projection import Match, OneToOne, Projection


@recipe_function
def remove_heads(structure: Structure, layer: str, heads: Sequence[int] | AnyArray) -> Batch:
    """Remove heads of attention with what is theirs alone: what they mix, and queries, keys and values of no other.

    Where queries are grouped, keys and values stay as long as another head reads them. `remove_units` on a head takes
    all that is coupled to it, and so a whole group.

    Raises:
        EditError: the layer has no heads, a head does not live, or an output would lose its last path from an input.
    """
    chosen = chosen_units(structure, layer, heads)
    mixes = [projection for projection in structure.outgoing(layer) if projection.mixes]
    if not mixes or not structure.matches(layer):
        raise EditError(f"remove_heads on {layer!r}: expected a layer of heads that mix another one, got none")
    mixed = {p.target: linked_pairs(structure, p.name) for p in mixes}
    gone = {name: np.sort(links[np.isin(links[:, 0], chosen), 1]) for name, links in mixed.items()}
    check_free(structure, f"remove_heads on {layer!r}", gone)
    edits = [RemoveUnits(layer=name, units=units) for name, units in gone.items() if len(units)]
    edits += [RemoveUnits(layer=layer, units=chosen)] if len(chosen) else []
    return followed(structure, edits, f"remove {len(chosen)} heads of {layer}")


@preserving(1e-5)
@recipe_function
def grow_head(
    structure: Structure, layer: str, rng: np.random.Generator, width: int | None = None, values: int | None = None
) -> Batch:
    """Add a head of attention with queries, keys and values of its own, whose outputs nothing heeds yet.

    Queries, keys and values read all units that their layers read, by weights of the size of those that are there; the
    weights out of what the head mixes are 0 and active, so the outputs stay and training begins there. What is added
    to the scores of the first head, as a mask is, is added to the new one's, too.

    Args:
        structure: the network.
        layer: of the heads.
        rng: draws the weights.
        width: slots of the head; by default as many as the widest has.
        values: units that the head mixes; by default as many as the first head has.

    Raises:
        EditError: the layer is not one of heads with queries, keys and values that convolutions feed, or the numbers
            are below 1.
    """
    return _Growth.of(structure, layer, rng, "grow_head").batch(width, values)


@preserving(1e-6)
@recipe_function
def split_head(structure: Structure, layer: str, head: int) -> Batch:
    """Copy a head of attention, with each of the two giving half of what it gave.

    What is the head's own is copied with it: queries, keys, values and what it mixes. Queries, keys and values that
    other heads have, too, as where queries are grouped, the copy has with them. Function-preserving.

    Raises:
        EditError: the layer has no heads that mix others, the head does not live, or what is to be copied is frozen,
            has other neighbours than a copy would, or belongs to other heads as well.
    """
    who, chosen = f"split_head on {layer!r}", chosen_units(structure, layer, [head])
    if not structure.matches(layer) or not all(p.mixes for p in structure.outgoing(layer)):
        raise EditError(f"{who}: expected a layer of heads that are read by what they mix alone, got another")
    own, others = _owned(structure, layer, chosen)
    strand = {layer: chosen, **linked_to(structure, own, others)}
    for match in structure.matches(layer):
        units = strand.get(match.source, chosen[:0])
        links = links_of(structure, match)
        strange = links.links[np.isin(links.ids(1), units) & (links.ids(0) != head)]
        if len(strange):
            raise EditError(
                f"{who}: expected queries and keys that links join to the head's own alone, got unit "
                f"{(match.source, int(strange[0, 0]))}, which head {int(strange[0, 1])} has as well"
            )
    whole = [match.name for match in structure.matches(layer)]
    return shared(structure, "split_head", layer, [(strand, (0.5, 0.5))], f"split head {head} of {layer}", whole)


def _owned(structure: Structure, layer: str, head: AnyArray) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
    """By layer, the hidden units that a head alone compares, mixes and sums up, and those that others have with it."""
    own, others = dict[str, AnyArray](), dict[str, AnyArray]()

    def add(name: str, units: AnyArray, elsewhere: AnyArray) -> None:
        fixed = units if structure.layer(name).kind == "input" else np.intersect1d(units, elsewhere)
        for found, chosen in ((own, np.setdiff1d(units, fixed)), (others, fixed)):
            if len(chosen):
                found[name] = np.union1d(found.get(name, chosen), chosen)

    for match in structure.matches(layer):
        links = links_of(structure, match)
        here = np.isin(links.ids(0), head)
        add(match.source, links.ids(1)[here], links.ids(1)[~here])
    for mix in structure.outgoing(layer):
        pairs = linked_pairs(structure, mix.name)
        mixed = pairs[np.isin(pairs[:, 0], head), 1]
        add(mix.target, mixed, mixed[:0])
        for summed in structure.summed(mix.target):
            values = linked_pairs(structure, summed.name)
            here = np.isin(values[:, 1], mixed)
            add(summed.source, values[here, 0], values[~here, 0])
    return own, others


@preserving(1e-12)
@recipe_function
def widen_heads(
    structure: Structure,
    layer: str,
    count: int,
    rng: np.random.Generator,
    heads: Sequence[int] | AnyArray | None = None,
    values: int = 0,
) -> Batch:
    """Give heads of attention more slots, whose queries are 0, and more values, whose outputs nothing heeds yet.

    A new query reads all that its layer reads by weights of 0, and a new key by weights of the size of those that are
    there, so that scores stay and training begins at the queries. Heads that have keys or values in common, as where
    queries are grouped, have the new ones in common. Function-preserving.

    Args:
        structure: the network.
        layer: of the heads.
        count: slots that each gets.
        rng: draws the weights.
        heads: which; all where not given.
        values: units that each mixes from then on, beside those that it does.

    Raises:
        EditError: as `grow_head`, or a query of 0 would not stay 0 through its layer's operations, or the numbers are
            below 0 or both 0.
    """
    growth = _Growth.of(structure, layer, rng, "widen_heads")
    chosen = structure.units(layer) if heads is None else chosen_units(structure, layer, heads)
    return growth.widened(count, values, chosen.tolist())


@dataclass(frozen=True)
class _Growth:
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
    def of(cls, structure: Structure, layer: str, rng: np.random.Generator, recipe: str) -> "_Growth":
        found, readers = sides(structure, layer), structure.outgoing(layer)
        if not found["query"] or not found["key"] or len(readers) != 1 or not readers[0].mixes:
            _refuse(
                recipe, layer, "expected a layer of heads that compare queries with keys and mix one layer, got another"
            )
        summed = structure.summed(readers[0].target)
        if len(summed) != 1 or not isinstance(summed[0], OneToOne) or summed[0].window is not None:
            _refuse(recipe, layer, f"expected {readers[0].target!r} to sum up values by links alone, got more")
        changed = (found["query"][0][0].source, found["key"][0][0].source, summed[0].source, readers[0].target)
        check_apart(structure, f"{recipe} on {layer!r}", (layer, *changed))
        return cls(structure, layer, found["query"][0][0], found["key"][0][0], readers[0], summed[0], rng, recipe)

    def batch(self, width: int | None, values: int | None) -> Batch:
        """The edits, in an order in which each finds what it links."""
        structure, (head,) = self.structure, self.structure.fresh_ids(self.layer, 1)
        links = structure.connection_columns(self.query.name)
        assert isinstance(links, Slotted), "a match leads to slots"
        _, counts = np.unique(links.ids(0), return_counts=True)
        slots = int(counts.max(initial=1)) if width is None else width
        first = linked_pairs(structure, self.mix.name)[:, 0]
        mixed = int((first == first[0]).sum()) if values is None else values
        if slots < 1 or mixed < 1:
            self._refuse(f"expected at least one slot and one value, got {slots} and {mixed}")
        queries, keys, brought = edits = [
            self._read(self.query.source, slots),
            self._read(self.key.source, slots),
            self._read(self.value.source, mixed),
        ]
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
            asked = self._read(self.query.source, count * len(heads), still=True)
            known = self._read(self.key.source, count * len(groups))
            slots = [(group, head, free[head] + at) for group in groups for head in group for at in range(count)]
            queries = [(unit, head, slot) for unit, (_, head, slot) in zip(asked.ids.tolist(), slots, strict=True)]
            place = {head: at for at, group in enumerate(groups) for head in group}
            keys = [(int(known.ids[place[head] * count + slot - free[head]]), head, slot) for _, head, slot in slots]
            weights = [scale.get(head, 1.0) for _, head, _ in slots]
            edits.append(_leading(asked, self.query, queries, weights))
            edits.append(_leading(known, self.key, keys, [1.0] * len(keys)))
        if values and heads:
            brought = self._read(self.value.source, values * len(groups))
            ids = brought.ids.reshape(len(groups), values).tolist()
            pairs = [(head, unit) for group, own in zip(groups, ids, strict=True) for head in group for unit in own]
            edits += [brought, self._mixed([head for head, _ in pairs], [unit for _, unit in pairs])]
        return Batch(edits=tuple[AnyEdit, ...](edits), title=f"widen {len(heads)} heads of {self.layer}")

    def _check_still(self) -> None:
        """Refuse queries that would not be 0 though their sums are."""
        record = self.structure.layer(self.query.source)
        x, ids = np.zeros((1, 1, *(record.size or ()))), np.zeros(1, np.int64)
        for operation in record.operations:
            x = operation.apply(x, neutral_values(record, 1), ids)
        if np.any(x):
            self._refuse(
                f"expected queries that are 0 where their sums are, got {record.name!r}, whose operations move 0"
            )

    def _read(self, layer: str, count: int, still: bool = False) -> AddUnits:
        """New units that read all that their layer reads, by weights of 0 where still, and that nothing reads yet."""
        structure, blocks = self.structure, dict[str, Block]()
        if layer in (self.layer, self.mix.target):
            self._refuse(f"expected queries, keys and values beside heads and what they mix, got {layer!r} for both")
        for projection in structure.summed(layer):
            columns = structure.connection_columns(projection.name)
            if not isinstance(columns, Grid):
                self._refuse(f"expected {layer!r} to read by convolutions, got {projection.name!r}")
            if not 0 < count <= min(MAX_UNITS, MAX_WEIGHTS // max(columns.weight[:1].size, 1)):
                most = f"{MAX_UNITS:,} units and {MAX_WEIGHTS:,} weights"
                self._refuse(f"expected a count of new units from 1 up, got {count:,}: a network has at most {most}")
            size = (
                0.0
                if still
                else float(np.sqrt(np.mean(np.square(columns.weight[columns.mask]))))
                if columns.active
                else 1.0
            )
            weight = self.rng.standard_normal((count, *columns.weight.shape[1:])).astype(np.float32) * np.float32(size)
            blocks[projection.name] = Block(weight=weight, mask=np.ones(weight.shape, bool))
        taken = self.taken.get(layer, 0)
        self.taken[layer] = taken + count
        ids = structure.fresh_ids(layer, taken + count)[taken:]
        return AddUnits(layer=layer, ids=np.array(ids), blocks=blocks)

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
