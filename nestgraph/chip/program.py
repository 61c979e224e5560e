"""What a chip does for one sample: steps over arrays that live for a while, in the order in which they are taken.

A program is the bridge between a network and C. It knows nothing of bytes or text: `run` says what it computes, with
NumPy, so that it can be held to `graph.reference` and calibrated where there is no compiler.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.interface import InputPort, OutputPort


@dataclass(frozen=True)
class Value:
    """An array that a step writes, or that comes in: (units, *size), row-major.

    Attributes:
        name: its own.
        shape: of it, of one sample.
        classes: of ids, how many there are; None where it holds numbers.
    """

    name: str
    shape: tuple[int, ...]
    classes: int | None = None

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


Held = Mapping[str, AnyArray]
"""By name of a value, (batch, *shape)."""


@dataclass(frozen=True, eq=False)
class Step(ABC):
    """A part of the work: it reads values and writes one.

    Attributes:
        layer: for which it is done.
        target: what it writes.
    """

    layer: str
    target: Value

    in_place: ClassVar[bool] = False
    """Whether its first source may lie where its target does: each number is read before its place is written."""

    @property
    @abstractmethod
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""

    @property
    def multiplications(self) -> int:
        """How many multiply-adds it takes."""
        return 0

    @property
    def alike(self) -> tuple[float, ...] | None:
        """The constants beside the numbers of its source that it passes on as they are; None where it makes others."""
        return None

    @abstractmethod
    def run(self, held: Held) -> AnyArray:
        """What it writes, (batch, *shape), in the dtype of what it reads."""


@dataclass(frozen=True, eq=False)
class Program:
    """A network as steps.

    Attributes:
        inputs: for each port, what it brings, as the port has it, without the axis of samples.
        outputs: for each port, what it takes; several may take the same.
        steps: in their order.
    """

    inputs: tuple[tuple[InputPort, Value], ...]
    outputs: tuple[tuple[OutputPort, Value], ...]
    steps: tuple[Step, ...]

    @property
    def values(self) -> tuple[Value, ...]:
        """All of them, each once: inputs, then in the order in which they are written."""
        return (*(value for _, value in self.inputs), *(step.target for step in self.steps))

    def run(self, samples: Sequence[AnyArray], dtype: type = np.float64) -> dict[str, AnyArray]:
        """All values, by name, of samples by port, (batch, *shape)."""
        held: dict[str, AnyArray] = {}
        for (_, value), array in zip(self.inputs, samples, strict=True):
            held[value.name] = array.reshape(len(array), *value.shape).astype(dtype)
        for step in self.steps:
            held[step.target.name] = step.run(held)
        return held
