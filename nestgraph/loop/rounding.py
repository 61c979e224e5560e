"""Training that knows of int8: it computes with weights as a C file of int8 holds them, and moves those behind."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nestgraph.chip.scales import HIGH
from nestgraph.graph import Network
from nestgraph.lowering.parameters import parameters_of
from nestgraph.lowering.slots import Slot, slots
from nestgraph.lowering.workbench import Workbench
from nestgraph.spec import Lookup


@dataclass(frozen=True, eq=False)
class _Weight:
    """A weight that is rounded: its parameter, its place in the network, and 1 where it is no dormant entry."""

    parameter: nn.Parameter
    slot: Slot
    live: Tensor


class RoundedWeights:
    """The weights of a bench's module that add up to sums, of which `chip` makes int8.

    Each unit has a scale for each projection, by which its largest weight is 127, and weights are the nearest whole
    number of it, half up, as `chip.integers` has them of a unit that reads one layer; of one that reads several, int8
    may be coarser. The gradient with respect to what is rounded moves what is behind it (a straight-through estimator,
    Bengio et al. 2013, arXiv:1308.3432).
    """

    def __init__(self, bench: Workbench) -> None:
        """Of the present module of a bench; an edit makes another."""
        self._network = bench.edited
        parameters = parameters_of(self._network, bench.module)
        self._weights = [
            _Weight(parameter, slot, _live(self._network, slot, parameter))
            for slot in slots(self._network)
            if slot.is_weight and _adds(self._network, slot.owner)
            for parameter in [parameters[slot.owner, "weight"]]
        ]

    @contextmanager
    def held(self) -> Generator[None]:
        """The module computes with rounded weights inside, and has its own again behind it."""
        own: list[Tensor] = []
        for weight in self._weights:
            weight.parameter.data.mul_(weight.live)  # optimizers of matrices move dormant entries, too
            own.append(weight.parameter.data.clone())
            weight.parameter.data.copy_(self._rounded(weight))
        try:
            yield
        finally:
            for weight, values in zip(self._weights, own, strict=True):
                weight.parameter.data.copy_(values)

    def settle(self) -> None:
        """Round the weights that train for good."""
        for weight in self._weights:
            if weight.parameter.requires_grad:
                weight.parameter.data.copy_(self._rounded(weight))

    def _rounded(self, weight: _Weight) -> Tensor:
        values = weight.slot.spread(weight.parameter.data, self._network)
        rounded = rounded_rows(values)
        return weight.slot.packed(rounded, weight.parameter.data)


def rounded_rows(values: Tensor) -> Tensor:
    """Weights (rows, ...) as whole numbers from -127 to 127 times a scale for each row.

    >>> rounded_rows(torch.tensor([[127.0, 2.4, -2.5, 0.0]])).tolist()
    [[127.0, 2.0, -2.0, 0.0]]
    """
    rows = values.double().reshape(len(values), -1)
    scale = rows.abs().amax(dim=1, keepdim=True) / HIGH
    whole = torch.floor(rows / torch.where(scale > 0, scale, 1.0) + 0.5)
    return (whole * scale).to(values.dtype).reshape(values.shape)


def _adds(network: Network, projection: str) -> bool:
    """Whether a projection's weights are int8 in C: not those of tables, gates and heads."""
    record = network.projection(projection)
    return record in network.summed(record.target) and not isinstance(record, Lookup)


def _live(network: Network, slot: Slot, parameter: nn.Parameter) -> Tensor:
    mask = torch.tensor(network.connection_columns(slot.owner).mask, dtype=parameter.dtype, device=parameter.device)
    return slot.packed(mask, parameter.data)
