"""One-to-one projections: each linked target reads one source, and adds or multiplies what it gives."""

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Links
from nestgraph.graph.geometry import is_single
from nestgraph.graph.projections.linked import Linked
from nestgraph.graph.projections.sweeping import reads_around_its_place, reads_its_place, swept
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import OneToOne
from nestgraph.spec.windows import by_unit, flattened


class OneToOneMeaning(Linked[OneToOne, Links]):
    """A unit reads its partner, by a number, a kernel of its own, or a number for each place."""

    kind: ClassVar[type[ConnectionColumns]] = Links

    @property
    def inner(self) -> tuple[int, ...]:
        """See `Meaning.inner`."""
        return (self.target_size or ()) if self.record.placed else super().inner

    @property
    def settled(self) -> bool:
        """See `Meaning.settled`."""
        return self.record.placed or super().settled

    @property
    def size(self) -> Size | None:
        """See `Meaning.size`."""
        record, source, target = self.record, self.source_size, self.target_size
        if record.kernel is None:
            fits = record.gate or target is None or is_single(target)
            return target if fits and (source is None or is_single(source)) else source
        return source and record.swept_size(source)

    @property
    def leads(self) -> bool:
        """See `Meaning.leads`: without a kernel single values and maps of one place lead to each other."""
        if self.record.placed:
            return self.source_size is not None and self.source_size == self.target_size
        alike = (self.source_size is None) == (self.target_size is None)
        return alike or (self.record.kernel is None and self.size == self.target_size)

    @property
    def pointwise(self) -> bool:
        """See `Meaning.pointwise`."""
        return self.record.kernel is None or reads_its_place(self.record)

    @property
    def centred(self) -> bool:
        """See `Meaning.centred`."""
        return self.pointwise or reads_around_its_place(self.record)

    def faults(self) -> Iterator[tuple[str, str | tuple[str, int], str]]:
        """See `Meaning.faults`: links of units that do not live, out of order, or dormant ones of a gate."""
        columns, name = self.columns, self.record.name
        yield from self.dead()
        if (np.diff(columns.ids(0)) <= 0).any():
            yield "links", name, "expected links in ascending order of target ids, at most one each"
        if self.record.gate and not columns.mask.all():
            yield "links", name, "expected all links of a gate to be active, got a dormant one: it would multiply by 0"

    def project(self, source: AnyArray) -> AnyArray:
        """See `Meaning.project`. A gate's factors may be of one place, for all positions of a map."""
        record, columns, ends = self.record, self.columns, self.ends
        weight, read = self.weights(source.dtype), source[:, columns.at(1, ends)]
        if record.kernel is None:
            values = read * (weight if record.placed else by_unit(weight, read))
        else:
            windows, kernels = (flattened(each, len(record.kernel)) for each in (record.windows(read), weight))
            values = np.einsum("bk...i,ki->bk...", windows, kernels)
        axes = len(self.target_size or ())
        if values.ndim != 2 + axes:  # neurons and maps of one place
            values = values.reshape(*values.shape[:2], *(1,) * axes)
        total = np.full((len(source), len(ends.target), *values.shape[2:]), float(record.gate), source.dtype)
        total[:, columns.at(0, ends)] = values
        return total

    def read(self, entries: AnyArray) -> AnyArray:
        """See `Meaning.read`. A gate reads a single value once for every position of the map that it multiplies."""
        size, given = self.source_size or (), self.size or ()
        if self.record.placed:
            by_link = entries
        elif self.record.kernel is None:
            times = math.prod(given) // math.prod(size)
            by_link = np.broadcast_to(times * entries.reshape(-1, *(1 for _ in size)), (len(entries), *size))
        else:
            by_link = swept(self.record, entries[None], np.ones((1, 1, *given), bool), size)
        total = np.zeros((len(self.ends.source), *size))
        np.add.at(total, self.columns.at(1, self.ends), by_link)
        return total

    @property
    def applications(self) -> int:
        """See `Meaning.applications`: of a weight for a place, once; transposed, at the places that are read."""
        if self.record.placed:
            return self.columns.active
        return self.columns.active * math.prod((self.source_size if self.record.transposed else self.target_size) or ())

    def unconnected(self) -> ConnectionColumns:
        """See `Meaning.unconnected`: each target reads the source at its place, as far as both have units."""
        ends = self.ends
        pairs = sorted(zip(ends.target.ids.tolist(), ends.source.ids.tolist(), strict=False))
        links = np.array([(source, target) for target, source in pairs], np.int64).reshape(-1, 2)
        return Links.of(np.zeros((len(links), *self.inner), np.float32), links=links)
