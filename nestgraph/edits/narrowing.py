"""Make layers narrower by a share of their units, whole strands at a time: the way back from widening."""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.operations import normalisation_factor
from nestgraph.edits.pruning import followed
from nestgraph.edits.strands import Strands
from nestgraph.edits.units import RemoveUnits
from nestgraph.errors import EditError
from nestgraph.graph.groups import block_groups
from nestgraph.graph.heads import linked_pairs, links_of, together
from nestgraph.graph.pinning import why_pinned
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


@recipe_function
def narrow(
    structure: Structure,
    fraction: float,
    layers: Collection[str] | None = None,
    multiple: int = 1,
    heads: float = 0.0,
) -> Batch:
    """Remove a share of the units of each layer, the weakest first, in one batch.

    Units that one-to-one links couple (see `coupled`) go together, as a strand. Strands that lie in the same layers, in
    the same groups of grouped convolutions and at the same heads of attention, are a family, and from each family the
    same share goes, so that groups and heads stay equal. A unit's strength is the norm of its effective weights over
    the mean of its layer, a strand's the sum over its units. Inputs and outputs stay, and what is coupled to an output
    or frozen by an opaque layer.

    Args:
        structure: the network.
        fraction: of each family, rounded to whole strands; one always stays.
        layers: only families that lie in at least one of these; all where not given.
        multiple: of which as many strands of a family as stay are, where it has so many: 8 keeps widths that kernels
            are quick with.
        heads: the share of the heads of each layer of heads, or of those that `layers` names, that go with what is
            their own, in whole groups of heads that have keys or values in common; one group always stays.

    Raises:
        EditError: a share is not between 0 and 1, or one above 0 takes no unit of any layer, or of a named one, or the
            multiple is below 1.
        StructureError: a layer is not there.
    """
    for what, share in (("a fraction", fraction), ("a share of heads", heads)):
        if not 0 <= share < 1:
            raise EditError(f"narrow expected {what} of at least 0 and below 1, got {share}")
    if multiple < 1:
        raise EditError(f"narrow expected a multiple of at least 1, got {multiple}")
    for name in layers or ():
        structure.layer(name)
    strands = Strands.of(structure)
    strength = _strengths(structure, strands)
    lost, doomed = _weakest_heads(structure, strands, strength, heads, layers)
    going = np.zeros(len(strands.labels), bool)
    going[np.array(sorted(doomed), np.int64)] = True
    for names, family in _families(structure, strands):
        left = family[~going[family]]
        if len(left) and (layers is None or not names.isdisjoint(layers)):
            weakest = left[np.lexsort((left, strength[left]))]
            going[weakest[: _count(len(left), fraction, multiple)]] = True
    gone = going[strands.labels]
    if fraction:
        bare = [name for name, place in strands.places.items() if not gone[place].any()]
        stuck = bare if layers is None else [name for name in layers if name in bare or name not in strands.places]
        if stuck and (layers is not None or len(stuck) == len(strands.places)):
            _refuse(structure, strands, fraction, stuck)
    edits = [
        RemoveUnits(layer=name, units=structure.units(name)[gone[place]])
        for name, place in strands.places.items()
        if gone[place].any()
    ]
    edits += [RemoveUnits(layer=name, units=np.array(units)) for name, units in lost.items()]
    removed = sum(len(edit.units) for edit in edits)
    return followed(structure, edits, f"narrow by {fraction:.0%}: remove {removed} units")


def _count(count: int, fraction: float, multiple: int) -> int:
    """How many of so many strands go."""
    stay = max(count - round(fraction * count), 1)
    return count - min(count, -(-stay // multiple) * multiple)


def _weakest_heads(
    structure: Structure, strands: Strands, strength: AnyArray, share: float, layers: Collection[str] | None
) -> tuple[dict[str, list[int]], set[int]]:
    """The heads that go, by layer, and the strands of their own.

    Raises:
        EditError: the share is above 0 and there are no heads.
    """
    lost, doomed = dict[str, list[int]](), set[int]()
    named = [name for name in structure.layer_names if structure.matches(name) and (not layers or name in layers)]
    if share and not named:
        raise EditError(f"narrow expected layers of heads for heads={share:g}, got none")
    for name in named if share else ():
        groups = together(structure, name)
        own = [_own_strands(structure, strands, name, group) for group in groups]
        bound = strands.labels[strands.kept]
        free = [at for at, labels in enumerate(own) if not np.isin(labels, bound).any()]
        weak = sorted(free, key=lambda at: (strength[own[at]].sum() / len(groups[at]), groups[at]))
        left = round(share * len(structure.units(name)))
        for at in weak[: len(groups) - 1]:
            if len(groups[at]) <= left:
                left -= len(groups[at])
                lost.setdefault(name, []).extend(groups[at])
                doomed.update(own[at].tolist())
    if share and not lost:
        words = "; ".join(f"{name!r} in groups of {len(together(structure, name)[0])}" for name in named[:4])
        raise EditError(f"narrow expected layers that can lose {share:.3g} of their heads, got {words}: a larger share")
    return lost, doomed


def _own_strands(structure: Structure, strands: Strands, layer: str, heads: Sequence[int]) -> AnyArray:
    """The numbers of the strands of what heads compare and mix, of hidden units."""
    found = [(p.source, links_of(structure, p).links[:, :2]) for p in structure.matches(layer)]
    found += [(p.target, linked_pairs(structure, p.name)[:, ::-1]) for p in structure.outgoing(layer) if p.mixes]
    labels = [
        strands.labels[strands.places[name].start + structure.unit_columns(name).positions(pairs[at, 0])]
        for name, pairs in found
        if name in strands.places and len(at := np.flatnonzero(np.isin(pairs[:, 1], heads)))
    ]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *labels]))


