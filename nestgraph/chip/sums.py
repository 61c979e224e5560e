"""A layer's sum, one unit and place after the other, with what becomes of each number at once."""

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from nestgraph.chip.flows import Frame
from nestgraph.chip.pointwise import Pointwise
from nestgraph.chip.program import Held, Step, Value
from nestgraph.chip.terms import Gate, Term
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.windows import windows_of


@dataclass(frozen=True)
class Window:
    """The largest of sums in windows that lie within the map and do not overlap.

    Attributes:
        kernel: the extents of a window.
        stride: from one to the next.
        size: how many windows there are along each axis.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    size: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sum(Step):
    """The sum of a layer: terms, bias and what differs by place, times gates, then functions of each number.

    Attributes:
        size: of the sum; () for single numbers.
        bias: (units,).
        offsets: (units, places) to add; None for none.
        terms: what is added up.
        gates: what it is multiplied by.
        window: of which the largest is taken, before the functions; None for none.
        functions: of each number, in their order.
        frame: zeros that are written around each map, for kernels that read it; none where it is empty.
    """

    size: tuple[int, ...]
    bias: AnyArray
    offsets: AnyArray | None
    terms: tuple[Term, ...]
    gates: tuple[Gate, ...]
    window: Window | None
    functions: tuple[Pointwise, ...]
    frame: Frame = ()

    @property
    def sources(self) -> tuple[Value, ...]:
        """See `Step.sources`."""
        terms = (source for term in self.terms for source in term.sources)
        return (*terms, *(gate.source for gate in self.gates))

    @property
    def places(self) -> int:
        """Of the sum."""
        return math.prod(self.size)

    @property
    def multiplications(self) -> int:
        """See `Step.multiplications`."""
        return sum(part.multiplications for part in (*self.terms, *self.gates))

    def raw(self, held: Held) -> AnyArray:
        """What the functions are asked, (batch, units, *size)."""
        first = next(iter(held.values()))
        total = np.zeros((len(first), len(self.bias), self.places), first.dtype)
        for term in self.terms:
            total += term.run(held)
        total += self.bias.astype(total.dtype)[:, None]
        if self.offsets is not None:
            total += self.offsets.astype(total.dtype)
        for gate in self.gates:
            total *= gate.run(held)
        total = total.reshape(*total.shape[:2], *self.size)
        return total if self.window is None else self.largest(total)

    def largest(self, total: AnyArray) -> AnyArray:
        """The largest of sums (batch, units, *size) in each window."""
        assert self.window is not None
        window = self.window
        windows = windows_of(total, window.kernel, window.stride, (0,) * len(window.kernel), (1,) * len(window.kernel))
        chosen = windows[:, :, *(slice(count) for count in window.size)]
        return chosen.max(axis=tuple(range(-len(window.size), 0)))

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        return self.framed(reduce(lambda x, function: function.run(x), self.functions, self.raw(held)))

    def framed(self, numbers: AnyArray) -> AnyArray:
        """Numbers (batch, units, *size) as they are written."""
        return np.pad(numbers, [(0, 0), (0, 0), *self.frame]) if self.frame else numbers
