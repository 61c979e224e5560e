"""Recipe functions on heads of attention: a head goes with what is its own alone, or comes with units of its own."""

from collections.abc import Sequence

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.coupling import check_free, chosen_units, linked_to
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.head_growing import HeadGrowth
from nestgraph.edits.preserving import preserving
from nestgraph.edits.pruning import followed
from nestgraph.edits.units import RemoveUnits
from nestgraph.edits.widening import shared
from nestgraph.errors import EditError
from nestgraph.graph.heads import linked_pairs, links_of
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


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
    to the scores of the first head, as a mask is, is added to the new one's, too. Queries and keys that rotary
    positions turn come in whole pairs, by the angles of the widest head's in their order, and over again beyond its
    width.

    Args:
        structure: the network.
        layer: of the heads.
        rng: draws the weights.
        width: slots of the head; by default as many as the widest has.
        values: units that the head mixes; by default as many as the first head has.

    Raises:
        EditError: the layer is not one of heads with queries, keys and values that convolutions feed, straight or
            turned by place, or the numbers are below 1 or leave half a pair.
    """
    return HeadGrowth.of(structure, layer, rng, "grow_head").batch(width, values)


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

    What rotary positions turn comes in whole pairs. A new pair has the angles of one of the first head of those that
    have keys or values in common: of that whose angles are rarest there, the first such. So it turns at a pace that
    the model was trained with, and a head of twice the width has each pace twice. Fixed scales, such as 1 / sqrt(d) of
    the width d at the import, stay.

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
    growth = HeadGrowth.of(structure, layer, rng, "widen_heads")
    chosen = structure.units(layer) if heads is None else chosen_units(structure, layer, heads)
    return growth.widened(count, values, chosen.tolist())
