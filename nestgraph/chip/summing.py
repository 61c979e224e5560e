"""What projections bring to sums, as terms and gates: a row for each kind."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestgraph.chip.flows import Flow, Taking, swept
from nestgraph.chip.program import Value
from nestgraph.chip.terms import Gate, Looked, Met, Mixed, Placed, Segment, Swept, Term, places_at
from nestgraph.errors import ExportError
from nestgraph.graph import Structure
from nestgraph.graph.columns import Slotted
from nestgraph.graph.heads import sides, summed_size
from nestgraph.graph.projections import meaning_of
from nestgraph.spec import Conv, Dense, Lookup, OneToOne, Projection
from nestgraph.spec.arrays import AnyArray


@dataclass(frozen=True, eq=False)
class Reading:
    """A projection and what it reads.

    Attributes:
        structure: the network.
        record: the projection.
        source: what its source gives.
        taking: takes places of maps.
    """

    structure: Structure
    record: Projection
    source: Flow
    taking: Taking

    @property
    def weights(self) -> AnyArray:
        """Its weights, float64, 0 where dormant."""
        return meaning_of(self.structure, self.record).weights(np.float64)

    @property
    def size(self) -> tuple[int, ...]:
        """Of the sum that it leads to."""
        return summed_size(self.structure, self.record.target) or ()

    @property
    def linked(self) -> tuple[AnyArray, AnyArray, Any]:
        """(links,) twice: the rows of targets, and where the maps of their sources start; and the links."""
        links, ends = self.structure.linked(self.record.name)
        return links.at(0, ends), self.source.starts[links.at(1, ends)], links


def _whole_rows(offsets: AnyArray, weights: AnyArray) -> tuple[tuple[Segment, ...], ...]:
    """A segment for each row of weights (rows, entries), of those that are not 0, at offsets (entries,)."""
    order = np.argsort(offsets, kind="stable")
    found: list[tuple[Segment, ...]] = []
    for row in weights:
        live = order[row[order] != 0]
        found.append((Segment(-1, offsets[live], row[live]),))
    return tuple(found)


def dense(reading: Reading) -> Term:
    """Every live weight reads its number."""
    weights, source = reading.weights, reading.source
    offsets = source.starts[:, None] + places_at(source.size, source.strides)
    rows = _whole_rows(offsets.reshape(-1), weights.reshape(len(weights), -1))
    return Swept(source.value, (), (), rows, np.zeros((0, 1), bool))


def conv(reading: Reading) -> Term:
    """Every live weight of a kernel reads around the place, of pairs of maps whose area has it."""
    assert isinstance(reading.record, Conv)
    how = swept(reading.record, reading.source, reading.taking)
    flow, strides = how.flow, how.strides
    weights, area = reading.weights, reading.structure.connection_columns(reading.record.name).area
    offsets = how.starts[:, None] + how.entries
    flat = weights.reshape(*weights.shape[:2], -1)
    size = reading.size
    if area is None:
        rows = _whole_rows(offsets.reshape(-1), flat.reshape(len(flat), -1))
        return Swept(flow.value, size, strides, rows, np.zeros((0, math.prod(size)), bool))
    pairs = np.broadcast_to(area.reshape(*area.shape[:2], -1), (*flat.shape[:2], math.prod(size)))
    areas, numbers = np.unique(pairs.reshape(-1, pairs.shape[2]), axis=0, return_inverse=True)
    numbers = np.where(areas.any(axis=1), np.arange(len(areas)), -1)[numbers.reshape(pairs.shape[:2])]
    rows = tuple(_by_area(offsets, row, own) for row, own in zip(flat, numbers, strict=True))
    return Swept(flow.value, size, strides, rows, areas)


def _by_area(offsets: AnyArray, weights: AnyArray, numbers: AnyArray) -> tuple[Segment, ...]:
    """The segments of a map: the entries of sources (sources, entries) by the number of their area, -1 for none."""
    found: list[Segment] = []
    for number in np.unique(numbers[numbers >= 0]):
        chosen = np.broadcast_to((numbers == number)[:, None], weights.shape) & (weights != 0)
        if chosen.any():
            order = np.argsort(offsets[chosen], kind="stable")
            found.append(Segment(int(number), offsets[chosen][order], weights[chosen][order]))
    return tuple(found)


def one_to_one(reading: Reading) -> Term:
    """Each linked unit reads one map: by a number, a kernel, or a number for each place."""
    record = reading.record
    assert isinstance(record, OneToOne)
    targets, starts, links = reading.linked
    count, size = len(reading.structure.units(record.target)), reading.size
    weights = np.where(links.mask, links.weight, 0).astype(np.float64)
    if record.placed:
        offsets, by_place = np.full(count, -1), np.zeros((count, math.prod(size)))
        offsets[targets], by_place[targets] = starts, weights.reshape(len(weights), -1)
        return Placed(reading.source.value, offsets, by_place)
    flow, strides, entries = reading.source, reading.source.strides, np.zeros(1, np.int64)
    if math.prod(size) == 1:
        strides = (0,) * len(size)
    if record.kernel is not None:
        how = swept(record, reading.source, reading.taking)
        flow, strides, entries = how.flow, how.strides, how.entries
        starts = how.starts[links.at(1, reading.structure.ends(record.name))]
    none = Segment(-1, np.zeros(0, np.int64), np.zeros(0))
    rows: list[tuple[Segment, ...]] = [(none,)] * count
    for target, start, row in zip(targets.tolist(), starts.tolist(), weights.reshape(len(weights), -1), strict=True):
        rows[target] = _whole_rows(start + entries, row[None])[0]
    return Swept(flow.value, size, strides, tuple(rows), np.zeros((0, math.prod(size)), bool))


def lookup(reading: Reading) -> Term:
    """Each unit has a number for each class."""
    return Looked(reading.source.value, reading.weights.sum(axis=1))


TERMS: Mapping[type[Projection], Callable[[Reading], Term]] = {
    Dense: dense,
    Conv: conv,
    OneToOne: one_to_one,
    Lookup: lookup,
}
"""By kind of a projection that adds, the term that it is."""


def term_of(reading: Reading) -> Term:
    """What a projection adds to its target's sum.

    Raises:
        ExportError: it is of a kind that C is not known for.
    """
    make = TERMS.get(type(reading.record))
    if make is None:
        raise ExportError(
            f"layer {reading.record.target!r}: expected projections of kinds that C is known for, got "
            f"{reading.record.kind!r} ({reading.record.name!r}): export it as ONNX or Python"
        )
    return make(reading)


def gate_of(reading: Reading) -> Gate:
    """What a one-to-one projection multiplies its target's sum by."""
    targets, starts, links = reading.linked
    size = reading.size
    offsets = np.full(len(reading.structure.units(reading.record.target)), -1)
    weights = np.ones(len(offsets))
    offsets[targets], weights[targets] = starts, np.where(links.mask, links.weight, 0)
    single = math.prod(reading.source.size) == 1
    strides = (0,) * len(size) if single else reading.source.strides
    return Gate(reading.source.value, size, strides, offsets, weights)


