"""What loaders and losses have in common: samples on a device, and a loss that is their mean."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from nestgraph.errors import DataError, NestgraphError, TrainingError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.wording import foreign, quoted

ALIGNMENT = 64
"""Bytes to whose multiples torch aligns what it allocates."""

Loss = Callable[..., torch.Tensor]
"""Gives the mean loss of a batch, a scalar, for `(outputs, targets)`, or for `(outputs, targets, weights)`."""


@dataclass(frozen=True)
class Minibatch:
    """Samples on a device: what the module takes, and what the loss is told after its outputs."""

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
        if not moved or not all(isinstance(each, torch.Tensor) and each.ndim for each in moved):
            raise TrainingError(f"gather expected inputs as arrays or tensors of samples, got {quoted(inputs)}")
        if len(moved) != count:
            raise TrainingError(f"gather expected batches of {count} inputs, as the network has, got {len(moved)}")
        return cls(tuple(moved), tuple(_on(each, device) for each in parts[1:]))

    @classmethod
    def of_data(cls, given: object, place: str) -> "Minibatch":
        """A batch as a user's data give it, in memory: inputs (several in a tuple or by name), targets and any weights.

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
        inputs, told = _several(parts[0]), parts[1:]
        found = [_on(each, torch.device("cpu")) for each in (*inputs, *told)]
        wrong = next((each for each in found if not isinstance(each, torch.Tensor) or not each.ndim), None)
        if wrong is not None or not inputs:
            remedy = "stack samples, and number classes from 0"
            raise DataError(f"{place}: expected arrays or tensors of numbers, got {quoted(wrong)}: {remedy}")
        moved = tuple(each.float() for each in found[: len(inputs)])
        return cls(moved, tuple(each if each.is_floating_point() else each.long() for each in found[len(inputs) :]))

    def to(self, device: torch.device) -> "Minibatch":
        """The same on a device."""
        return Minibatch(tuple(each.to(device) for each in self.inputs), tuple(each.to(device) for each in self.told))

    def aligned(self) -> "Minibatch":
        """The same where torch would have put it: the last digits of products depend on where in memory factors lie."""
        return Minibatch(tuple(map(_aligned, self.inputs)), tuple(map(_aligned, self.told)))

    def cut(self, most: int | None) -> Iterator["Minibatch"]:
        """Parts of up to so many samples."""
        size = most or self.samples
        for first in range(0, self.samples, size):
            part = slice(first, first + size)
            yield Minibatch(tuple(each[part] for each in self.inputs), tuple(each[part] for each in self.told))

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.inputs[0])

    def loss(self, run: Callable[..., Any], loss: Loss, looks: bool = False) -> torch.Tensor:
        """The mean loss of what a module gives for the inputs, a scalar.

        Args:
            run: the module.
            loss: of its outputs, targets and, if any, weights.
            looks: whether the loss itself refuses targets that it would broadcast.

        Raises:
            TrainingError: module or loss cannot take the batch, the loss is no scalar, or targets of (n,) meet outputs
                of (n, 1), which would broadcast.
        """
        try:
            outputs = run(*self.inputs)
            if not looks:
                self._refuse_broadcast(outputs)
            found = cast("object", loss(outputs, *self.told))
        except NestgraphError:
            raise
        except Exception as error:
            got = f"inputs of {_shapes(self.inputs)} and {_shapes(self.told)}"
            words = f"a batch that network and loss can take, got {got}: {type(error).__name__}: {foreign(error)}"
            raise TrainingError(f"gather expected {words}") from error
        if not isinstance(found, torch.Tensor) or found.numel() != 1:
            got = f"one of shape {_shapes([found])}" if isinstance(found, torch.Tensor) else quoted(found)
            raise TrainingError(f"gather expected a loss that is one number, the mean of a batch, got {got}")
        return found.reshape(())

    def _refuse_broadcast(self, outputs: Any) -> None:
        pair = [tuple(each.shape) for each in (outputs, self.told[0]) if isinstance(each, torch.Tensor)]
        if self.samples > 1 and set(pair) == {(self.samples,), (self.samples, 1)}:
            got = f"outputs of {pair[0]} and targets of {pair[1]}"
            raise TrainingError(f"gather expected targets of the outputs' shape, got {got}: reshape the targets")


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def _several(inputs: Any) -> Sequence[Any]:
    """The inputs of a batch: one, several in a tuple or list, or by name, in their order."""
    if isinstance(inputs, Mapping):
        return list(cast("Mapping[str, Any]", inputs).values())
    return cast("Sequence[Any]", inputs if isinstance(inputs, tuple | list) else (inputs,))


def _shapes(given: Sequence[Any]) -> str:
    words = (str(tuple(each.shape)) if isinstance(each, torch.Tensor) else type(each).__name__ for each in given)
    return ", ".join(words)


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
    if isinstance(given, np.ndarray) and cast(AnyArray, given).dtype.kind in "biuf":
        return _on(torch.as_tensor(cast(AnyArray, given)), device)
    if isinstance(given, torch.Tensor):
        return given.to(device, torch.float32 if given.is_floating_point() else None)
    return cast(Any, given)
