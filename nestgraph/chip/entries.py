"""Entries of sums as tables: what each reads as steps from the one before, in the form that takes the fewest bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nestgraph.chip.code import BYTES, Element, smallest
from nestgraph.chip.terms import Segment, Swept
from nestgraph.spec.arrays import AnyArray

ESCAPE = 255
"""The longest step of a byte: longer ones are several, between which stand weights of 0."""


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries of all units of a term, one after the other.

    Attributes:
        form: `listed`, with steps for each unit; `shared`, the same steps for all; `range`, steps of 1 for all.
        first: of a range, where it starts.
        counts: (segments,): how many entries each has.
        steps: from each entry to the next; empty of a range.
        element: of the steps.
        weights: (entries,).
    """

    form: Literal["listed", "shared", "range"]
    first: int
    counts: AnyArray
    steps: AnyArray
    element: Element
    weights: AnyArray

    def bytes(self, weight: int) -> int:
        """What they take, with weights of so many bytes."""
        steps = len(self.steps) * BYTES[self.element]
        counts = len(self.counts) * BYTES[smallest(self.counts)] if np.ptp(self.counts) else 0
        return steps + counts + len(self.weights) * weight


def encoded(term: Swept, weight: int) -> Entries:
    """The smallest form of a term's entries, whose weights take so many bytes each.

    Of forms that take the same it is the one that is read the quickest.
    """
    return min(_forms(term), key=lambda entries: entries.bytes(weight))


def _forms(term: Swept) -> Iterator[Entries]:
    segments = [segment for row in term.rows for segment in row]
    if not term.segmented:
        yield from _together(segments)
    kinds: tuple[tuple[Element, int], ...] = (("uint8_t", ESCAPE), ("uint16_t", 2**16 - 1), ("uint32_t", 2**32 - 1))
    for element, longest in kinds:
        parts = [_stepped(segment, longest) for segment in segments]
        counts = np.array([len(steps) for steps, _ in parts], np.int64)
        steps = np.concatenate([np.zeros(0, np.int64), *(steps for steps, _ in parts)])
        weights = np.concatenate([np.zeros(0), *(weights for _, weights in parts)])
        yield Entries("listed", 0, counts, steps, element, weights)


def _together(segments: list[Segment]) -> Iterator[Entries]:
    """Forms in which all units read the same, with a weight of 0 where one has none."""
    read = np.unique(np.concatenate([segment.offsets for segment in segments]))
    if not len(read):
        return
    weights = np.zeros((len(segments), len(read)), np.result_type(*(segment.weights for segment in segments)))
    for row, segment in zip(weights, segments, strict=True):
        row[np.searchsorted(read, segment.offsets)] = segment.weights
    counts = np.full(len(segments), len(read))
    if (np.diff(read) == 1).all():
        yield Entries("range", int(read[0]), counts, np.zeros(0, np.int64), "uint8_t", weights.reshape(-1))
    steps = np.diff(read, prepend=0)
    yield Entries("shared", 0, counts, steps, smallest(steps), weights.reshape(-1))


def _stepped(segment: Segment, longest: int) -> tuple[AnyArray, AnyArray]:
    """The steps of a segment, none longer than is given, and its weights with those of 0 between."""
    steps = np.diff(segment.offsets, prepend=0)
    more = np.maximum(steps - 1, 0) // longest
    counts = more + 1
    ends = np.cumsum(counts) - 1
    total = int(counts.sum())
    spread, weights = np.full(total, longest, np.int64), np.zeros(total, segment.weights.dtype)
    spread[ends], weights[ends] = steps - more * longest, segment.weights
    return spread, weights


def tabled(areas: AnyArray, width: int) -> tuple[AnyArray, bool]:
    """Areas, bool (areas, places) of rows of a width, as whole numbers, and whether these are runs.

    Runs are the first place and the one behind the last, of each row of a map, where none has two runs; else there is a
    bit for each place, eight to a number. Of both it is what takes less.
    """
    rows = areas.reshape(len(areas), -1, width).astype(np.int8)
    starts = np.diff(rows, axis=2, prepend=0) == 1
    bits = np.packbits(areas, axis=1, bitorder="little").astype(np.int64)
    if starts.sum(axis=2).max(initial=0) > 1 or width > ESCAPE or 2 * rows.shape[1] > bits.shape[1]:
        return bits, False
    first = starts.argmax(axis=2)
    return np.stack([first, first + rows.sum(axis=2)], 2).reshape(len(areas), -1).astype(np.int64), True
