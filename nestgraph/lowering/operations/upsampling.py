"""Interpolation in PyTorch."""

from typing import Any

from torch import fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Room, UncoveredError, Weaving, along, with_attributes
from nestgraph.spec import Layer, Upsampling

LINEAR = ("linear", "bilinear", "trilinear")
"""What PyTorch calls linear interpolation, by the number of extents."""


def emit(emission: Emission, _layer: Layer, operation: Upsampling, _path: str, x: fx.Node) -> fx.Node:
    """An interpolation; PyTorch refuses `align_corners` in mode nearest."""
    linear = operation.mode == "bilinear"
    mode = LINEAR[len(operation.size) - 1] if linear else operation.mode
    corners = {"align_corners": operation.align_corners} if linear else {}
    extents = {"size": operation.size} if operation.scale is None else {"scale_factor": operation.scale}
    return emission.call(functional.interpolate, x, **extents, mode=mode, **corners)


def interpolate(
    weaving: Weaving[Any],
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """A call of `interpolate`, nearest or linear. With `recompute_scale_factor` factors are a size here."""
    extents = weaving.size(input)
    axes, linear = len(extents), LINEAR[len(extents) - 1]
    if antialias or mode not in ("nearest", linear):
        raise UncoveredError(f"an interpolation by {mode!r}" + ", antialiased" * antialias)
    factors = None if size is not None else tuple(map(float, along(scale_factor, axes)))
    scaled = zip(extents, factors or (1.0,) * axes, strict=True)
    whole = along(size, axes) if factors is None else tuple(int(e * f) for e, f in scaled)
    kept = None if recompute_scale_factor and factors and any(factor % 1 for factor in factors) else factors
    kind = "nearest" if mode == "nearest" else "bilinear"
    return weaving.operated(input, Upsampling(mode=kind, size=whole, align_corners=bool(align_corners), scale=kept))


_OPTIONS = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")
ROOM = Room(
    Upsampling,
    emit,
    functions={"interpolate": interpolate},
    modules={
        module: with_attributes(interpolate, *_OPTIONS)
        for module in (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
    },
)
