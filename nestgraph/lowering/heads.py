"""Heads of attention in PyTorch: what compares queries with keys, and what mixes values, fused where that is the same.

Heads with unequal slots or units are filled up with zeros, which add nothing to a product: that is quicker than a call
for each head.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from nestgraph.graph import Structure
from nestgraph.graph.heads import sides
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.ports import Nodes
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Mix, Softmax
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Match


class _Slots(NamedTuple):
    """One side of a layer of heads: which unit stands at each slot, by place, and its weight; (heads, width) each.

    A slot that has nothing on one of the sides has the place behind the last unit, and weight 0.
    """

    units: AnyArray
    weights: AnyArray


def emit_scores(emission: Emission, name: str, outputs: Nodes) -> fx.Node | None:
    """What matches give to the sums of a layer of heads, (batch, heads, rows, columns); None where there are none."""
    found = sides(emission.network, name)
    if not found["query"] or not found["key"]:
        return None
    (query, _), (key, _) = found["query"][0], found["key"][0]
    rows = _emit_side(emission, query, outputs[query.source], _slots(emission.network, name, "query"))
    columns = _emit_side(emission, key, outputs[key.source], _slots(emission.network, name, "key"))
    return emission.call(torch.matmul, rows, emission.call(torch.transpose, columns, 2, 3))


def emit_mixed(emission: Emission, mix: Mix, total: fx.Node, outputs: Nodes) -> fx.Node:
    """What heads make of the sums of a layer, (batch, units, *size)."""
    network, path, layer = emission.network, emission.projections[mix.name], emission.network.layer(mix.target)
    columns, ends = network.linked(mix.name)
    count, heads, rows = len(ends.target), columns.at(1, ends), columns.at(0, ends)
    places = _padded([rows[heads == head] for head in range(len(ends.source))], count)
    values = emission.call(torch.flatten, total, 2)
    values = _emit_chosen(emission, values, f"{path}.values", places, count)  # (batch, heads, width, columns)
    weights = columns.weight[np.argsort(rows)]
    if not (weights == 1).all():
        factors = np.append(weights, 0)[places].astype(np.float32)
        kept = emission.keep(f"{path}.weight", as_tensor(factors[:, :, None]))
        values = emission.call(torch.mul, values, kept)
    values = emission.call(torch.transpose, values, 2, 3)
    if mix.source in outputs:
        mixed = emission.call(torch.matmul, outputs[mix.source], values)
    else:
        mixed = _emit_attention(emission, mix.source, outputs, values)
    mixed = emission.call(torch.flatten, emission.call(torch.transpose, mixed, 2, 3), 1, 2)
    flat = places.reshape(-1)
    order = np.zeros(count, np.int64)
    order[flat[flat < count]] = np.flatnonzero(flat < count)
    mixed = emission.select(mixed, f"{path}.order", order, len(flat))
    size = layer.size or ()
    return mixed if len(size) == 1 else emission.call(torch.unflatten, mixed, 2, size)


def is_fused(network: Structure, heads: str) -> bool:
    """Whether one call of scaled dot product attention does for a layer of heads and the layer that they mix.

    It does where a softmax alone stands between matches and the one layer that reads the heads.
    """
    record, readers, found = network.layer(heads), network.outgoing(heads), sides(network, heads)
    alone = len(readers) == 1 and readers[0].mixes and not record.output and record.opaque is None
    bare = len(network.matches(heads)) == len(network.incoming(heads)) and not any(
        values.any() for values in network.unit_columns(heads).values.values()
    )
    softmax = len(record.operations) == 1 and isinstance(record.operations[0], Softmax)
    return alone and bare and softmax and bool(found["query"]) and bool(found["key"])


def _emit_attention(emission: Emission, heads: str, outputs: Nodes, values: fx.Node) -> fx.Node:
    """One call for the softmax of scores times values, (batch, heads, rows, width)."""
    found = sides(emission.network, heads)
    (query, _), (key, _) = found["query"][0], found["key"][0]
    slots = _slots(emission.network, heads, "query"), _slots(emission.network, heads, "key")
    living = slots[0].weights[slots[0].units < len(emission.network.units(query.source))]
    even = bool(len(living)) and bool((living == living[0]).all())
    rows = _emit_side(emission, query, outputs[query.source], slots[0], plain=even)
    columns = _emit_side(emission, key, outputs[key.source], slots[1])
    (softmax,) = emission.network.layer(heads).operations
    options = {"is_causal": isinstance(softmax, Softmax) and softmax.causal, "scale": float(living[0]) if even else 1.0}
    return emission.call(functional.scaled_dot_product_attention, rows, columns, values, **options)


def _emit_side(emission: Emission, match: Match, source: fx.Node, slots: _Slots, plain: bool = False) -> fx.Node:
    """(batch, heads, places, width): what stands at each slot, times its weight but where that is left to others."""
    path, count = emission.projections[match.name], len(emission.network.units(match.source))
    chosen = _emit_chosen(emission, emission.call(torch.flatten, source, 2), f"{path}.units", slots.units, count)
    if not plain and not (slots.weights[slots.units < count] == 1).all():
        kept = emission.keep(f"{path}.weight", as_tensor(slots.weights[:, :, None].astype(np.float32)))
        chosen = emission.call(torch.mul, chosen, kept)
    return emission.call(torch.transpose, chosen, 2, 3)


def _emit_chosen(emission: Emission, x: fx.Node, path: str, places: AnyArray, count: int) -> fx.Node:
    """(batch, heads, width, places of maps): units by place, zeros where a place is behind the last of `count`."""
    if (places == count).any():
        x = emission.call(functional.pad, x, (0, 0, 0, 1))
        count += 1
    chosen = emission.select(x, path, places.reshape(-1), count)
    return emission.call(torch.unflatten, chosen, 1, places.shape)


def _slots(network: Structure, heads: str, side: str) -> _Slots:
    """One side of a layer of heads, slots in the same order as on the other."""
    found = sides(network, heads)
    (match, columns), (_, other) = found[side][0], found["key" if side == "query" else "query"][0]
    both = np.isin(columns.keys, other.keys)
    ends = network.ends(match.name)
    units, rows = columns.at(1, ends)[both], columns.at(0, ends)[both]
    by_head = [np.flatnonzero(rows == head) for head in range(len(ends.target))]
    links = _padded(by_head, len(units))
    return _Slots(np.append(units, len(ends.source))[links], np.append(columns.weight[both], 0)[links])


def _padded(parts: list[AnyArray], filling: int) -> AnyArray:
    """(parts, width) numbers, of which each row begins with a part and is filled up."""
    width = max((len(part) for part in parts), default=0)
    padded = [np.pad(part, (0, width - len(part)), constant_values=filling) for part in parts]
    return np.stack(padded)
