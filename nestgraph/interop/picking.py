"""Where what is read of maps is one place of them all, as of a row of tokens the first or the last, or a box of places.

It is found in the numbers of elements and not by the name of a function, so `x[:, 0]`, `select`, `narrow`, `chunk` and
whatever else moves elements come to the same: a layer that picks the place, or one whose maps are cropped.
"""

import math
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate

from nestgraph.interop.elements import Elements
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.spec import Operation, Pad, Pick
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size

MOST_PLACES = 4
"""Of a layer's maps that single values are picked from; more are read as maps, by weights at those places."""


class Picking:
    """Replaces elements of one place or box of maps by those of layers that have it alone; each of a layer once."""

    def __init__(self, weaver: Weaver) -> None:
        self._weaver = weaver
        self._known: dict[tuple[int, Operation], tuple[int, tuple[Operation, ...]]] = {}

    def read(self, values: Any) -> Any:
        """Values that a step reads, tensors in lists among them, of which those that are one place are picked."""
        return map_aggregate(values, self.tensor)

    def tensor(self, x: Any) -> Any:
        """A tensor, picked if it has one place of each map that it has anything of; single values, a few of many."""
        if not isinstance(x, Elements) or not x.shape.numel() or (x.known and x.known[1] == x.writes):
            return x
        try:
            numbers = self._weaver.ledger.sample(x)
        except UncoveredError:
            return x
        ledger = self._weaver.ledger
        return x if ledger.is_whole(numbers) or ledger.holds(x) else self._picked(x, numbers)

    def _picked(self, x: Elements, numbers: AnyArray) -> Elements:
        ledger, most = self._weaver.ledger, MOST_PLACES if numbers.ndim == 1 else 1
        regions, places = ledger.found(numbers)
        moved, grown = numbers.copy(), set[int]()
        present: list[int] = np.unique(regions).tolist()
        for number in present:
            area, chosen = ledger.regions[number].area, regions == number
            within, of = np.unique(places[chosen] % area, return_inverse=True)
            size = ledger.regions[number].size
            if len(within) == area:
                grown.add(number)
            elif len(within) <= most:
                new = [self._layer(number, _at(int(place), size)) for place in within]
                starts = np.array([ledger.regions[one].start for one in new])
                moved[chosen] = starts[of] + places[chosen] // area
                grown.update(new)
            elif numbers.ndim > 1 and (crop := _cropping(within, size)) is not None:
                new = self._layer(number, crop)
                moved[chosen] = ledger.regions[new].start + places[chosen] // area * len(within) + of
                grown.add(new)
            else:
                grown.add(number)
        return x if grown == set(present) else ledger.batched(torch.from_numpy(moved), grown)

    def _layer(self, number: int, operation: Operation) -> int:
        """The region of the layer that has some places of the maps of a region alone."""
        ledger, layers = self._weaver.ledger, self._weaver.drafts.layers
        known = self._known.get((number, operation))
        if known is not None and layers[ledger.regions[known[0]].layer].record.operations == known[1]:
            return known[0]
        apart = self._weaver.placed(ledger.whole(number))  # as other places of the maps may be read, too
        self._weaver.operated(apart, operation)
        new = len(ledger.regions) - 1
        self._known[number, operation] = new, layers[ledger.regions[new].layer].record.operations
        return new


def _at(place: int, size: Size) -> Pick:
    """What picks a place of maps, the last of an axis as the last."""
    where = zip(np.unravel_index(place, size), size, strict=True)
    return Pick(place=tuple(int(p) if p == 0 or p < extent - 1 else -1 for p, extent in where))


def _cropping(within: AnyArray, size: Size) -> Pad | None:
    """What leaves places of maps alone that are a box; None where they are none."""
    axes = np.unravel_index(within, size)
    ends = [(int(axis.min()), int(axis.max())) for axis in axes]
    if math.prod(last + 1 - first for first, last in ends) != len(within):
        return None
    after = tuple(last + 1 - extent for (_, last), extent in zip(ends, size, strict=True))
    return Pad(before=tuple(-first for first, _ in ends), after=after)
