"""Opaque layers of what no kind covers: each is computed by a body, which reads other layers whole or unit by unit."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from nestgraph.graph.columns import Whole
from nestgraph.interop.drafts import plain_text
from nestgraph.interop.elements import Elements
from nestgraph.interop.opaque import Arguments, Excerpt
from nestgraph.interop.unitwise import Tied, unit_by_unit
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.opaque import ModuleBody
from nestgraph.spec import Argument


class Bodies:
    """Makes opaque layers.

    Args:
        weaver: writes them.
        batch: the samples in what is traced.
    """

    def __init__(self, weaver: Weaver, batch: int) -> None:
        self._weaver, self._batch = weaver, batch

    def layer(
        self,
        inner: nn.Module,
        tensors: Iterable[tuple[Elements, torch.dtype]],
        shape: tuple[int, ...],
        reason: str,
        axis: int | None = None,
    ) -> Elements:
        """What a module gives (batch, *shape) for tensors that it reads as these types.

        Its units stand at an axis, or each number is one.
        """
        tensors = list(tensors)
        tied = unit_by_unit(self._weaver.ledger, inner, tensors, shape)
        if tied is not None and not any(map(self._weaver.is_input, tied.layers)):
            return self._unitwise(tied, reason)
        arguments = Arguments(self._weaver.ledger)
        gathers = [arguments.gathered(x, dtype) for x, dtype in tensors]
        axis = axis if shape and min(shape) > 0 else None
        units, size = math.prod(shape), tuple[int, ...]()
        if axis is not None:
            units, size = shape[axis - 1], (*shape[: axis - 1], *shape[axis:])
        name = self._weaver.layer(units, size, opaque=plain_text(reason))
        self._give(name, arguments.layers, Excerpt(gathers, inner, (units, *size), axis or 1))
        result = self._weaver.output(name)
        return (
            Elements(result.index.view(self._batch, *shape), result.regions) if axis is None else result.turned(1, axis)
        )

    def _unitwise(self, tied: Tied, reason: str) -> Elements:
        """The result of a body that works unit by unit."""
        name = self._weaver.layer(tied.units, tied.size, opaque=plain_text(reason), unitwise=True)
        self._give(name, tied.layers, tied.module)
        return self._weaver.output(name).turned(1, tied.axis)

    def _give(self, name: str, arguments: Sequence[str], module: nn.Module) -> None:
        """Let an opaque layer read its arguments and compute what a module does."""
        for place, layer in enumerate(arguments):
            self._weaver.drafts.join(Argument(source=layer, target=name, place=place), Whole())
        body = ModuleBody(module)
        for parameter in body.module.parameters():  # of a module for inference none trains, which says nothing
            parameter.requires_grad_(parameter.requires_grad or not self._weaver.half_frozen)
        self._weaver.drafts.give_body(name, body)
