"""Tables that a module reads at both ends: a linear map whose weights are those of an embedding, as one parameter."""

import numpy as np
from torch import Tensor

from nestgraph.interop.drafts import Drafts
from nestgraph.lowering.tensors import as_array
from nestgraph.spec import Conv, Dense

Place = tuple[object, ...]


class Tables:
    """Which lookup reads which tensor.

    Attributes:
        followed: whether the step at hand gave a linear map the table of a lookup.
    """

    def __init__(self, drafts: Drafts) -> None:
        self._drafts, self._lookups = drafts, dict[Place, str]()
        self.followed = False

    def begin(self) -> None:
        """A new step."""
        self.followed = False

    def look_up(self, weight: Tensor, projection: str) -> None:
        """A lookup by the rows (classes, units) of a tensor; of several by one the last is followed."""
        self._lookups[_place(weight)] = projection

    def follow(self, layer: str, weight: Tensor) -> None:
        """Let what leads to a layer have the table of a lookup, if that is its weights (classes, units, ...), whole."""
        leader, into = self._lookups.get(_place(weight)), self._drafts.at(layer, 0)
        if leader is None or len(into) != 1:
            return
        record, columns = into[0]
        whole = columns.weight.shape == (*weight.shape[:2], *columns.inner) and bool(columns.mask.all())
        plain = isinstance(record, Dense | Conv) and record.held == self._drafts.projection(leader).held
        if plain and whole and np.array_equal(columns.weight.reshape(weight.shape), as_array(weight)):
            self._drafts.tie(record.name, leader)
            self.followed = True


def _place(tensor: Tensor) -> Place:
    """The numbers that a tensor shows of those in memory, and in which order, but for axes of one place behind them."""
    ends = tuple(tensor.shape[:2]), tensor.stride()[:2]
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset(), *ends
