"""What loaders and losses have in common: samples on a device, and a loss that is their mean."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from nestgraph.data.share import WHOLE, Share
from nestgraph.errors import DataError, TrainingError
from nestgraph.lowering.dense import is_dense
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.parts import each_of, mapped
from nestgraph.spec.wording import quoted

_CPU = torch.device("cpu")
ALIGNMENT = 64
"""Bytes to whose multiples torch aligns what it allocates."""

Loss = Callable[..., torch.Tensor]
"""Gives the mean loss of a batch, a scalar, for `(outputs, targets)`, or for `(outputs, targets, weights)`."""


@dataclass(frozen=True)
class Minibatch:
    """Samples on a device: what the module takes, and what the loss is told after its outputs.

    Attributes:
        inputs: a tensor for each.
        told: targets, by name or in a tuple where there are several, and any weights.
    """

    inputs: tuple[torch.Tensor, ...]
    told: tuple[Any, ...]

    @classmethod
    def of(cls, given: object, count: int, device: torch.device) -> "Minibatch":
        """A batch as a loader gives it: inputs (several in a tuple or list), targets and, if any, weights.

        Args:
            given: the batch.
            count: of the inputs that the network has.
            device: where to compute.

        Raises:
            TrainingError: it is something else.
        """
        if isinstance(given, Minibatch):
            given = (given.inputs, *given.told)
        parts = cast("Sequence[Any]", given)
        if not isinstance(given, tuple | list) or len(parts) not in (2, 3):
            raise TrainingError(f"gather expected batches of (inputs, targets[, weights]), got {quoted(parts)}")
        inputs = _several(parts[0])
        moved = [_on(each, device) for each in inputs]
        if not moved or not all(is_dense(each) and each.ndim for each in moved):
            raise TrainingError(f"gather expected inputs as arrays or tensors of samples, got {quoted(inputs)}")
        if len(moved) != count:
            raise TrainingError(f"gather expected batches of {count} inputs, as the network has, got {len(moved)}")
        told = tuple(map(_whole, parts[1:]))
        for each in (one for several in told for _, one in each_of(several) if _is_text(one)):
            got = ", ".join(map(quoted, np.ravel(each)[:1].tolist())) or "none"
            remedy = "number the classes from 0: classes, y = numpy.unique(y, return_inverse=True)"
            raise TrainingError(f"gather expected targets that are numbers, got {got}: {remedy}")
        return cls(tuple(moved), tuple(mapped(lambda one: _on(one, device), each) for each in told))

    @classmethod
    def of_data(cls, given: object, place: str) -> "Minibatch":
        """A batch as a user's data give it, in memory: inputs and targets (several in a tuple or by name), any weights.

        Args:
            given: the batch.
            place: what messages call it.

        Raises:
            DataError: it is something else, or holds what is no number.
        """
        if isinstance(given, Minibatch):
            return given
        parts = cast("Sequence[Any]", given)
        if not isinstance(given, tuple | list) or len(parts) not in (2, 3):
            expected = "(inputs, targets) or (inputs, targets, weights)"
            raise DataError(f"{place}: expected {expected}, got {quoted(parts)}: give both, as in yield x, y")
        batch = cls(tuple(_several(parts[0])), tuple(map(_whole, parts[1:])))._each(lambda one: _on(one, _CPU))
        wrong = next((each for each in batch.tensors if not (is_dense(each) and each.ndim)), None)
        if wrong is not None or not batch.inputs:
            remedy = "stack samples, and number classes from 0"
            raise DataError(f"{place}: expected arrays or tensors of numbers, got {quoted(wrong)}: {remedy}")
        numbers = batch._each(lambda one: one if one.is_floating_point() else one.long())
        return cls(tuple(each.float() for each in batch.inputs), numbers.told)

    def _each(self, function: Callable[[Any], Any]) -> "Minibatch":
        """What a function gives for each tensor."""
        return Minibatch(tuple(map(function, self.inputs)), tuple(mapped(function, each) for each in self.told))

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All of them."""
        return (*self.inputs, *(one for each in self.told for _, one in each_of(each)))

    def to(self, device: torch.device) -> "Minibatch":
        """The same on a device."""
        return self._each(lambda one: one.to(device))

    def aligned(self) -> "Minibatch":
        """The same where torch would have put it: the last digits of products depend on where in memory factors lie."""
        return self._each(_aligned)

    def cut(self, most: int | None) -> Iterator["Minibatch"]:
        """Parts of up to so many samples."""
        size = most or max(1, self.samples)
        for first in range(0, self.samples, size):
            yield self._each(partial(_cut, first, size))

    def part(self, share: Share) -> "Minibatch":
        """The part of a share."""
        return self if share == WHOLE else self._each(share.of)

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.inputs[0])


def _is_text(given: Any) -> bool:
    return isinstance(given, np.ndarray) and cast(AnyArray, given).dtype.kind in "OSU"


def _cut(first: int, size: int, tensor: torch.Tensor) -> torch.Tensor:
    return tensor[first : first + size]


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def _several(inputs: Any) -> Sequence[Any]:
    """The inputs of a batch: one, several in a tuple or list, or by name, in their order."""
    if isinstance(inputs, Mapping):
        return list(cast("Mapping[str, Any]", inputs).values())
    return cast("Sequence[Any]", inputs if isinstance(inputs, tuple | list) else (inputs,))


def _whole(told: Any) -> Any:
    """Targets as they are; several that a loader has put into a list in a tuple."""
    return tuple(cast("list[Any]", told)) if isinstance(told, list) else told


def present(device: str | torch.device) -> torch.device:
    """A device of this machine.

    Raises:
        TrainingError: it is not there.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):
        raise TrainingError(f"expected a device of this machine, got {str(device)!r}: use device='cpu'") from None


def _on(given: Any, device: torch.device) -> Any:
    """An array or tensor on a device, numbers in float32; anything else as it is."""
    if is_dense(given):
        return given.to(device, torch.float32 if given.is_floating_point() else None)
    if isinstance(given, np.ndarray) and cast(AnyArray, given).dtype.kind in "biuf":
        return _on(torch.as_tensor(cast(AnyArray, given)), device)
    return cast(Any, given)
