"""Padding in PyTorch: a function of its own for each mode and number of extents in ATen."""

from collections.abc import Sequence
from typing import Any

from torch import fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import pads
from nestgraph.lowering.operations.room import Handler, Room, Row, UncoveredError, Weaving
from nestgraph.spec import Layer, Pad

AXES = (1, 2, 3)


def emit(emission: Emission, _layer: Layer, operation: Pad, _path: str, x: fx.Node) -> fx.Node:
    """A padding; a negative one cuts off."""
    ends = pads(tuple(zip(operation.before, operation.after, strict=True)))
    value = {"value": operation.value} if operation.mode == "constant" else {}
    return emission.call(functional.pad, x, ends, mode=operation.mode, **value)


def pad(
    weaving: Weaving[Any], input: Any, pad: Sequence[Any], mode: Any = "constant", value: float | None = None
) -> Any:
    """A call of `pad`, of places; units stand along the first axis behind the samples, or along the last."""
    axes = len(weaving.shape(input))
    if not all(isinstance(amount, int) for amount in pad) or len(pad) > 2 * axes:
        raise UncoveredError("a padding by what is computed, or of samples")
    ends = [(int(pad[2 * at]), int(pad[2 * at + 1])) for at in range(len(pad) // 2)]
    ends = [*reversed(ends + [(0, 0)] * (axes - len(ends)))]  # of (units, *size), from the last axis on in `pad`
    inside, outward = (input, _same) if weaving.of_units(input) else weaving.inward(input)
    if inside is not input:
        ends = [ends[-1], *ends[:-1]]
    if any(ends[0]) or len(weaving.size(inside)) != axes - 1:
        raise UncoveredError("a padding of units")
    if not any(map(any, ends)):
        return input
    before, after = zip(*ends[1:], strict=True)
    return outward(weaving.operated(inside, Pad(before=before, after=after, mode=mode, value=float(value or 0))))


def _same(x: Any) -> Any:
    return x


def _by_mode(mode: str) -> Handler:
    """What reads a call of a function that pads in one way."""

    def handle(weaving: Weaving[Any], input: Any, padding: Sequence[Any]) -> Any:
        return pad(weaving, input, padding, mode)

    return handle


def _constant(weaving: Weaving[Any], input: Any, pad_amounts: Sequence[Any], value: float = 0) -> Any:
    return pad(weaving, input, pad_amounts, "constant", value)


def _module(mode: str) -> Row:
    def row(module: nn.Module) -> Handler:
        def read(weaving: Weaving[Any], x: Any) -> Any:
            amounts: Any = module.padding
            return pad(weaving, x, amounts, mode, getattr(module, "value", None))

        return read

    return row


MODES = {
    "constant": (
        *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
        *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    ),
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
}
ROOM = Room(
    Pad,
    emit,
    functions={
        "pad": pad,
        "constant_pad_nd": _constant,
        **{f"reflection_pad{axes}d": _by_mode("reflect") for axes in AXES},
        **{f"replication_pad{axes}d": _by_mode("replicate") for axes in AXES},
    },
    modules={module: _module(mode) for mode, modules in MODES.items() for module in modules},
)
