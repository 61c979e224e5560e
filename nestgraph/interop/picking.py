"""Where what is read of maps is one place of them all, as of a row of tokens the first or the last.

It is found in the numbers of elements and not by the name of a function, so `x[:, 0]`, `select`, `narrow`, `chunk` and
whatever else moves elements come to the same: a layer that picks the place.
"""

from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate

from nestgraph.interop.elements import Elements
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.spec import Operation, Pick
from nestgraph.spec.arrays import AnyArray

MOST_PLACES = 4
"""Of a layer's maps that single values are picked from; more are read as maps, by weights at those places."""


class Picking:
    """Replaces elements of one place of maps by those of layers that pick it; each place of a layer once."""

    def __init__(self, weaver: Weaver) -> None:
        self._weaver = weaver
        self._known: dict[tuple[int, int], tuple[int, tuple[Operation, ...]]] = {}

    def read(self, values: Any) -> Any:
        """Values that a step reads, tensors in lists among them, of which those that are one place are picked."""
        return map_aggregate(values, self.tensor)

    def tensor(self, x: Any) -> Any:
        """A tensor, picked if it has one place of each map that it has anything of; single values, a few of many."""
        if not isinstance(x, Elements) or not x.index.numel() or (x.known and x.known[1] == x.index._version):
            return x
        try:
            numbers = self._weaver.ledger.sample(x)
        except UncoveredError:
            return x
        return self._picked(x, numbers)

    def _picked(self, x: Elements, numbers: AnyArray) -> Elements:
        ledger, most = self._weaver.ledger, MOST_PLACES if numbers.ndim == 1 else 1
        regions, places = ledger.found(numbers)
        moved, grown = numbers.copy(), set[int]()
        present: list[int] = np.unique(regions).tolist()
        for number in present:
            area, chosen = ledger.regions[number].area, regions == number
            within, of = np.unique(places[chosen] % area, return_inverse=True)
            if len(within) > most or len(within) == area:
                grown.add(number)
                continue
            new = [self._layer(number, int(at)) for at in within]
            starts = np.array([ledger.regions[one].start for one in new])
            moved[chosen] = starts[of] + places[chosen] // area
            grown.update(new)
        return x if grown == set(present) else ledger.batched(torch.from_numpy(moved), grown)

    def _layer(self, number: int, at: int) -> int:
        """The region of the layer that picks a place of the maps of a region."""
        ledger, layers = self._weaver.ledger, self._weaver.drafts.layers
        known = self._known.get((number, at))
        if known is not None and layers[ledger.regions[known[0]].layer].record.operations == known[1]:
            return known[0]
        size = ledger.regions[number].size
        place = np.unravel_index(at, size)
        last = (int(p) if p == 0 or p < extent - 1 else -1 for p, extent in zip(place, size, strict=True))
        apart = self._weaver.placed(ledger.whole(number))  # as other places of the maps may be read, too
        self._weaver.operated(apart, Pick(place=tuple(last)))
        new = len(ledger.regions) - 1
        self._known[number, at] = new, layers[ledger.regions[new].layer].record.operations
        return new
