"""What loaders and losses have in common: samples on a device, and a loss that is their mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from nestgraph.errors import TrainingError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.wording import quoted

Loss = Callable[..., torch.Tensor]
"""Gives the mean loss of a batch, a scalar, for `(outputs, targets)`, or for `(outputs, targets, weights)`."""


@dataclass(frozen=True)
class Minibatch:
    """Samples on a device: what the module takes, and what the loss is told after its outputs."""

    inputs: tuple[torch.Tensor, ...]
    told: tuple[Any, ...]

    @classmethod
    def of(cls, given: object, device: torch.device) -> "Minibatch":
        """A batch as a loader gives it: inputs (several in a tuple or list), targets and, if any, weights.

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
        return cls(tuple(moved), tuple(_on(each, device) for each in parts[1:]))

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.inputs[0])

    def loss(self, loss: Loss, outputs: Any) -> torch.Tensor:
        """The mean loss, for what a module gave for the inputs.

        Raises:
            TrainingError: the loss is no scalar, or targets of (n,) meet outputs of (n, 1), which would broadcast.
        """
        shapes = [tuple(each.shape) for each in (outputs, *self.told) if isinstance(each, torch.Tensor)]
        if len(shapes) > 1 and {shapes[0], shapes[1]} == {(self.samples,), (self.samples, 1)} and self.samples > 1:
            got = f"outputs of {shapes[0]} and targets of {shapes[1]}"
            raise TrainingError(f"gather expected targets of the outputs' shape, got {got}: reshape the targets")
        found = cast("object", loss(outputs, *self.told))
        if not isinstance(found, torch.Tensor) or found.numel() != 1:
            got = f"one of shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else quoted(found)
            raise TrainingError(f"gather expected a loss that is one number, the mean of a batch, got {got}")
        return found.reshape(())


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
