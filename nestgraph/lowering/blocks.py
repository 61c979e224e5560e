"""Blocks of a convolution: sets of maps between which no edge leads, computed as the groups of one convolution."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nestgraph.graph import Structure
from nestgraph.graph.columns.areas import paired, shortest
from nestgraph.graph.groups import block_groups
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

    @classmethod
    def in_order(cls, groups: int, out: int, into: int) -> "Blocks":
        """Groups of maps that follow each other, as those of PyTorch's grouped convolutions do."""
        return cls(np.arange(into).reshape(groups, -1), np.arange(out).reshape(groups, -1))

    @property
    def key(self) -> bytes:
        """The same for the same blocks."""
        return self.sources.tobytes() + self.targets.tobytes()

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

    def holds(self, values: Tensor) -> bool:
        """See `Packing.holds`."""
        return values.shape[:2] == self.real.shape

    def weights(self, weight: AnyArray) -> AnyArray:
        """(groups * targets, sources, *kernel), as a grouped convolution takes them, from (out, in, ...)."""
        blocks = weight[self.targets[:, :, None], self.sources[:, None, :]]
        real = (self.targets >= 0)[:, :, None] & (self.sources >= 0)[:, None, :]
        real = real.reshape(*real.shape, *(1,) * (weight.ndim - 2))
        return np.where(real, blocks, 0).reshape(-1, *blocks.shape[2:])

    def biases(self, bias: AnyArray) -> AnyArray:
        """(groups * targets,) from (out,)."""
        return np.where(self.targets < 0, 0, bias[self.targets]).reshape(-1)

    @cached_property
    def real(self) -> AnyArray:
        """Bool (groups * targets, sources): the pairs of maps that are there, not filled up."""
        return ((self.targets >= 0)[:, :, None] & (self.sources >= 0)[:, None, :]).reshape(-1, self.sources.shape[1])

    def packed(self, values: Tensor) -> Tensor:
        """`weights` of a tensor."""
        rows, columns = (torch.as_tensor(ends, device=values.device) for ends in self._ends())
        real = torch.as_tensor(self.real, device=values.device)
        return values[rows, columns].masked_fill(~real.view(*real.shape, *(1,) * (values.ndim - 2)), 0)

    def spread(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The first axes of `shape` from what `packed` gives, others as there; 0 between the groups."""
        real = torch.as_tensor(self.real, device=values.device)
        rows, columns = (torch.as_tensor(ends, device=values.device)[real] for ends in self._ends())
        return values.new_zeros(*shape[:2], *values.shape[2:]).index_put((rows, columns), values[real])

    def _ends(self) -> tuple[AnyArray, AnyArray]:
        """The output and the input map of each pair, both as `real`; any map where a group is filled up."""
        rows, columns = np.broadcast_arrays(self.targets[:, :, None], self.sources[:, None, :])
        return rows.reshape(self.real.shape).clip(0), columns.reshape(self.real.shape).clip(0)


def blocks_of(edges: AnyArray) -> Blocks | None:
    """The blocks of a convolution if groups are worth it; None where one matrix is cheaper.

    Of two ways to the same size, groups that follow each other come first: nothing has to be gathered for them.

    >>> blocks_of(np.array([[1, 0, 1, 0], [0, 1, 0, 1]], bool)).sources.tolist()
    [[0, 2], [1, 3]]

    Args:
        edges: bool (out, in).
    """
    if not edges.any():
        return None
    labels = _components(edges)
    count = int(labels.max(initial=-1)) + 1
    if count < 2:
        return None
    targets = [np.flatnonzero(labels == block) for block in range(count)]
    sources = [np.flatnonzero(edges[rows].any(axis=0)) for rows in targets]
    high, wide = max(map(len, targets)), max(map(len, sources))
    size, groups = count * high * wide, block_groups(edges)
    if groups > 1 and edges.size // groups <= size:
        return Blocks.in_order(groups, *edges.shape)
    return Blocks(_filled(sources, wide), _filled(targets, high)) if size <= WORTH * edges.size else None


def trained_blocks(structure: Structure, projection: str) -> Blocks | None:
    """The blocks in which a module that trains under its masks holds and computes the weights of a projection.

    None where it holds the whole, or what it follows: all but convolutions whose mask has blocks, as long as their
    pairs of maps share areas (`emit_partial_conv` computes pairs one by one).
    """
    columns, record = structure.connection_columns(projection), structure.projection(projection)
    if not record.grouped or record.follows is not None or columns.active == columns.mask.size:
        return None
    if paired(shortest(columns.area)):
        return None
    return blocks_of(columns.edges)


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
