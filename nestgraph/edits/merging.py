"""The recipe function that makes units which compute the same one."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetMask
from nestgraph.edits.copying import check_apart
from nestgraph.edits.coupling import check_free
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import AddProjection, Block, RemoveProjection
from nestgraph.edits.preserving import preserving
from nestgraph.edits.tying import check_untied
from nestgraph.edits.units import RemoveUnits
from nestgraph.errors import EditError
from nestgraph.graph.columns import Slotted
from nestgraph.graph.heads import sides
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


@preserving(1e-5)
@recipe_function
def merge_twins(structure: Structure, layer: str) -> Batch:
    """Make all hidden units of a layer with the same incoming connections and columns one, the first of them.

    It keeps its own outgoing connections, with the sum of the weights, and whatever read a twin one to one reads it.
    Of coupled units merge the earliest layer first: its twins make those after it. Function-preserving.

    Raises:
        EditError: the layer is not hidden or has no twins, or mixes its units, or an opaque layer freezes them, or a
            tied table is at it.
    """
    record, ids = structure.layer(layer), structure.units(layer)
    if record.kind == "input" or record.output:
        kind = "inputs" if record.kind == "input" else "outputs"
        raise EditError(f"merge_twins on {layer!r}: expected a hidden layer, got one of {kind}")
    check_free(structure, "merge_twins", [layer])
    check_untied(structure, "merge_twins", [layer])
    first = _first_of_each(structure, layer)
    gone = np.flatnonzero(first != np.arange(len(ids)))
    if not len(gone):
        raise EditError(f"merge_twins on {layer!r}: expected units that compute the same, got {len(ids)} that differ")
    check_apart(structure, "merge_twins", [layer])
    if opaque := [p for p in (*structure.incoming(layer), *structure.outgoing(layer)) if not p.weighted]:
        raise EditError(
            f"merge_twins on {layer!r}: expected a layer at no body, got argument {opaque[0].name!r} of opaque layer "
            f"{opaque[0].target!r}, whose units are its own"
        )
    sums: list[AnyEdit] = []
    later: list[AnyEdit] = []
    heirs = {int(ids[place]): int(ids[first[place]]) for place in gone}
    for projection in structure.outgoing(layer):
        if not projection.listed:
            sums.append(_summed(structure, projection.name, first, gone))
        elif not projection.matches:
            sums.append(RemoveProjection(projection=projection.name))
            later.append(_relinked(structure, projection, heirs))
    for heads in dict.fromkeys(p.target for p in structure.outgoing(layer) if p.matches):
        for edit in _rematched(structure, layer, heads, heirs):
            sums.append(RemoveProjection(projection=edit.projection.name))
            later.append(edit)
    removal = RemoveUnits(layer=layer, units=ids[gone])
    return Batch(edits=(*sums, removal, *later), title=f"merge {len(gone)} twins of {layer}")


def _first_of_each(structure: Structure, layer: str) -> AnyArray:
    """(units,): the position of the first unit that computes the same as each and leads on under the same areas."""
    columns = structure.unit_columns(layer)
    states = [hashlib.sha256() for _ in columns.ids]
    for name in sorted(columns.values):
        _absorb(states, name, columns.values[name])
    for projection in structure.incoming(layer):
        incoming, ends = structure.wired(projection.name)
        places, known = incoming.by_target(ends)
        for array in known:
            _absorb([states[place] for place in places], projection.name, array)
    for projection in structure.outgoing(layer):
        areas = structure.connection_columns(projection.name).areas_of_sources
        if areas is not None:
            _absorb(states, projection.name, areas)
    firsts: dict[bytes, int] = {}
    return np.array([firsts.setdefault(state.digest(), place) for place, state in enumerate(states)], np.int64)


def _absorb(states: Sequence[Any], what: str, rows: AnyArray) -> None:
    """Take in, for each unit, its row of an array of that name."""
    for state, row in zip(states, rows, strict=True):
        state.update(what.encode() + b":" + (row + 0).tobytes())  # -0 is 0


def _summed(structure: Structure, projection: str, first: AnyArray, gone: AnyArray) -> SetMask:
    """Each first unit's outgoing weights with those of its twins added."""
    columns, ends = structure.wired(projection)
    weight, mask = columns.weight.flatten(), columns.mask.flatten()
    entries = np.flatnonzero(columns.mask & columns.spread(_among(gone, len(first)), 1, ends))
    addresses = columns.addresses(entries, ends)
    addresses[:, 1] = ends.source.ids[first[ends.source.find(addresses[:, 1])]]
    heirs = columns.entries(addresses, ends)
    np.add.at(weight, heirs, columns.weight.reshape(-1)[entries])
    mask[heirs] = True
    changed = np.flatnonzero(
        mask.reshape(columns.mask.shape) & columns.spread(_among(first[gone], len(first)), 1, ends)
    )
    return SetMask(projection=projection, entries=changed, active=np.ones(len(changed), bool), weights=weight[changed])


def _among(places: AnyArray, count: int) -> AnyArray:
    """Bool (count,): whether each place is one of those given."""
    marks = np.zeros(count, bool)
    marks[places] = True
    return marks


def _rematched(structure: Structure, layer: str, heads: str, heirs: Mapping[int, int]) -> Iterator[AddProjection]:
    """The matches of a layer of heads with the links of some units led from others.

    A slot at which two units then meet that met at another slot of the head goes, and adds its scale to that one.
    """
    both = {match: columns for side in sides(structure, heads).values() for match, columns in side}
    led = {match: columns.links.copy() for match, columns in both.items()}
    for match, links in led.items():
        if match.source == layer:
            links[:, 0] = [heirs.get(unit, unit) for unit in links[:, 0].tolist()]
    kept = {match: np.ones(len(links), bool) for match, links in led.items()}
    weights = {match: columns.weight.copy() for match, columns in both.items()}
    if len(both) == 2:
        (query, asked), (key, known) = both.items()
        for row, other, heir in _met_again((asked, led[query]), (known, led[key])):
            if known.weight[heir[1]]:
                weights[query][heir[0]] += asked.weight[row] * known.weight[other] / known.weight[heir[1]]
                kept[query][row] = kept[key][other] = False
    for match, columns in both.items():
        if match.source == layer or not kept[match].all():
            again = columns.with_weight(weights[match]).relinked(led[match]).chosen(np.flatnonzero(kept[match]))
            yield AddProjection(projection=match, connections=Block.of(again))


def _met_again(
    query: tuple[Slotted, AnyArray], key: tuple[Slotted, AnyArray]
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """The rows of both sides of each slot at which a new link makes units meet again, and the rows where they met.

    A side is its columns and what its links become.
    """
    there = {slot: row for row, slot in enumerate(key[0].keys.tolist())}
    met: dict[tuple[int, int, int], tuple[int, int]] = {}
    for row, slot in enumerate(query[0].keys.tolist()):
        other = there.get(slot)
        if other is not None:
            links, beside = query[1][row].tolist(), key[1][other].tolist()
            heir = met.setdefault((links[1], links[0], beside[0]), (row, other))
            new = links != query[0].links[row].tolist() or beside != key[0].links[other].tolist()
            if heir != (row, other) and new:
                yield row, other, heir


def _relinked(structure: Structure, projection: Projection, heirs: Mapping[int, int]) -> AddProjection:
    """A one-to-one projection with the links of some sources led from others."""
    columns, _ = structure.linked(projection.name)
    links = np.array([(heirs.get(source, source), target) for source, target in columns.links.tolist()], np.int64)
    return AddProjection(projection=projection, connections=Block.of(columns.relinked(links)))
