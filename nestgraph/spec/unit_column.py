"""The columns that layers and their operations give each unit: floats that training, or an average, changes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UnitColumn:
    """A float that each unit of a layer has.

    Attributes:
        name: of the column, the same wherever it means the same.
        neutral: the value with which it changes nothing.
        trained: whether an optimizer changes it; a running statistic is no parameter.
        least: the smallest value that it may have, None for any.
    """

    name: str
    neutral: float
    trained: bool = True
    least: float | None = None


BIAS = UnitColumn("bias", 0.0)
"""What is added to the sum of a unit, before its operations."""
COLUMNS: dict[str, UnitColumn] = {BIAS.name: BIAS}
"""All columns that there are, by name: the bias, and those of operations as they are registered."""


def neutral(name: str) -> float:
    """The value with which a column changes nothing."""
    return COLUMNS[name].neutral
