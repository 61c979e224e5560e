"""How int8 stands for numbers."""

from dataclasses import dataclass

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
        """The scale of numbers from `low` to `high`, and 0, which has a whole number of its own.

        Each is at most half a step from a whole number: where 0 lies between the two they are a step apart less.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        step = float(np.float32((high - low) / (HIGH - LOW - (low < 0 < high))))
        if not np.isfinite(step) or step < 1e-30:
            return cls(1.0, 0)
        return cls(step, int(np.clip(round(LOW - low / step), LOW, HIGH)))

    def of(self, numbers: AnyArray) -> AnyArray:
        """The whole numbers for numbers, int64: the nearest, half up."""
        with np.errstate(invalid="ignore"):
            near = np.nan_to_num(np.floor(numbers / self.step + 0.5) + self.zero, nan=LOW)
        return np.clip(near, LOW, HIGH).astype(np.int64)

    def real(self, whole: AnyArray) -> AnyArray:
        """The numbers for whole numbers."""
        return (whole - self.zero) * self.step
