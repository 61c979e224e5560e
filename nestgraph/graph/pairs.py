"""The pairs of units that a projection joins, as a bool matrix, as a list or as all, behind one set of questions.

Positions count the units of a layer from 0. A source is at the near end of a pair and a target at the far end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.spec.arrays import AnyArray


@dataclass(frozen=True, eq=False)
class Matrix:
    """Pairs of a dense or convolutional projection: `edges`, bool (targets, sources)."""

    edges: AnyArray

    def onward(self, sources: AnyArray) -> AnyArray:
        """Bool (targets,): joined to any of the chosen sources, a bool array."""
        return np.any(self.edges if sources.all() else self.edges.compress(sources, axis=1), axis=1)

    def back(self, targets: AnyArray) -> AnyArray:
        """Bool (sources,): joined to any of the chosen targets, a bool array."""
        return np.any(self.edges if targets.all() else self.edges[targets], axis=0)

    def beyond(self, place: int, forward: bool) -> AnyArray:
        """An index of the targets of a source, or of the sources of a target: (k,) places, or bools for all units."""
        return self.edges[:, place] if forward else self.edges[place]

    def among(self, targets: AnyArray, sources: AnyArray) -> tuple[AnyArray, AnyArray]:
        """(k,) twice: targets and sources of the pairs between places that are given in ascending order."""
        rows, columns = np.nonzero(self.edges[np.ix_(targets, sources)])
        return targets[rows], sources[columns]

    def lead(self, sources: AnyArray) -> tuple[AnyArray, AnyArray]:
        """For each target how many of the sources, positions in an order, lead to it, and which is the last of them.

        Returns:
            Two int64 arrays (targets,): the number, and the place in the order or -1.
        """
        backwards = self.edges.take(sources[::-1], axis=1)
        counts = np.count_nonzero(backwards, axis=1)
        return counts, np.where(counts > 0, len(sources) - 1 - np.argmax(backwards, axis=1), -1)

    def holds(self, targets: AnyArray, sources: AnyArray) -> AnyArray:
        """Bool: whether each target is joined to the source at its side, both as positions."""
        return self.edges[targets, sources]

    def rank(self, targets: AnyArray) -> AnyArray:
        """Where each target comes among the neighbours of a source."""
        return targets

    def degrees(self) -> tuple[AnyArray, AnyArray]:
        """Int64 (targets,) and (sources,): the pairs that each is in."""
        return np.count_nonzero(self.edges, axis=1), np.count_nonzero(self.edges, axis=0)

    def matrix(self) -> AnyArray:
        """Bool (targets, sources)."""
        return self.edges


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs of a one-to-one projection: positions of the targets and of their sources, and how many there could be."""

    targets: AnyArray
    sources: AnyArray
    shape: tuple[int, int]

    def onward(self, sources: AnyArray) -> AnyArray:
        """As `Matrix.onward`."""
        return _marked(self.targets[sources[self.sources]], self.shape[0])

    def back(self, targets: AnyArray) -> AnyArray:
        """As `Matrix.back`."""
        return _marked(self.sources[targets[self.targets]], self.shape[1])

    def beyond(self, place: int, forward: bool) -> AnyArray:
        """As `Matrix.beyond`."""
        return self.targets[self.sources == place] if forward else self.sources[self.targets == place]

    def among(self, targets: AnyArray, sources: AnyArray) -> tuple[AnyArray, AnyArray]:
        """As `Matrix.among`."""
        kept = np.isin(self.targets, targets) & np.isin(self.sources, sources)
        return self.targets[kept], self.sources[kept]

    def lead(self, sources: AnyArray) -> tuple[AnyArray, AnyArray]:
        """As `Matrix.lead`."""
        order = np.full(self.shape[1], -1)
        order[sources] = np.arange(len(sources))
        chosen = order[self.sources] >= 0
        last = np.full(self.shape[0], -1)
        np.maximum.at(last, self.targets, order[self.sources])
        return np.bincount(self.targets[chosen], minlength=self.shape[0]), last

    def holds(self, targets: AnyArray, sources: AnyArray) -> AnyArray:
        """As `Matrix.holds`."""
        width = self.shape[1]
        return np.isin(targets * width + sources, self.targets * width + self.sources)

    def rank(self, targets: AnyArray) -> AnyArray:
        """As `Matrix.rank`."""
        row = np.zeros(self.shape[0], np.int64)
        row[self.targets] = np.arange(len(self.targets))
        return row[targets]

    def degrees(self) -> tuple[AnyArray, AnyArray]:
        """As `Matrix.degrees`."""
        return np.bincount(self.targets, minlength=self.shape[0]), np.bincount(self.sources, minlength=self.shape[1])

    def matrix(self) -> AnyArray:
        """As `Matrix.matrix`."""
        edges = np.zeros(self.shape, bool)
        edges[self.targets, self.sources] = True
        return edges


@dataclass(frozen=True)
class Complete:
    """All pairs, as an argument of an opaque layer joins them: how many targets and sources there are."""

    shape: tuple[int, int]

    def onward(self, sources: AnyArray) -> AnyArray:
        """As `Matrix.onward`."""
        return np.full(self.shape[0], bool(sources.any()))

    def back(self, targets: AnyArray) -> AnyArray:
        """As `Matrix.back`."""
        return np.full(self.shape[1], bool(targets.any()))

    def beyond(self, place: int, forward: bool) -> AnyArray:  # noqa: ARG002
        """As `Matrix.beyond`."""
        return np.arange(self.shape[0] if forward else self.shape[1])

    def among(self, targets: AnyArray, sources: AnyArray) -> tuple[AnyArray, AnyArray]:
        """As `Matrix.among`."""
        return np.repeat(targets, len(sources)), np.tile(sources, len(targets))

    def lead(self, sources: AnyArray) -> tuple[AnyArray, AnyArray]:
        """As `Matrix.lead`."""
        return np.full(self.shape[0], len(sources)), np.full(self.shape[0], len(sources) - 1)

    def holds(self, targets: AnyArray, sources: AnyArray) -> AnyArray:
        """As `Matrix.holds`."""
        return np.ones(np.broadcast_shapes(np.shape(targets), np.shape(sources)), bool)

    def rank(self, targets: AnyArray) -> AnyArray:
        """As `Matrix.rank`."""
        return targets

    def degrees(self) -> tuple[AnyArray, AnyArray]:
        """As `Matrix.degrees`."""
        return np.full(self.shape[0], self.shape[1]), np.full(self.shape[1], self.shape[0])

    def matrix(self) -> AnyArray:
        """As `Matrix.matrix`."""
        return np.broadcast_to(np.True_, self.shape)


Pairs = Matrix | PairList | Complete


def united(several: Sequence[Pairs]) -> Pairs:
    """The pairs that any of several projections between the same layers joins."""
    if len(several) == 1:
        return several[0]
    complete = next((pairs for pairs in several if isinstance(pairs, Complete)), None)
    if complete is not None:
        return complete
    links = [pairs for pairs in several if isinstance(pairs, PairList)]
    if len(links) < len(several):
        return Matrix(np.logical_or.reduce([pairs.matrix() for pairs in several]))
    every = np.unique(np.concatenate([np.stack([pairs.targets, pairs.sources]) for pairs in links], axis=1), axis=1)
    return PairList(every[0], every[1], links[0].shape)


def _marked(places: AnyArray, count: int) -> AnyArray:
    marks = np.zeros(count, bool)
    marks[places] = True
    return marks
