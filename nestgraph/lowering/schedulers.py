"""Learning rate schedulers that go on with another optimizer, those that hold others too."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nestgraph.errors import LoweringError


def hand_over(schedulers: Iterable[Any], carried: Iterable[tuple[Optimizer, Optimizer]]) -> None:
    """Give schedulers the optimizers that took the place of theirs; all are looked at before one is changed.

    Raises:
        LoweringError: one is no scheduler, or holds an optimizer that was not carried.
    """
    after = {id(old): new for old, new in carried}
    found = [part for scheduler in schedulers for part in _parts(scheduler)]
    for part in found:
        if id(part.optimizer) not in after and all(part.optimizer is not new for new in after.values()):
            raise LoweringError(
                f"carry_optimizer expected schedulers of the optimizers that it carries, got {type(part).__name__} of "
                "another: pass that optimizer too, or leave its scheduler out"
            )
    for part in found:
        part.optimizer = after.get(id(part.optimizer), part.optimizer)


def _parts(scheduler: Any) -> Iterator[LRScheduler]:
    """A scheduler, and those in it (SequentialLR, ChainedScheduler)."""
    if not isinstance(scheduler, LRScheduler):
        raise LoweringError(
            f"carry_optimizer expected schedulers of torch.optim.lr_scheduler, got {type(scheduler).__name__}: set its "
            "optimizer yourself"
        )
    yield scheduler
    for held in vars(scheduler).values():
        inners = cast("Sequence[Any]", held) if isinstance(held, list | tuple) else (held,)
        for inner in inners:
            if isinstance(inner, LRScheduler):
                yield from _parts(inner)
