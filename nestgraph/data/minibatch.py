"""What loaders and losses have in common: samples on a device, and a loss that is their mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from nestgraph.errors import NestgraphError, TrainingError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.wording import foreign, quoted

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
        parts = cast("Sequence[Any]", given)
        if not isinstance(given, tuple | list) or len(parts) not in (2, 3):
            raise TrainingError(f"gather expected batches of (inputs, targets[, weights]), got {quoted(parts)}")
        inputs = cast("Sequence[Any]", parts[0] if isinstance(parts[0], tuple | list) else (parts[0],))
        moved = [_on(each, device) for each in inputs]
        if not moved or not all(isinstance(each, torch.Tensor) and each.ndim for each in moved):
            raise TrainingError(f"gather expected inputs as arrays or tensors of samples, got {quoted(inputs)}")
        if len(moved) != count:
            raise TrainingError(f"gather expected batches of {count} inputs, as the network has, got {len(moved)}")
        return cls(tuple(moved), tuple(_on(each, device) for each in parts[1:]))

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.inputs[0])

    def loss(self, run: Callable[..., Any], loss: Loss) -> torch.Tensor:
        """The mean loss of what a module gives for the inputs, a scalar.

        Args:
            run: the module.
            loss: of its outputs, targets and, if any, weights.

        Raises:
            TrainingError: module or loss cannot take the batch, the loss is no scalar, or targets of (n,) meet outputs
                of (n, 1), which would broadcast.
        """
        try:
            outputs = run(*self.inputs)
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
