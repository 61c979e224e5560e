"""Blocks of a convolution: sets of maps between which no edge leads, computed as the groups of one convolution."""

from dataclasses import dataclass

import numpy as np

from nestgraph.spec.arrays import AnyArray

WORTH = 0.5
"""Groups that multiply more than this share of what the whole matrix does are not worth gathering maps for."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """A convolution as equal groups; smaller blocks are filled up.

    Attributes:
        sources: int64 (groups, size): the input maps of each group, -1 where a block has fewer.
        targets: int64 (groups, size): the output maps of each group, -1 where a block has fewer.
    """

    sources: AnyArray
    targets: AnyArray

    @property
    def read(self) -> AnyArray:
        """The input maps in the order of the groups; what fills a group up is any map, times 0."""
        return np.where(self.sources < 0, self.sources[:, :1], self.sources).reshape(-1).clip(0)

    @property
    def places(self) -> AnyArray:
        """For each output map its place among the maps that the groups give."""
        given = self.targets.reshape(-1)
        order = np.argsort(given, kind="stable")
        return order[given[order] >= 0]

    def weights(self, weight: AnyArray) -> AnyArray:
        """(groups * targets, sources, height, width), as a grouped convolution takes them, from (out, in, ...)."""
        blocks = weight[self.targets[:, :, None], self.sources[:, None, :]]
        real = (self.targets >= 0)[:, :, None] & (self.sources >= 0)[:, None, :]
        return np.where(real[..., None, None], blocks, 0).reshape(-1, *blocks.shape[2:])

    def biases(self, bias: AnyArray) -> AnyArray:
        """(groups * targets,) from (out,)."""
        return np.where(self.targets < 0, 0, bias[self.targets]).reshape(-1)


def blocks_of(edges: AnyArray) -> Blocks | None:
    """The blocks of a convolution if groups are worth it; None where one matrix is cheaper.

    >>> blocks_of(np.array([[1, 0, 1, 0], [0, 1, 0, 1]], bool)).sources.tolist()
    [[0, 2], [1, 3]]

    Args:
        edges: bool (out, in).
    """
    labels = _components(edges)
    count = int(labels.max(initial=-1)) + 1
    if count < 2:
        return None
    targets = [np.flatnonzero(labels == block) for block in range(count)]
    sources = [np.flatnonzero(edges[rows].any(axis=0)) for rows in targets]
    high, wide = max(map(len, targets)), max(map(len, sources))
    if count * high * wide > WORTH * edges.size:
        return None
    return Blocks(_filled(sources, wide), _filled(targets, high))


def _filled(blocks: list[AnyArray], size: int) -> AnyArray:
    return np.array([np.pad(block, (0, size - len(block)), constant_values=-1) for block in blocks], np.int64)


def _components(edges: AnyArray) -> AnyArray:
    """The number of the connected component of each output map, in the order of their first maps."""
    labels = np.full(len(edges), -1)
    for first in range(len(edges)):
        if labels[first] >= 0:
            continue
        rows, grown = np.zeros(len(edges), bool), np.zeros(len(edges), bool)
        grown[first] = True
        while (grown & ~rows).any():
            rows = grown
            grown = rows | edges[:, edges[rows].any(axis=0)].any(axis=1)
        labels[rows] = labels.max() + 1
    return labels
