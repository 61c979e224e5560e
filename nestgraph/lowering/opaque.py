"""Opaque layers as PyTorch runs them: modules that no kind of layer covers, as they came and never trained."""

import copy
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, fx, nn

from nestgraph.errors import LoweringError
from nestgraph.graph.reference import body_of
from nestgraph.lowering.emission import Emission
from nestgraph.spec.arrays import AnyArray


class ModuleBody:
    """The body of an opaque layer (`nestgraph.graph.body`) that a PyTorch module computes, in evaluation mode.

    Attributes:
        module: takes a tensor (batch, units[, height, width]) for each argument and gives one for the layer.
    """

    def __init__(self, module: nn.Module) -> None:
        """Freeze a copy of the module, so that whoever has the original can go on training it."""
        self.module = frozen_copy(module)

    @property
    def parameter_count(self) -> int:
        """How many parameters the module has, each once."""
        return self.module.parameter_count

    @torch.no_grad()
    def __call__(self, *sources: AnyArray) -> AnyArray:
        """What the module gives, float32."""
        tensors = [torch.tensor(np.asarray(source), dtype=torch.float32) for source in sources]
        return np.asarray(self.module(*tensors).cpu())


class Frozen(nn.Module):
    """A module that stays in evaluation mode, and whose parameters are buffers: no optimizer finds them."""

    def __init__(self, module: nn.Module) -> None:
        """Take over a module, which is changed."""
        super().__init__()
        self.inner = module
        self.parameter_count = sum(parameter.numel() for parameter in module.parameters())
        seen: dict[int, Tensor] = {}
        for part in module.modules():
            for name, parameter in list(part.named_parameters(recurse=False, remove_duplicate=False)):
                delattr(part, name)
                part.register_buffer(name, seen.setdefault(id(parameter), parameter.detach()))
        self.train(False)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, *sources: Tensor) -> Tensor:
        """What the module gives."""
        return self.inner(*sources)


def frozen_copy(module: nn.Module) -> Frozen:
    """A copy of a module in which nothing trains."""
    return copy.deepcopy(module) if isinstance(module, Frozen) else Frozen(copy.deepcopy(module))


def emit_body(emission: Emission, layer: str, sources: list[fx.Node]) -> fx.Node:
    """Emit a call of a copy of an opaque layer's module.

    Raises:
        LoweringError: the body is no module.
        StructureError: there is no body.
    """
    body: Any = body_of(emission.network, layer)
    if not isinstance(body, ModuleBody):
        raise LoweringError(
            f"opaque layer {layer!r} expected a nestgraph.lowering.opaque.ModuleBody as its body to be lowered, got "
            f"{type(body).__name__}: give it by network.with_bodies"
        )
    path = f"{emission.layers[layer]}.body"
    emission.state[path] = frozen_copy(body.module)
    return emission.graph.call_module(path, tuple(sources))
