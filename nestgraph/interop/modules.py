"""The table from the modules of PyTorch to what the weaver makes of them.

Those that are one operation are in its room.
"""

import inspect
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import type_before_parametrizations

from nestgraph.interop.elements import Elements
from nestgraph.interop.embeddings import embedding
from nestgraph.interop.pointwise import glu
from nestgraph.interop.transformer_layers import attention, encoder, encoder_layer
from nestgraph.interop.vocabulary import convolution, linear, transposed_convolution
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering import operations
from nestgraph.lowering.operations import Handler, Row, UncoveredError
from nestgraph.lowering.operations.pad import pad
from nestgraph.lowering.operations.room import with_attributes


def _pruned(module: nn.Module, name: str = "weight") -> Tensor | None:
    """What of a tensor `torch.nn.utils.prune` leaves; None where it prunes nothing of it."""
    hooks = cast("dict[int, Any]", vars(module)["_forward_pre_hooks"]).values()
    methods = [hook for hook in hooks if isinstance(hook, prune.BasePruningMethod)]
    return getattr(module, f"{name}_mask") if any(getattr(m, "_tensor_name", "") == name for m in methods) else None


def _linear(module: nn.Linear) -> Handler:
    def row(weaver: Weaver, x: Elements) -> Elements:
        return linear(weaver, x, module.weight, module.bias, _pruned(module))

    return row


def _convolution(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Handler:
    around = module.padding if module.padding_mode == "zeros" else 0

    def row(weaver: Weaver, x: Elements) -> Elements:
        if module.padding_mode != "zeros":
            x = pad(weaver, x, cast(Any, module)._reversed_padding_repeated_twice, module.padding_mode)
        sweep = (module.stride, around, module.dilation, module.groups)
        return convolution(weaver, x, module.weight, module.bias, *sweep, _pruned(module))

    return row


def _transposed(module: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) -> Handler:
    def row(weaver: Weaver, x: Elements, output_size: Any = None) -> Elements:
        sweep: dict[str, Any] = {
            "output_padding": module.output_padding,
            "groups": module.groups,
            "dilation": module.dilation,
        }
        if output_size is not None:
            given: Any = torch.empty(tuple(x.shape), device="meta")
            fields = (module.stride, module.padding, module.kernel_size, len(module.kernel_size), module.dilation)
            sweep["output_padding"] = cast(Any, module)._output_padding(given, list(output_size), *fields)
        fixed = (module.weight, module.bias, module.stride, module.padding)
        return transposed_convolution(weaver, x, *fixed, active=_pruned(module), **sweep)

    return row


def _part(module: nn.Module, weaver: Weaver, x: Elements) -> Elements:
    """What the row of a module inside another makes of `x`.

    Raises:
        UncoveredError: it has none.
    """
    if (kind := type(module)) not in MODULES:
        raise UncoveredError(f"{kind.__name__} has no kind")
    return MODULES[kind](module)(weaver, x)


MODULES: ChainMap[type[nn.Module], Row] = ChainMap(
    {
        nn.Linear: _linear,
        nn.Conv1d: _convolution,
        nn.Conv2d: _convolution,
        nn.Conv3d: _convolution,
        nn.ConvTranspose1d: _transposed,
        nn.ConvTranspose2d: _transposed,
        nn.ConvTranspose3d: _transposed,
        nn.Embedding: with_attributes(
            embedding, "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"
        ),
        nn.GLU: with_attributes(glu, "dim"),
        nn.MultiheadAttention: attention,
        nn.TransformerEncoderLayer: encoder_layer(_part),
        nn.TransformerEncoder: encoder(_part),
    },
    operations.MODULES,
)
"""Class of a module -> a module -> what the weaver makes of its input; a subclass is another class."""

MOVING_MODULES: tuple[type[nn.Module], ...] = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.ChannelShuffle,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
)
"""Modules that move elements and compute nothing."""


def read_call(module: nn.Module, weaver: Weaver, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the row of a module makes of a call, whose arguments may be named."""
    given = inspect.signature(module.forward).bind(*args, **kwargs)
    return MODULES[type_before_parametrizations(module)](module)(weaver, *given.args, **given.kwargs)
