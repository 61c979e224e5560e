"""What spatial functions of PyTorch become: poolings, reductions over maps, interpolation, local response norms."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from nestgraph.interop.elements import Elements, UncoveredError
from nestgraph.interop.weaving import Weaver
from nestgraph.spec import AdaptivePooling, LocalResponseNorm, Pooling, Upsampling

Handler = Callable[..., Any]
MOST_TERMS = 16
"""Of a sum along an axis, each of which is a projection."""


def max_pool2d(
    weaver: Weaver,
    input: Elements,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Elements:
    """`nn.MaxPool2d`."""
    if return_indices or pair(dilation) != (1, 1):
        raise UncoveredError("a maximum pooling with dilation or indices")
    return _pooled(weaver, input, "max", kernel_size, stride, padding, ceil_mode=ceil_mode)


def avg_pool2d(
    weaver: Weaver,
    input: Elements,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Elements:
    """`nn.AvgPool2d`."""
    if divisor_override is not None:
        raise UncoveredError("an average pooling with a divisor of its own")
    options = (kernel_size, stride, padding)
    return _pooled(weaver, input, "average", *options, ceil_mode=ceil_mode, count_padding=count_include_pad)


def _pooled(
    weaver: Weaver, x: Elements, function: Any, kernel: Any, stride: Any, padding: Any, **options: Any
) -> Elements:
    window = pair(kernel)
    step = pair(stride) if stride else window
    return weaver.operated(x, Pooling(function=function, kernel=window, stride=step, padding=pair(padding), **options))


def adaptive(function: Any) -> Handler:
    """`nn.AdaptiveAvgPool2d` or `nn.AdaptiveMaxPool2d`."""

    def handle(weaver: Weaver, input: Elements, output_size: Any, return_indices: bool = False) -> Elements:
        if return_indices:
            raise UncoveredError("a maximum pooling with indices")
        return _adapted(weaver, input, function, output_size)

    return handle


def _adapted(weaver: Weaver, x: Elements, function: Any, output_size: Any) -> Elements:
    _need_maps(x)
    extents = tuple(x.index.shape[2:])
    size = tuple(
        extent if wanted is None else wanted for wanted, extent in zip(pair(output_size), extents, strict=True)
    )
    if size == extents:
        return x
    return weaver.operated(x, AdaptivePooling(function=function, size=cast("tuple[int, int]", size)))


def reduced(function: Any) -> Handler:
    """A mean, sum or maximum over height and width; a mean or sum over an axis along which units of layers stand."""

    def handle(weaver: Weaver, input: Elements, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Elements:
        chosen, axes = axis if dim is None else dim, input.index.ndim
        over = {number % axes for number in ((chosen,) if isinstance(chosen, int) else chosen or ())}
        if axes == 4 and over == {2, 3}:
            pooled = _adapted(weaver, input, "average" if function == "sum" else function, 1)
            if function == "sum":
                pooled = weaver.placed(pooled, float(input.index[0, 0].numel()))
            return pooled if keepdim else Elements(pooled.index.flatten(1), pooled.regions)
        if len(over) != 1 or function == "max":
            raise UncoveredError("a reduction over other axes than height and width")
        (place,) = over
        total = _added(weaver, input, place, function)
        return Elements(total.index.unsqueeze(place), total.regions) if keepdim else total

    return handle


def _added(weaver: Weaver, x: Elements, axis: int, function: Any) -> Elements:
    """The sum or average along an axis, of tensors that were stacked, say."""
    count = x.index.shape[axis]
    if not 0 < count <= MOST_TERMS:
        raise UncoveredError(f"a reduction over an axis of {count}")
    terms = [Elements(part, x.regions) for part in x.index.unbind(axis)]
    return weaver.sum(terms, [1 / count if function == "average" else 1] * count)


def interpolate(
    weaver: Weaver,
    input: Elements,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Elements:
    """`nn.Upsample`, by nearest or bilinear interpolation. With `recompute_scale_factor` factors are a size here."""
    _need_maps(input)
    if antialias or mode not in ("nearest", "bilinear"):
        raise UncoveredError(f"an interpolation by {mode!r}" + ", antialiased" * antialias)
    extents = tuple(input.index.shape[2:])
    factors = None if size is not None else cast("tuple[float, float]", tuple(map(float, pair(scale_factor))))
    scaled = zip(extents, factors or (1.0, 1.0), strict=True)
    whole = cast("tuple[int, int]", pair(size) if factors is None else tuple(int(e * f) for e, f in scaled))
    kept = None if recompute_scale_factor and factors and any(factor % 1 for factor in factors) else factors
    operation = Upsampling(mode=cast(Any, mode), size=whole, align_corners=bool(align_corners), scale=kept)
    return weaver.operated(input, operation)


def local_response_norm(
    weaver: Weaver,
    input: Elements,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Elements:
    """`nn.LocalResponseNorm`."""
    return weaver.operated(input, LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k))


def _need_maps(x: Elements) -> None:
    if x.index.ndim != 4:
        raise UncoveredError("a spatial operation over something else than (batch, maps, height, width)")


def pair(value: Any) -> tuple[Any, Any]:
    """(height, width) from one value for both, or one each."""
    values = tuple(cast("Sequence[Any]", value)) if isinstance(value, Sequence) else (value,)
    return values[0], values[-1]