def _refuse(structure: Structure, strands: Strands, fraction: float, layers: Sequence[str]) -> NoReturn:
    """Say why none of the units of layers can go."""
    reasons = "; ".join(_obstacle(structure, strands, fraction, name) for name in layers[:4])
    more = f" and {len(layers) - 4} more" if len(layers) > 4 else ""
    raise EditError(
        f"narrow expected layers that can lose a unit, got {reasons}{more}: name others, or a larger fraction"
    )


def _obstacle(structure: Structure, strands: Strands, fraction: float, layer: str) -> str:
    if layer not in strands.places:
        return f"{layer!r}, which is one of {'inputs' if structure.layer(layer).kind == 'input' else 'outputs'}"
    kept, reason = strands.kept[strands.places[layer]], why_pinned(structure, layer)
    if kept.all():
        return reason or f"{layer!r}, which one-to-one links couple to an output or to what an opaque layer freezes"
    return f"{layer!r}, of whose families of up to {np.count_nonzero(~kept)} strands {fraction:.3g} is less than one"


def _strengths(structure: Structure, strands: Strands) -> AnyArray:
    """float64 (units,): by the number of a strand its strength."""
    total = np.zeros(len(strands.labels))
    for name, place in strands.places.items():
        norms = np.sqrt(sum(_squares(structure, name), np.zeros(place.stop - place.start)))
        norms *= np.abs(normalisation_factor(structure, name))
        np.add.at(total, strands.labels[place], norms / max(norms.mean(), np.finfo(float).tiny))
    return total


def _families(structure: Structure, strands: Strands) -> Iterator[tuple[set[str], AnyArray]]:
    """The numbers of the strands that may go and lie in the same layers and groups, with the names of the layers."""
    names: list[str] = []
    sites = np.zeros(len(strands.labels), np.int64)
    for name, place in strands.places.items():
        groups = _groups(structure, name)
        code = {group: len(names) + at for at, group in enumerate(dict.fromkeys(groups))}
        sites[place] = [code[group] for group in groups] if len(code) > 1 else len(names)
        names += [name] * len(code)
    free = np.flatnonzero(~strands.kept)
    order = free[np.argsort(strands.labels[free], kind="stable")]
    labels, begins = np.unique(strands.labels[order], return_index=True)
    families: dict[bytes, list[int]] = {}
    found, bounds = sites[order], pairwise([*begins.tolist(), len(order)])
    for label, (begin, end) in zip(labels.tolist(), bounds, strict=True):
        families.setdefault(found[begin:end].tobytes(), []).append(label)
    for within, family in families.items():
        yield {names[site] for site in np.frombuffer(within, np.int64)}, np.array(family)


def _squares(structure: Structure, layer: str) -> Iterator[AnyArray]:
    """By incoming trained projection, the sum of the squares of each unit's weights."""
    for projection in structure.incoming(layer):
        if projection.learns:
            columns, ends = structure.wired(projection.name)
            pairs, inner = columns.edges.shape, columns.weight.shape[columns.edges.ndim :]
            weight = columns.weight.reshape(*pairs, math.prod(inner))
            yield columns.total(np.einsum("...k,...k->...", weight, weight, dtype=np.float64), 0, ends)


def _groups(structure: Structure, layer: str) -> list[tuple[int, ...]]:
    """For each unit the groups that it is in, of the grouped convolutions into the layer and out of it."""
    count = len(structure.unit_columns(layer))
    sides = (*structure.incoming(layer), *structure.outgoing(layer))
    found = [block_groups(structure.connection_columns(p.name).edges) for p in sides if p.grouped]
    heads = _heads(structure, layer)
    if not heads and not any(groups > 1 for groups in found):
        return [()] * count
    return [
        (*(position * groups // count for groups in found if groups > 1), *heads.get(unit, ()))
        for position, unit in enumerate(structure.units(layer).tolist())
    ]


def _heads(structure: Structure, layer: str) -> dict[int, list[int]]:
    """By unit the heads that compare it or mix it."""
    pairs = [links_of(structure, p).links[:, :2] for p in structure.outgoing(layer) if p.matches]
    pairs += [linked_pairs(structure, p.name)[:, ::-1] for p in structure.gates(layer) if p.mixes]
    found: dict[int, list[int]] = {}
    for unit, head in np.unique(np.concatenate([np.zeros((0, 2), np.int64), *pairs]), axis=0).tolist():
        found.setdefault(unit, []).append(head)
    return found
