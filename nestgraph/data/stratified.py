"""Drawing of samples with equal shares of each class."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ValidationSplit = Literal["stratified", "last"]


def stratified(labels: NDArray[np.integer[Any]], size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose exactly `size` samples, of each class its share to within one sample.

    The samples are shuffled, sorted by class and sampled at even steps.

    Args:
        labels: (samples,).
        size: from 0 to the number of samples.
        rng: draws the samples within each class.

    Returns:
        True for the chosen samples, (samples,).
    """
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    steps = np.arange(len(labels) + 1) * size // max(len(labels), 1)
    chosen = np.zeros(len(labels), bool)
    chosen[order[np.diff(steps) > 0]] = True
    return chosen


def held_out(
    labels: NDArray[np.integer[Any]], size: int, rng: np.random.Generator, how: ValidationSplit
) -> NDArray[np.bool_]:
    """Which samples are kept from training, (samples,): of each class its share, or the last."""
    last = np.arange(len(labels)) >= len(labels) - size
    return last if how == "last" else stratified(labels, size, rng)
