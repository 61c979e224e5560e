"""Bodies of opaque layers that PyTorch modules compute: values that a network holds, of which modules train copies."""

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, fx, nn

from nestgraph.lowering.body_flops import module_flops
from nestgraph.spec.arrays import AnyArray, same_bits

PREFIX = "body"
"""What the columns of a body are called, before their number: its parameters, then its buffers."""


class ModuleBody:
    """The body of an opaque layer (`nestgraph.graph.body`) that a PyTorch module computes, here in evaluation mode.

    It never changes. Lowered modules hold and train copies, and what these were trained to is another body.

    Attributes:
        module: takes a tensor (batch, units, *size) for each argument and gives one for the layer. Which of
            its parameters train says their `requires_grad`.
    """

    def __init__(self, module: nn.Module) -> None:
        """Hold a copy of the module, so that whoever has the original can go on training it."""
        self.module = copy.deepcopy(module).eval()
        self._flops: dict[tuple[tuple[int, ...], ...], int | None] = {}  # by shapes; the same for other values

    @property
    def parameter_count(self) -> int:
        """How many parameters the module has, each once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def flops(self, *shapes: tuple[int, ...]) -> int | None:
        """FLOPs for arguments of these shapes, (1, units, *size); None where they cannot be told."""
        if shapes not in self._flops:
            self._flops[shapes] = module_flops(self.module, shapes)
        return self._flops[shapes]

    @cached_property
    def tensors(self) -> Mapping[str, tuple[str, Tensor]]:
        """Path and values of each parameter and buffer, each once, by the name of its column."""
        found = [*self.module.named_parameters(), *self.module.named_buffers()]
        return {f"{PREFIX}{number}": (path, tensor.detach()) for number, (path, tensor) in enumerate(found)}

    @cached_property
    def make(self) -> str:
        """What the module is made of, without its values: two of the same make differ in nothing else."""
        shapes = (f"{path} {tuple(tensor.shape)} {tensor.dtype}" for path, tensor in self.tensors.values())
        code = (part.code for part in self.module.modules() if isinstance(part, fx.GraphModule))
        return "\n".join((type(self).__name__, repr(self.module), *shapes, *code))

    def values(self, column: str) -> AnyArray:
        """The values of a column: a view that is only to be read."""
        return self.tensors[column][1].cpu().numpy()

    def trains(self, column: str) -> bool:
        """Whether a column is a parameter that trains, unless its layer is frozen."""
        return self.module.get_parameter(self.tensors[column][0]).requires_grad

    def with_values(self, values: Mapping[str, AnyArray]) -> Self:
        """The body of other values in some columns."""
        twin = copy.copy(self)
        twin.module = copy.deepcopy(self.module)
        for column, array in values.items():
            twin.tensors[column][1].copy_(torch.from_numpy(array))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles take along: not what is derived from the module."""
        return {name: held for name, held in vars(self).items() if name not in ("tensors", "make")}

    @torch.no_grad()
    def __call__(self, *sources: AnyArray) -> AnyArray:
        """What the module gives, float32."""
        tensors = [torch.tensor(np.asarray(source), dtype=torch.float32) for source in sources]
        return np.asarray(self.module(*tensors).cpu())

    def __eq__(self, other: object) -> bool:
        """Whether both are of one make and agree in every bit of every value."""
        if not isinstance(other, ModuleBody) or self.make != other.make:
            return self is other
        return all(same_bits(self.values(column), other.values(column)) for column in self.tensors)
