"""How optimizer steps are done and when training ends early: the younger half of the options of training."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from nestgraph.spec.options import Beside, Options


def younger(usual: Any) -> Any:
    """A field with a default, which is left out of recipes that have it there: old ones keep their bytes."""
    return Field(default=usual, exclude_if=lambda value: value == usual)


class StepOptions(Options):
    """How the steps of a training are done.

    Attributes:
        schedule: how the learning rate goes through each training, a function of how much of it is done, so that there
            is no state to keep: `cosine` falls to `final_rate` of it along half a cosine; `constant` stays; `steps`
            multiplies it by `step_rate` at each of `steps`, shares of the training; `one_cycle` rises to it from a
            25th through 0.3 of the training and falls to `final_rate` of it, both along half cosines.
        warm_up: the share of each training through which the rate first rises to its value, along a line.
        steps: where `steps` changes the rate.
        step_rate: by how much.
        precision: in which numbers a network computes while it trains. Weights, their gradients, the state of the
            optimizer, evidence and scores stay in 32 bits. With `float16` the loss is scaled so that gradients do not
            vanish; a step whose gradients overflow is left out, and is no fault.
        accumulate: batches whose gradients add up to one step; each counts by its samples.
        ema: what is kept of the moving average of weights and statistics at each step; None for none. A training then
            ends with the average in their place. At first the average forgets faster: at step n at most
            (1 + n) / (10 + n) of it is kept.
        early_stop: a training ends after so many epochs in a row that did not lower the loss on the validation split.
        seconds: of the whole run, after which no step of growth, shift, pruning or last training begins. Where a run
            ends then depends on the clock; each step is still the same to the bit.
    """

    schedule: Literal["cosine", "constant", "steps", "one_cycle"] = younger("cosine")
    warm_up: Annotated[float, Field(ge=0, lt=1)] = younger(0.0)
    steps: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1, max_length=64)] = younger(
        (0.5, 0.75)
    )
    step_rate: Annotated[float, Field(gt=0, le=1)] = younger(0.1)
    precision: Literal["float32", "bfloat16", "float16"] = younger("float32")
    accumulate: Annotated[int, Field(ge=1, le=65536)] = younger(1)
    ema: Annotated[float, Field(gt=0, lt=1)] | None = younger(None)
    early_stop: Annotated[int, Field(ge=1)] | None = younger(None)
    seconds: Annotated[float, Field(gt=0)] | None = younger(None)

    beside: ClassVar = {
        "warm_up": (Beside.of("schedule", "cosine", "constant", "steps"),),
        "steps": (Beside.of("schedule", "steps"),),
        "step_rate": (Beside.of("schedule", "steps"),),
    }
