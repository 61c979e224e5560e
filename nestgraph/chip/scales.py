"""How int8 stands for numbers, and sums of int8 for sums."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nestgraph.spec.arrays import AnyArray

LOW, HIGH = -128, 127


@dataclass(frozen=True)
class Scale:
    """Whole numbers from -128 to 127 for numbers: number = (whole - zero) * step.

    Attributes:
        step: between two numbers that are next to each other.
        zero: what stands for 0.
    """

    step: float
    zero: int

    @classmethod
    def over(cls, low: float, high: float) -> "Scale":
        """The scale of numbers from `low` to `high`, and 0, which has a whole number of its own."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = float(np.float32((high - low) / (HIGH - LOW)))
        if not step or not np.isfinite(step):
            return cls(1.0, 0)
        return cls(step, int(np.clip(round(LOW - low / step), LOW, HIGH)))

    def of(self, numbers: AnyArray) -> AnyArray:
        """The whole numbers for numbers, int64: the nearest, half up."""
        return np.clip(np.floor(numbers / self.step + 0.5) + self.zero, LOW, HIGH).astype(np.int64)

    def real(self, whole: AnyArray) -> AnyArray:
        """The numbers for whole numbers."""
        return (whole - self.zero) * self.step


@dataclass(frozen=True, eq=False)
class Integers:
    """How a sum is computed by integers.

    Attributes:
        sum: the sum, whose weights, biases and offsets are whole numbers: a unit of them is worth `units`.
        units: (units,) float64.
        finish: what comes then: `integer`, a multiplication by `multipliers` / 2 ** `shift`; `table`, that and a look
            into a table; `float`, for what no integers are known.
        multipliers: (units,) int64, for the first two.
        shift: see there.
        between: the scale of what the table is asked.
        table: (256,) int64, by what is asked and 128.
        low: the least that is stored.
        high: the largest.
    """

    sum: Any
    units: AnyArray
    finish: Literal["integer", "table", "float"]
    multipliers: AnyArray | None = None
    shift: int = 0
    between: Scale | None = None
    table: AnyArray | None = None
    low: int = LOW
    high: int = HIGH
