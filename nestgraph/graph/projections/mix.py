"""Mixing by heads: each unit's places, weighted anew for each row of its head."""

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Links
from nestgraph.graph.projections.linked import Linked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Mix


class MixMeaning(Linked[Mix, Links]):
    """A unit's sum at all columns, added up for each row with the weights that its head gives."""

    kind: ClassVar[type[ConnectionColumns]] = Links

    @property
    def settled(self) -> bool:
        """See `Meaning.settled`."""
        return True

    @property
    def target_size(self) -> Size | None:
        """See `Meaning.target_size`: of what it gives, a place for each row."""
        return self._structure.layer(self.record.target).size

    @property
    def size(self) -> Size | None:
        """See `Meaning.size`."""
        source, target = self.source_size, self.target_size
        return target if source and math.prod(target or ()) == source[0] else None

    @property
    def leads(self) -> bool:
        """See `Meaning.leads`."""
        return len(self.source_size or ()) == 2 and self.target_size is not None

    def faults(self) -> Iterator[tuple[str, str | tuple[str, int], str]]:
        """See `Meaning.faults`: units without a head, or with one that does not live; two mixing gates."""
        columns, ends, record = self.columns, self.ends, self.record
        yield from self.dead()
        if (np.diff(columns.ids(0)) <= 0).any():
            yield "links", record.name, "expected links in ascending order of target ids, one each"
        odd = np.setxor1d(columns.ids(0), ends.target.ids)
        if len(odd):
            yield "links", (record.target, int(odd[0])), f"expected a head by {record.name!r} for each unit that lives"
        if not columns.mask.all():
            yield "links", record.name, "expected all links of a gate to be active, got a dormant one"
        if self._structure.layer(record.target).places:
            yield "records", record.target, f"expected no values by place in what {record.name!r} mixes, got some"
        mixes = [gate.name for gate in self._structure.gates(record.target) if gate.mixes]
        if len(mixes) > 1:
            yield "records", record.name, f"expected one layer of heads to mix {record.target!r}, got {mixes}"

    def gate(self, total: AnyArray, source: AnyArray) -> AnyArray:
        """See `Meaning.gate`."""
        columns, ends, size = self.columns, self.ends, self.target_size or ()
        heads = source[:, columns.at(1, ends)] * self.weights(total.dtype)[None, :, None, None]
        rows = columns.at(0, ends)
        flat = total.reshape(*total.shape[:2], math.prod(total.shape[2:]))
        mixed = np.zeros((*total.shape[:2], *size), total.dtype)
        values = np.einsum("bunm,bum->bun", heads, flat[:, rows])
        mixed[:, rows] = values.reshape(len(total), len(rows), *size)
        return mixed

    def project(self, source: AnyArray) -> AnyArray:
        """See `Meaning.project`: what it multiplies sums of 1 by at each place, the rows' totals."""
        ends = self.ends
        return self.gate(np.ones((len(source), len(ends.target), source.shape[3]), source.dtype), source)

    def read(self, entries: AnyArray) -> AnyArray:
        """See `Meaning.read`: each weight of a head once for each of its units."""
        size, total = self.source_size or (), np.zeros(len(self.ends.source))
        np.add.at(total, self.columns.at(1, self.ends), entries)
        return np.broadcast_to(total.reshape(-1, *(1 for _ in size)), (len(total), *size)).copy()

    @property
    def applications(self) -> int:
        """See `Meaning.applications`: each row reads each column."""
        return self.columns.active * math.prod(self.source_size or ())

    def unconnected(self) -> ConnectionColumns:
        """See `Meaning.unconnected`: each unit by a head in turn."""
        ends = self.ends
        targets = np.sort(ends.target.ids)
        heads = ends.source.ids[np.arange(len(targets)) * len(ends.source) // max(len(targets), 1)]
        return Links.of(np.ones(len(targets), np.float32), links=np.stack([heads, targets], 1))
