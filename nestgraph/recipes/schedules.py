"""Learning rates as pure functions of how much of a training is done."""

import math

from nestgraph.recipes.recipe import TrainingOptions

LEAST = 0.01
"""The share of the rate that a warm-up begins at."""

RISE, START = 0.3, 1 / 25
"""Of one cycle: how long the rate rises, and the share of it that it begins at."""


def rate_share(options: TrainingOptions, progress: float) -> float:
    """The share of the learning rate at a place of a training.

    Args:
        options: with the schedule.
        progress: how much of the training is done, from 0 to 1.
    """
    if progress < options.warm_up:
        return LEAST + (1 - LEAST) * progress / options.warm_up
    done = (progress - options.warm_up) / (1 - options.warm_up) if options.warm_up else progress
    match options.schedule:
        case "cosine":
            return _between(1.0, options.final_rate, done)
        case "constant":
            return 1.0
        case "steps":
            return options.step_rate ** sum(done >= step for step in options.steps)
        case "one_cycle" if done < RISE:
            return _between(START, 1.0, done / RISE)
        case "one_cycle":
            return _between(1.0, options.final_rate, (done - RISE) / (1 - RISE))


def _between(first: float, last: float, done: float) -> float:
    """Along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
