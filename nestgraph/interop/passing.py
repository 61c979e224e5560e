"""Links that lead on from links: a layer that only passes on what it reads, scaled place by place, is read through.

Rotary positions are written as slices, a negation, a concatenation, products by cosines and sines, and a sum. What
comes before the sum moves and scales units and does nothing else, so the sum reads what that reads: by two links.
"""

from collections.abc import Callable, Iterable

import numpy as np

from nestgraph.graph.columns import Links
from nestgraph.interop.drafts import Drafts
from nestgraph.interop.elements import Ledger
from nestgraph.spec import OneToOne
from nestgraph.spec.arrays import AnyArray

Wire = tuple[OneToOne, Links]


def read_through(drafts: Drafts, ledger: Ledger, wires: Iterable[Wire], held: Callable[[int], bool]) -> list[Wire]:
    """Links to layers as links to what these pass on, where the weights of either are by place; others as they are.

    Args:
        drafts: has the layers that are read.
        ledger: where the elements of their outputs are.
        wires: the links.
        held: whether a later node still reads a region. A layer of several links to a unit is read through where
            nothing else reads it.
    """

    def alone(layer: str) -> bool:
        return not (drafts.layers[layer].read or is_held(ledger, layer, held))

    joined: list[Wire] = []
    for record, columns in (onward for wire in wires for onward in _onward(drafts, *wire, alone)):
        twin = next((n for n, wire in enumerate(joined) if record.placed and _fit(wire, (record, columns))), None)
        if twin is None:
            joined.append((record, columns))
        else:
            joined[twin] = record, _side_by_side(joined[twin][1], columns)
    return joined


def is_held(ledger: Ledger, layer: str, held: Callable[[int], bool]) -> bool:
    """Whether a later node still reads a layer as it was at some time."""
    return any(region.layer == layer and held(number) for number, region in enumerate(ledger.regions))


def _onward(drafts: Drafts, record: OneToOne, columns: Links, alone: Callable[[str], bool]) -> list[Wire]:
    """Links to one layer, read through it where that may be."""
    passed = _passed(drafts, record.source)
    by_place = [link.placed for link, _ in passed]
    if not passed or record.learns or record.gate or not (record.placed or any(by_place)):
        return [(record, columns)]
    read = sum(len(links.links) for _, links in passed)
    if read != drafts.layers[record.source].units and not (any(by_place) and alone(record.source)):
        return [(record, columns)]
    found = [_joint(record, columns, *wire) for wire in passed]
    return [wire for wire in found if len(wire[1].links)]


def _fit(one: Wire, other: Wire) -> bool:
    """Whether the links of two records alike lead to different units."""
    return one[0] == other[0] and not np.isin(one[1].ids(0), other[1].ids(0)).any()


def _side_by_side(one: Links, other: Links) -> Links:
    """Links that lead to different units together."""
    arrays = zip((one.weight, one.mask, one.links), (other.weight, other.mask, other.links), strict=True)
    together = Links.of(*map(np.concatenate, arrays))
    return together.chosen(np.argsort(together.ids(0), kind="stable"))


def _passed(drafts: Drafts, layer: str) -> list[Wire]:
    """The links of a layer that does nothing else than pass on what they read; none where it does."""
    draft, incoming = drafts.layers[layer], drafts.at(layer, 0)
    record = draft.record
    more = record.operations or record.bias or record.places or record.output or record.opaque is not None
    links = [(link, columns) for link, columns in incoming if isinstance(link, OneToOne) and isinstance(columns, Links)]
    plain = all(
        not (link.learns or link.gate or link.kernel) and drafts.layers[link.source].output_size == draft.output_size
        for link, _ in links
    )
    return links if plain and not more and len(links) == len(incoming) else []


def _joint(record: OneToOne, columns: Links, before: OneToOne, earlier: Links) -> Wire:
    """Links and those that their sources are linked by as one: the products of their weights."""
    rows = {unit: row for row, unit in enumerate(earlier.ids(0).tolist())}
    found = [(row, rows[unit]) for row, unit in enumerate(columns.ids(1).tolist()) if unit in rows]
    here, there = np.array(found, np.int64).reshape(-1, 2).T
    weight = _product(columns.weight[here], earlier.weight[there])
    links = np.stack([earlier.ids(1)[there], columns.ids(0)[here]], 1)
    placed = record.placed or before.placed
    return OneToOne(source=before.source, target=record.target, placed=placed), Links.of(weight, links=links)


def _product(one: AnyArray, other: AnyArray) -> AnyArray:
    """Weights (links,) or (links, *size) times others."""
    axes = max(one.ndim, other.ndim)
    one, other = (each.reshape(*each.shape, *[1] * (axes - each.ndim)) for each in (one, other))
    return one * other
