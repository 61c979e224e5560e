"""Gradients of linear maps while evidence is gathered: by their factors, as long as these are small."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.nn import functional

from nestgraph.graph.network import Network
from nestgraph.lowering import Slot, slots
from nestgraph.parallel.ranks import Ranks
from nestgraph.policies.factored import Factored

SHARE = 4
"""Factors are kept while their bytes are less than one in so many of what they are the factors of."""


@dataclass(frozen=True, eq=False)
class Factors:
    """A sum of dL/dW of a linear map over batches.

    Attributes:
        shape: of W.
        parts: of each batch, what its mean counts, dL/du (rows, out) and what the map reads (rows, in).
    """

    shape: tuple[int, ...]
    parts: tuple[tuple[float, Tensor, Tensor], ...]

    @property
    def rows(self) -> int:
        """How many samples there are, or places of them."""
        return sum(len(read) for _, _, read in self.parts)

    def counting(self, counted: float) -> "Factors":
        """That of one batch, times what its mean counts."""
        return Factors(self.shape, tuple((counted * each, slope, read) for each, slope, read in self.parts))

    def plus(self, other: "Factors") -> "Factors":
        """The sum of both."""
        return Factors(self.shape, (*self.parts, *other.parts))

    def together(self, ranks: Ranks, rows: Sequence[int]) -> "Factors":
        """The sum over all processes, of which each has so many rows."""
        slopes = torch.cat([slope * counted for counted, slope, _ in self.parts])
        read = torch.cat([each for _, _, each in self.parts])
        first = sum(rows[: ranks.share.number])
        whole = [each.new_zeros(sum(rows), each.shape[1]) for each in (slopes, read)]
        for each, own in zip(whole, (slopes, read), strict=True):
            each[first : first + len(own)] = own
        ranks.sum_up(whole)  # all but one add zeros, so that parts of any number of rows arrive to the bit
        return Factors(self.shape, ((1.0, whole[0], whole[1]),))

    def whole(self) -> Tensor:
        """The sum as a tensor, added up as gradients of batches are."""
        terms = (torch.mm(slope.T, read).mul_(counted) for counted, slope, read in self.parts)
        total = next(terms)
        for term in terms:
            total.add_(term)
        return total.reshape(self.shape)

    def mean(self, mass: float) -> Factored:
        """The sum over what all batches count."""
        slopes = torch.cat([slope * counted for counted, slope, _ in self.parts]).div_(mass)
        read = self.parts[0][2] if len(self.parts) == 1 else torch.cat([read for _, _, read in self.parts])
        return Factored(slopes.cpu().numpy(), read.contiguous().cpu().numpy(), self.shape[1:])


def fits(shape: tuple[int, ...], rows: int) -> bool:
    """Whether the factors of so many samples are small beside an array of this shape (out, ...)."""
    size = math.prod(shape)
    return SHARE * rows * (shape[0] + size // shape[0]) < size


def linear_maps(network: Network, module: fx.GraphModule) -> Mapping[fx.Node, Slot]:
    """The nodes of a lowered module that multiply by a weight that trains, with its slot."""
    return dict(_linear_maps(network, module))


def _linear_maps(network: Network, module: fx.GraphModule) -> Iterator[tuple[fx.Node, Slot]]:
    trained = {slot.path: slot for slot in slots(network) if slot.is_weight}
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target is functional.linear:
            weight = node.args[1]
            while weight.target is torch.flatten:
                weight = weight.args[0]
            slot = trained.get(str(weight.target)) if weight.op == "get_attr" else None
            if slot is not None and slot.tensor(module).requires_grad:
                yield node, slot
