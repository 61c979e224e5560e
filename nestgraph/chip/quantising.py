"""From a program of floats to one of int8: scales of values by what they hold of samples, integers for sums."""

from collections.abc import Mapping
from dataclasses import dataclass

from nestgraph.chip.program import Value
from nestgraph.chip.scales import Integers, Scale


@dataclass(frozen=True, eq=False)
class Quantised:
    """How int8 stands for the numbers of a program.

    Attributes:
        scales: by name of a value.
        integers: by name of a target, how its sum is computed.
        wide: the names of values that a step writes as int16, for outputs alone.
        steps: by name of those, what one of them is worth.
    """

    scales: Mapping[str, Scale]
    integers: Mapping[str, Integers]
    wide: frozenset[str]
    steps: Mapping[str, float]

    def given(self, value: Value) -> tuple[float, int]:
        """The step and zero of an output."""
        if value.name in self.wide:
            return self.steps[value.name], 0
        return self.scales[value.name].step, self.scales[value.name].zero
