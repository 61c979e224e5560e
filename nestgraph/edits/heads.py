"""Recipe functions on heads of attention: a head goes with what is its own alone, or comes with units of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.copying import check_apart
from nestgraph.edits.coupling import check_free, chosen_units
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import Block
from nestgraph.edits.preserving import preserving
from nestgraph.edits.pruning import followed
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.errors import EditError
from nestgraph.graph.columns import Grid, Links, Slotted
from nestgraph.graph.heads import linked_pairs, sides
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
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
    weights out of what the head mixes are 0 and active, so the outputs stay and training begins there.

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
    return _Growth.of(structure, layer, rng).batch(width, values)


@dataclass(frozen=True)
class _Growth:
    """A head to be added.

    Attributes:
        structure: the network.
        layer: of the heads.
        query, key: the matches that lead to it.
        mix: the gate by which it mixes a layer.
        value: the links of values to what is mixed.
        rng: draws the weights.
    """

    structure: Structure
    layer: str
    query: Match
    key: Match
    mix: Projection
    value: Projection
    rng: np.random.Generator

    @classmethod
    def of(cls, structure: Structure, layer: str, rng: np.random.Generator) -> "_Growth":
        found, readers = sides(structure, layer), structure.outgoing(layer)
        if not found["query"] or not found["key"] or len(readers) != 1 or not readers[0].mixes:
            _refuse(layer, "expected a layer of heads that compare queries with keys and mix one layer, got another")
        summed = structure.summed(readers[0].target)
        if len(summed) != 1 or not isinstance(summed[0], OneToOne) or summed[0].window is not None:
            _refuse(layer, f"expected {readers[0].target!r} to sum up values by links alone, got more")
        changed = (found["query"][0][0].source, found["key"][0][0].source, summed[0].source, readers[0].target)
        check_apart(structure, f"grow_head on {layer!r}", (layer, *changed))
        return cls(structure, layer, found["query"][0][0], found["key"][0][0], readers[0], summed[0], rng)

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
            _refuse(self.layer, f"expected at least one slot and one value, got {slots} and {mixed}")
        edits = [
            self._read(self.query.source, slots),
            self._read(self.key.source, slots),
            self._read(self.value.source, mixed),
        ]
        units = {edit.layer: edit.ids for edit in edits}
        scale = {self.query.name: float(links.weight[0]), self.key.name: 1.0}
        matched = {
            p.name: Block.of(
                Slotted.of(
                    np.full(slots, scale[p.name]),
                    links=np.stack([units[p.source], np.full(slots, head), np.arange(slots)], 1),
                )
            )
            for p in (self.query, self.key)
        }
        edits.append(AddUnits(layer=self.layer, ids=np.array([head]), blocks=matched))
        edits.append(self._mixed(head, units[self.value.source]))
        return Batch(edits=tuple[AnyEdit, ...](edits), title=f"grow a head of {self.layer}")

    def _read(self, layer: str, count: int) -> AddUnits:
        """New units that read all that their layer reads, and that nothing reads yet."""
        structure, blocks = self.structure, dict[str, Block]()
        if layer in (self.layer, self.mix.target) or (layer == self.query.source and layer == self.key.source):
            _refuse(self.layer, "expected queries, keys and values in layers of their own, got one for two")
        for projection in structure.summed(layer):
            columns = structure.connection_columns(projection.name)
            if not isinstance(columns, Grid):
                _refuse(self.layer, f"expected {layer!r} to read by convolutions, got {projection.name!r}")
            size = float(np.sqrt(np.mean(np.square(columns.weight[columns.mask])))) if columns.active else 1.0
            weight = self.rng.standard_normal((count, *columns.weight.shape[1:])).astype(np.float32) * np.float32(size)
            blocks[projection.name] = Block(weight=weight, mask=np.ones(weight.shape, bool))
        return AddUnits(layer=layer, ids=np.array(structure.fresh_ids(layer, count)), blocks=blocks)

    def _mixed(self, head: int, values: AnyArray) -> AddUnits:
        """The units that the head mixes, each with a value; what reads them has weights of 0."""
        structure, layer, count = self.structure, self.mix.target, len(values)
        ids = np.array(structure.fresh_ids(layer, count))
        heads = np.stack([np.full(count, head), ids], 1)
        blocks = {
            self.mix.name: Block.of(Links.of(np.ones(count), links=heads)),
            self.value.name: Block.of(Links.of(np.ones(count), links=np.stack([values, ids], 1))),
        }
        for projection in structure.outgoing(layer):
            columns = structure.connection_columns(projection.name)
            if not isinstance(columns, Grid):
                _refuse(self.layer, f"expected {layer!r} to be read by weights alone, got {projection.name!r}")
            shape = (columns.weight.shape[0], count, *columns.weight.shape[2:])
            blocks[projection.name] = Block(weight=np.zeros(shape, np.float32), mask=np.ones(shape, bool))
        return AddUnits(layer=layer, ids=ids, blocks=blocks)


def _refuse(layer: str, problem: str) -> NoReturn:
    raise EditError(f"grow_head on {layer!r}: {problem}")