def met(structure: Structure, heads: str, flows: Mapping[str, Flow]) -> Term | None:
    """How alike queries and keys are that lead to a layer of heads; None where no slot has both."""
    both, count = sides(structure, heads), len(structure.units(heads))
    if not both["query"] or not both["key"]:
        return None
    stands = [_standing(structure, *both[side][0]) for side in ("query", "key")]
    (query, _), (key, _) = both["query"][0], both["key"][0]
    starts = [flows[match.source].starts for match in (query, key)]
    slots, weights = list[AnyArray](), list[AnyArray]()
    for head in range(count):
        here = [{slot: entry for (at, slot), entry in side.items() if at == head} for side in stands]
        pairs = [(here[0][slot], here[1][slot]) for slot in sorted(here[0].keys() & here[1].keys())]
        found = [(int(starts[0][q]), int(starts[1][k])) for (q, _), (k, _) in pairs]
        slots.append(np.array(found, np.int64).reshape(-1, 2))
        weights.append(np.array([one * other for (_, one), (_, other) in pairs]))
    if not any(map(len, slots)):
        return None
    size = summed_size(structure, heads) or ()
    return Met(flows[query.source].value, flows[key.source].value, size, tuple(slots), tuple(weights))


def _standing(structure: Structure, match: Projection, links: Slotted) -> dict[tuple[int, int], tuple[int, float]]:
    """By head and slot, the unit that stands there on one side, and its weight."""
    ends, weights = structure.ends(match.name), np.where(links.mask, links.weight, 0)
    units, heads = links.at(1, ends).tolist(), links.at(0, ends).tolist()
    entries = zip(units, weights.tolist(), strict=True)
    return dict(zip(zip(heads, links.links[:, 2].tolist(), strict=True), entries, strict=True))


def mixed(structure: Structure, gate: Projection, heads: Flow, summed: Value) -> Term:
    """The places of a sum, as heads mix them."""
    links, ends = structure.linked(gate.name)
    count = len(structure.units(gate.target))
    head_of, weights = np.zeros(count, np.int64), np.zeros(count)
    head_of[links.at(0, ends)] = heads.rows[links.at(1, ends)]
    weights[links.at(0, ends)] = np.where(links.mask, links.weight, 0)
    return Mixed(heads.value, summed, head_of, weights)
