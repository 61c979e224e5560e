"""What edits, laws and lowerings ask an operation, whatever its kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.record import Record
from nestgraph.spec.unit_column import UnitColumn


@dataclass(frozen=True)
class Facts:
    """What is so of an operation whatever the numbers. What is not declared is the careful answer to all.

    Attributes:
        reach: what a number of the output depends on in inference: the `value` at its own unit and place, all of its
            own `unit`, or others of the `layer` (see `mixed`), which are then fed, read and kept together.
        spatial: whether only maps can have it.
        resizes: whether it may change the size of maps.
        settles: whether it gives one size whatever the size of the map.
        normalises: whether it brings numbers to one scale, so that an activation stands behind it.
        idle: whether it does nothing in inference.
        keeps_sign: whether it never makes a negative number of numbers that are not.
        never_negative: whether it gives no negative number at all.
        rises: whether a larger number never gives a smaller one, rounded as it is.
        takes_largest: whether each number that it gives is the largest of some numbers of its unit, so that what rises
            may as well come behind it, where there is less of it.
        subtracts: the column that is taken off the sum before anything else; None where there is none.
        adds: the column that is added at the end; None where there is none.
    """

    reach: Literal["value", "unit", "layer"] = "layer"
    spatial: bool = False
    resizes: bool = False
    settles: bool = False
    normalises: bool = False
    idle: bool = False
    keeps_sign: bool = False
    never_negative: bool = False
    rises: bool = False
    takes_largest: bool = False
    subtracts: str | None = None
    adds: str | None = None


class Affine(NamedTuple):
    """(x - centre) * scale + shift by unit: what an operation does that is a straight line for each; (units,) each."""

    scale: AnyArray
    centre: AnyArray
    shift: AnyArray


class Operation(Record):
    """What a layer does to what was before: to the sum of its projections and bias, or to what an operation gave.

    A kind is a record with a `kind` of its own, in a file of its own, which says here what it means. How it is lowered
    to PyTorch and read from it lies in `nestgraph.lowering.operations`.

    Attributes:
        kind: the tag of the record.
        possible: all columns that a unit may have for an operation of this kind.
    """

    kind: str

    possible: ClassVar[tuple[UnitColumn, ...]] = ()

    @property
    def facts(self) -> Facts:
        """What is so of it whatever the numbers."""
        return Facts()

    @property
    def columns(self) -> tuple[UnitColumn, ...]:
        """Those of the possible columns that each unit has for it."""
        return self.possible

    @property
    def words(self) -> str:
        """It in words, such as `max 2x2`."""
        return self.kind

    @property
    def seen(self) -> int | None:
        """How many batches its statistics are an average of; None where nothing is counted."""
        return None

    def with_seen(self, batches: int) -> Self:  # noqa: ARG002
        """The operation whose statistics are an average of so many batches."""
        return self

    def mixed(self, ids: AnyArray) -> AnyArray:
        """(units,): a number for each of some units (units,) int64, alike where it mixes them with each other."""
        return np.zeros(len(ids), np.int64) if self.facts.reach == "layer" else np.arange(len(ids))

    def resized(self, size: Size) -> Size:
        """The size of what it gives for maps of a size.

        Raises:
            ValueError: it cannot take them; the message says what it expected and got.
        """
        return size

    def affine(self, values: Mapping[str, AnyArray]) -> Affine | None:  # noqa: ARG002
        """What it does in inference, in the dtype of its columns, where that is a straight line for each unit."""
        return None

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:
        """What it gives in inference: the meaning that every lowering must agree with.

        Args:
            x: (batch, units, *size).
            values: (units,) for each column of the layer.
            ids: (units,) int64, of the units.
        """
        raise NotImplementedError(f"operation {self.kind!r} expected a method `apply`, got none")
