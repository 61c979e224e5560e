"""The columns that layers and their operations give each unit: floats that training, or an average, changes."""

from dataclasses import dataclass

from nestgraph.spec.extents import Size


@dataclass(frozen=True)
class UnitColumn:
    """A float that each unit of a layer has, or each place of it.

    Attributes:
        name: of the column, the same wherever it means the same.
        neutral: the value with which it changes nothing.
        trained: whether an optimizer changes it; a running statistic is no parameter.
        least: the smallest value that it may have, None for any.
        by_place: whether it has a value for each place of the unit's sum: (units, *size) rather than (units,).
        count: how many values of it a unit has, (units, count) rather than (units,), as the operation says that it is
            for; None for one.
    """

    name: str
    neutral: float
    trained: bool = True
    least: float | None = None
    by_place: bool = False
    count: int | None = None

    @property
    def single(self) -> bool:
        """Whether a unit has one value of it."""
        return not self.by_place and self.count is None

    def shape(self, units: int, size: Size | None) -> tuple[int, ...]:
        """Its shape for so many units whose sums have a size."""
        each = (size or ()) if self.by_place else () if self.count is None else (self.count,)
        return (units, *each)


BIAS = UnitColumn("bias", 0.0)
"""What is added to the sum of a unit, before its operations."""
PLACES = UnitColumn("places", 0.0, by_place=True)
"""What is added to the sum of a unit at each place of its map: where a token stands, or what a mask adds."""
COLUMNS: dict[str, UnitColumn] = {BIAS.name: BIAS, PLACES.name: PLACES}
"""All columns that there are, by name: the bias, what is added by place, and those of operations as registered."""


def neutral(name: str) -> float:
    """The value with which a column changes nothing."""
    return COLUMNS[name].neutral
