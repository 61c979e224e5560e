"""How much of a split a file tells right beside its network."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.samples import expected, real_samples
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.graph.reference import Inputs
from nestgraph.spec.arrays import AnyArray

TOGETHER = 1000
"""Samples that the network computes at once."""


@dataclass(frozen=True)
class Told:
    """How many of given samples are told right, by their largest output, in shares of 1.

    Attributes:
        count: how many samples there are.
        network: of the network.
        file: of the file.
    """

    count: int
    network: float
    file: float

    @property
    def lost(self) -> float:
        """Points that the file loses."""
        return 100 * (self.network - self.file)


def told_of(
    network: Network,
    what: str,
    outputs: Callable[[list[AnyArray]], AnyArray],
    split: tuple[Inputs, AnyArray],
    loss: float,
) -> Told:
    """How much of a split is told right.

    Args:
        network: the network.
        what: how messages begin.
        outputs: what the file gives for samples by port, of its one output.
        split: samples and their classes.
        loss: the most points that may be lost.

    Raises:
        ExportError: the file loses more than is accepted, or the split does not fit.
    """
    samples, classes = real_samples(network, what, split[0]), np.asarray(split[1])
    if classes.shape != (len(samples[0]),) or classes.dtype.kind not in "iu" or len(network.outputs) != 1:
        raise ExportError(
            f"{what}: expected a split of samples and a class for each, of a network of one output, got "
            f"{len(samples[0])} samples and classes of shape {classes.shape} for {len(network.outputs)} outputs"
        )
    right: list[float] = []
    for found in (_all(network, samples), outputs(samples)):
        right.append(float((found.reshape(len(classes), -1).argmax(axis=1) == classes).mean()))
    told = Told(len(classes), *right)
    if told.lost > loss:
        raise ExportError(
            f"{what}: expected at most {loss:g} points lost of {told.count} samples, got {told.lost:.2f}: give "
            "more or other inputs, a larger loss, or floats"
        )
    return told


def _all(network: Network, samples: list[AnyArray]) -> AnyArray:
    """What the network gives, of many samples some at a time."""
    parts = range(0, len(samples[0]), TOGETHER)
    found = [expected(network, [array[at : at + TOGETHER] for array in samples], np.float32)[0] for at in parts]
    return np.concatenate(found)
