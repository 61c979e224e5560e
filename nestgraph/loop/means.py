"""Mean losses of batches, and what each counts among those of others."""

from collections.abc import Callable
from typing import Any, cast

import torch

from nestgraph.data.minibatch import Loss, Minibatch
from nestgraph.errors import NestgraphError, TrainingError
from nestgraph.spec.wording import foreign, quoted, shape_of
from nestgraph.tasks.task import Task, refuse_broadcast


def mean_loss(loss: Loss | Task) -> Loss:
    """The mean loss of a batch, of outputs, targets and any weights."""
    return loss.loss if isinstance(loss, Task) else loss


def mass(batch: Minibatch, loss: Loss | Task) -> float:
    """What the mean loss of a batch counts among others: its samples, or the sum of their weights."""
    if isinstance(loss, Task):
        return loss.weight(*batch.told)
    return float(batch.told[1].sum()) if len(batch.told) > 1 else batch.samples


def batch_loss(batch: Minibatch, run: Callable[..., Any], loss: Loss | Task) -> torch.Tensor:
    """The mean loss of what a module gives for the inputs of a batch, a scalar.

    Args:
        batch: somebody's.
        run: the module.
        loss: a task, or of its outputs, targets and, if any, weights.

    Raises:
        TrainingError: module or loss cannot take the batch, the loss is no scalar, or targets of (n,) meet outputs of
            (n, 1), which would broadcast.
    """
    try:
        outputs = run(*batch.inputs)
        if not isinstance(loss, Task):  # a task looks at shapes itself
            refuse_broadcast("gather", outputs, batch.told[0])
        found = cast("object", mean_loss(loss)(outputs, *batch.told))
    except NestgraphError:
        raise
    except Exception as error:
        inputs, told = (", ".join(map(shape_of, parts)) for parts in (batch.inputs, batch.told))
        words = f"inputs of {inputs} and {told}: {type(error).__name__}: {foreign(error)}"
        raise TrainingError(f"gather expected a batch that network and loss can take, got {words}") from error
    if not isinstance(found, torch.Tensor) or found.numel() != 1:
        got = f"one of shape {shape_of(found)}" if isinstance(found, torch.Tensor) else quoted(found)
        raise TrainingError(f"gather expected a loss that is one number, the mean of a batch, got {got}")
    return found.reshape(())
