"""What rows of a table are told as: classes, numbers or labels, as records; what outputs say of them."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nestgraph.data.tables.table import Positive, Table, Word, as_words, numbers_in
from nestgraph.errors import DataError
from nestgraph.spec.record import Name, Record


class OneTarget(Record, ABC):
    """What an output tells of rows: one of the classes of a column, or something of each of several columns."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[int, ...]:
        """How many output units tell it; one of these."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What is known of the targets, as fields of `Facts`."""

    @abstractmethod
    def targets(self, table: Table) -> NDArray[Any]:
        """The targets of rows without gaps: classes, int64, (rows,), or float32, (rows, columns).

        Raises:
            DataError: a column holds something else.
        """

    @abstractmethod
    def told(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What outputs (rows, any) say, in the words and units of the table."""

    def again(self, table: Table) -> Self:
        """The same with what is measured of the rows to train with.

        Raises:
            DataError: nothing can be learned from these.
        """
        del table
        return self


class ClassTarget(OneTarget):
    """A column of classes.

    Attributes:
        name: of the column.
        classes: its values, sorted, numbers as numbers; the class of an output unit.
    """

    kind: Literal["classes"] = "classes"
    name: Word
    classes: Annotated[tuple[Word, ...], Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """See `OneTarget`."""
        return (self.name,)

    @property
    def outputs(self) -> tuple[int, ...]:
        """See `OneTarget`: one a class, or one for two classes."""
        return (len(self.classes), 1) if len(self.classes) == 2 else (len(self.classes),)

    @property
    def facts(self) -> dict[str, Any]:
        """See `OneTarget`."""
        return {"classes": len(self.classes), "names": self.classes}

    def targets(self, table: Table) -> NDArray[Any]:
        """See `OneTarget`."""
        places = {value: place for place, value in enumerate(self.classes)}
        words = as_words(table[self.name])
        strange = next((word for word in words if word not in places), None)
        if strange is not None:
            expected = f"classes of the rows that trained ({', '.join(self.classes[:8])})"
            raise DataError(f"{table.name}: column {self.name!r}: expected {expected}, got {strange!r}")
        return np.array([places[word] for word in words], np.int64)

    def told(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """See `OneTarget`: of outputs (rows, classes), or (rows, 1) for two classes."""
        if outputs.shape[1] == 1:
            second = 1 / (1 + np.exp(-outputs[:, 0]))
            shares, best = np.stack([1 - second, second], 1), (outputs[:, 0] > 0).astype(int)
        else:
            raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            shares, best = raised / raised.sum(axis=1, keepdims=True), outputs.argmax(axis=1)
        return {self.name: np.array(self.classes, object)[best]} | {
            f"{self.name} = {value}": share for value, share in zip(self.classes, shares.T, strict=True)
        }


class Part(NamedTuple):
    """A number that an output says: factor * output + shift; or factor * exp(output / 2), of a variance's logarithm.

    Attributes:
        name: what it is told as.
        place: of the output.
    """

    name: str
    place: int
    factor: float
    shift: float = 0.0
    of_variance: bool = False


class NumberTarget(OneTarget):
    """Columns of numbers, each less its mean and divided by its deviation.

    Attributes:
        names: of the columns.
        means: of the rows that train.
        deviations: the standard deviations of these.
        quantiles: of each column there is an output for each of these, in their order; the one nearest to the median is
            told under the column's name.
        spread: whether after the means there is the logarithm of a variance for each column.
    """

    kind: Literal["numbers"] = "numbers"
    names: Annotated[tuple[Word, ...], Field(min_length=1)]
    means: tuple[float, ...]
    deviations: tuple[Positive, ...]
    quantiles: tuple[float, ...] = ()
    spread: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """See `OneTarget`."""
        return self.names

    @property
    def facts(self) -> dict[str, Any]:
        """See `OneTarget`."""
        return {"names": self.names, "width": len(self.names), "scales": self.deviations}

    def again(self, table: Table) -> "NumberTarget":
        """See `OneTarget`."""
        return number_target(table, self.names)

    @property
    def outputs(self) -> tuple[int, ...]:
        """See `OneTarget`."""
        return (len(self.names) * (len(self.quantiles) or 1) * (2 if self.spread else 1),)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the outputs say, each column's own number first."""
        width, found = len(self.names), list[Part]()
        middle = min(range(len(self.quantiles)), key=lambda place: abs(self.quantiles[place] - 0.5), default=0)
        for place, (name, mean, deviation) in enumerate(zip(self.names, self.means, self.deviations, strict=True)):
            found.append(Part(name, middle * width + place, deviation, mean))
            for level, quantile in enumerate(self.quantiles):
                if level != middle:
                    found.append(Part(f"{name} at {quantile:g}", level * width + place, deviation, mean))
            if self.spread:
                found.append(Part(f"{name} deviation", width + place, deviation, of_variance=True))
        return tuple(found)

    def targets(self, table: Table) -> NDArray[Any]:
        """See `OneTarget`."""
        raw = np.stack([numbers_in(table, name) for name in self.names], axis=1)
        return ((raw - np.array(self.means)) / np.array(self.deviations)).astype(np.float32)

    def told(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """See `OneTarget`."""
        held = outputs.astype(np.float64)
        return {
            part.name: part.factor * np.exp(held[:, part.place] / 2)
            if part.of_variance
            else held[:, part.place] * part.factor + part.shift
            for part in self.parts
        }


class LabelTarget(OneTarget):
    """Columns of 0 and 1, any of which may hold of a row."""

    kind: Literal["labels"] = "labels"
    names: Annotated[tuple[Word, ...], Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """See `OneTarget`."""
        return self.names

    @property
    def outputs(self) -> tuple[int, ...]:
        """See `OneTarget`."""
        return (len(self.names),)

    @property
    def facts(self) -> dict[str, Any]:
        """See `OneTarget`."""
        return {"names": self.names, "width": len(self.names)}

    def targets(self, table: Table) -> NDArray[Any]:
        """See `OneTarget`: 0 or 1 for each column."""
        raw = np.stack([numbers_in(table, name) for name in self.names], axis=1)
        if strange := np.argwhere((raw != 0) & (raw != 1)).tolist():
            row, column = strange[0]
            got = f"{raw[row, column]:g} in column {self.names[column]!r}"
            raise DataError(f"{table.name}: expected labels of 0 or 1, got {got}: write 1 where the label holds")
        return raw.astype(np.float32)

    def told(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """See `OneTarget`: how likely each label is."""
        return dict(zip(self.names, (1 / (1 + np.exp(-outputs.astype(np.float64)))).T, strict=True))


Told = Annotated[ClassTarget | NumberTarget | LabelTarget, Field(discriminator="kind")]
"""What an output tells of a row."""


class SeveralTargets(Record):
    """What each of several outputs tells of rows, by the name of the output and in the order of the network's."""

    kind: Literal["several"] = "several"
    parts: Annotated[dict[Name, Told], Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of all outputs."""
        return tuple(dict.fromkeys(name for each in self.parts.values() for name in each.columns))

    def again(self, table: Table) -> "SeveralTargets":
        """See `OneTarget`."""
        return SeveralTargets(parts={name: each.again(table) for name, each in self.parts.items()})

    def targets(self, table: Table) -> dict[str, NDArray[Any]]:
        """The targets of each output, see `OneTarget`."""
        return {name: each.targets(table) for name, each in self.parts.items()}


AnyTarget = OneTarget | SeveralTargets
Target = Annotated[ClassTarget | NumberTarget | LabelTarget | SeveralTargets, Field(discriminator="kind")]
"""What a network tells of a row."""


def number_target(table: Table, names: tuple[str, ...]) -> NumberTarget:
    """Columns to learn as numbers, as the rows to train with ask for.

    Raises:
        DataError: one holds words, or one number only.
    """
    columns = [numbers_in(table, name) for name in names]
    for name, values in zip(names, columns, strict=True):
        if values.std() == 0:
            raise DataError(
                f"{table.name}: column {name!r}: expected different numbers to learn, got {values[0]:g} only"
            )
    means, deviations = (tuple(float(f(values)) for values in columns) for f in (np.mean, np.std))
    return NumberTarget(names=names, means=means, deviations=deviations)
