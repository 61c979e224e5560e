"""Bodies that work unit by unit, such as foreign functions of each element: found by trying."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nestgraph.interop.elements import Arrangement, Elements, Ledger
from nestgraph.lowering.evaluating import evaluated

SAMPLES = 3
TRIES = 6
TOLERANCE = 1e-5
"""Relative to the largest number that is compared."""


class UnitByUnit(nn.Module):
    """A part of a module that reads layers (batch, units, *size), however many units they have, and gives such.

    Attributes:
        places: which layer each tensor is.
        dtypes: what readers of these tensors expect.
        axes: where units stand in what it reads, and in what it gives.
        in_row: whether it reads the places of maps in a row.
    """

    def __init__(
        self,
        inner: nn.Module,
        places: Sequence[int],
        dtypes: Sequence[torch.dtype],
        axes: tuple[int, int],
        in_row: bool,
    ) -> None:
        super().__init__()
        self.inner, self.places, self.dtypes = inner, tuple(places), tuple(dtypes)
        self.axes, self.in_row = axes, in_row

    def forward(self, *layers: Tensor) -> Tensor:
        """The result, from the outputs of the layers that it reads."""
        rows = [x.flatten(2) for x in layers] if self.in_row else layers
        read = [self._turned(rows[place], 1, self.axes[0]) for place in self.places]
        given = (x if dtype == torch.float32 else x.to(dtype) for x, dtype in zip(read, self.dtypes, strict=True))
        return self._turned(self.inner.forward(*given), self.axes[1], 1)

    def _turned(self, x: Tensor, before: int, after: int) -> Tensor:
        return x if before == after else x.movedim(before, after)


class Tied(NamedTuple):
    """A body and the layers that are its arguments.

    Attributes:
        module: what it computes.
        layers: its arguments, by place.
        axis: where units stand in what it gives, as its reader has it.
        units: how many there are.
        size: of what it gives.
    """

    module: UnitByUnit
    layers: tuple[str, ...]
    axis: int
    units: int
    size: tuple[int, ...]


def unit_by_unit(
    ledger: Ledger, inner: nn.Module, tensors: Sequence[tuple[Elements, torch.dtype]], shape: tuple[int, ...]
) -> Tied | None:
    """The body of an opaque layer that works unit by unit on whole layers; None where it does not.

    Args:
        ledger: where the elements of layers are.
        inner: takes the tensors and gives (batch, *shape).
        tensors: what it reads, and the types that it expects.
        shape: of what it gives.
    """
    stood = ledger.arrangement(*(x for x, _ in tensors)) if tensors else None
    if stood is None or not shape or ((in_row := stood.size != stood.places) and len(stood.places) > 1):
        return None
    read = _whole_layers(ledger, stood, [x for x, _ in tensors])
    if read is None:
        return None
    layers, own, units = tuple(dict.fromkeys(layer for layer, _ in read)), dict(read), read[0][1][0]
    places, dtypes = [layers.index(layer) for layer, _ in read], [dtype for _, dtype in tensors]
    for axis in sorted(range(1, len(shape) + 1), key=lambda axis: axis != stood.axis):  # a reduction may move them
        if shape[axis - 1] != units:
            continue
        module = UnitByUnit(inner, places, dtypes, (stood.axis, axis), in_row)
        size = (*shape[: axis - 1], *shape[axis:])
        if works_by_unit(module, [own[layer] for layer in layers], (units, *size)):
            return Tied(module, layers, axis, units, size)
    return None


def _whole_layers(
    ledger: Ledger, stood: Arrangement, tensors: Sequence[Elements]
) -> list[tuple[str, tuple[int, ...]]] | None:
    """The layer that each tensor is, with its form (units, *size); None where one is no whole layer, or has others."""
    found: list[tuple[str, tuple[int, ...]]] = []
    for x in tensors:
        turned = stood.inward(x)
        region = ledger.in_order(turned)
        if region is None or tuple(turned.shape[1:]) != (region.units, *region.size):
            return None
        found.append((region.layer, (region.units, *region.size)))
    return found if len({form[0] for _, form in found}) == 1 else None


def works_by_unit(module: nn.Module, sources: Sequence[tuple[int, ...]], gives: tuple[int, ...]) -> bool:
    """Whether each unit depends on the units at its place alone, and any number of units will do: it is tried.

    Args:
        module: takes (batch, *source) for each source (units, *size) and gives (batch, *gives).
        sources: the forms of what it reads.
        gives: the form of what it gives.
    """
    tried, generator = evaluated(module, lambda one: one), torch.Generator().manual_seed(0)
    units = gives[0]
    try:
        with torch.no_grad():
            xs = [torch.randn((SAMPLES, *source), generator=generator) * 2 for source in sources]
            whole = tried(*xs)
            if tuple(whole.shape[1:]) != gives or not _same(tried(*xs), whole):
                return False
            for number in range(TRIES):
                chosen = torch.randperm(units, generator=generator)[: max(1, units - number) if number % 2 else 1]
                chosen = torch.cat([chosen, chosen[:1]]) if number == 2 else chosen  # twins, too
                if not _same(tried(*(x[:, chosen] for x in xs)), whole[:, chosen]):
                    return False
                if not _kept_apart(tried, xs, whole, int(chosen[0]), generator):
                    return False
    except Exception:  # whatever a foreign module does with other units than it was made for
        return False
    return True


def _kept_apart(module: nn.Module, xs: Sequence[Tensor], whole: Tensor, unit: int, generator: torch.Generator) -> bool:
    """Whether other units stay as they are when one is perturbed."""
    moved = [x.clone() for x in xs]
    for x in moved:
        x[:, unit] = torch.randn(x[:, unit].shape, generator=generator) * 5
    others = torch.arange(whole.shape[1]) != unit
    return _same(module(*moved)[:, others], whole[:, others])


def _same(x: Tensor, y: Tensor) -> bool:
    if x.shape != y.shape:
        return False
    finite = y[y.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    return torch.allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
