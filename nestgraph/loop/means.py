"""Mean losses of batches, and what each counts among those of others."""

from nestgraph.data.minibatch import Loss, Minibatch
from nestgraph.tasks.task import Task


def mean_loss(loss: Loss | Task) -> Loss:
    """The mean loss of a batch, of outputs, targets and any weights."""
    return loss.loss if isinstance(loss, Task) else loss


def mass(batch: Minibatch, loss: Loss | Task) -> float:
    """What the mean loss of a batch counts among others: its samples, or the sum of their weights."""
    if isinstance(loss, Task):
        return loss.weight(*batch.told)
    return float(batch.told[1].sum()) if len(batch.told) > 1 else batch.samples
