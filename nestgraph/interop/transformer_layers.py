"""The attention and the layers of transformers that PyTorch has as modules, whose own forward samples are mixed in."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from nestgraph.interop.arithmetic import add
from nestgraph.interop.elements import Elements
from nestgraph.interop.heads import scaled_dot_product_attention
from nestgraph.interop.masks import Mask, parted
from nestgraph.interop.vocabulary import FUNCTIONS
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import Handler, UncoveredError

Rows = Callable[[nn.Module, Weaver, Elements], Elements]
"""(module, weaver, input) -> what the row of another module makes of it."""


def attention(module: nn.MultiheadAttention) -> Handler:
    """The row of `nn.MultiheadAttention` with `batch_first`; the weights beside what it mixes are not read."""

    def row(
        weaver: Weaver,
        query: Elements,
        key: Elements,
        value: Elements,
        key_padding_mask: Any = None,
        need_weights: bool = True,  # noqa: ARG001
        attn_mask: Any = None,
        average_attn_weights: bool = True,  # noqa: ARG001
        is_causal: bool = False,  # noqa: ARG001  (a hint: the mask says the same)
    ) -> tuple[Elements, None]:
        mask = both(attn_mask, key_padding_mask, query, cast("int", module.num_heads))
        return _attended(module, weaver, query, key, value, mask), None

    return row


def both(mask: Any, padding: Any, query: Elements, heads: int) -> Mask | Tensor | None:
    """The mask of scores that two of PyTorch's modules are, of rows and columns and of columns that are padding.

    In both, true says that a score does not count; numbers are added to scores.

    Raises:
        UncoveredError: they are none of constants and of an input of padding.
    """
    found: Tensor | None = None
    if isinstance(mask, Tensor):
        found = ~mask if mask.dtype == torch.bool else mask
        found = found.view(-1, heads, *found.shape[1:]) if found.ndim == 3 else found
    elif mask is not None:
        raise UncoveredError("attention under a mask that the inputs decide")
    if padding is None:
        return found
    if not isinstance(padding, Mask):
        raise UncoveredError("attention under masks of other kinds")
    rows = query.shape[1]
    shown = padding.negative.moved(lambda tensor: tensor[:, None, None].expand(-1, heads, rows, -1))
    if found is None:
        return shown
    allowed, added = parted(found)
    shown = shown.under(allowed)
    return shown if added is None else shown.adding(added)


def _attended(
    module: nn.MultiheadAttention, weaver: Weaver, query: Elements, key: Elements, value: Elements, mask: Any
) -> Elements:
    if not module.batch_first or module.bias_k is not None or module.add_zero_attn:
        raise UncoveredError("attention without batch_first, or with keys of its own")
    heads, each, stem = cast("int", module.num_heads), cast("int", module.head_dim), weaver.name
    packed, shift = cast("Tensor | None", module.in_proj_weight), cast("Tensor | None", module.in_proj_bias)
    weights: tuple[Tensor, ...] = (
        (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight) if packed is None else packed.chunk(3)
    )
    biases = (None,) * 3 if shift is None else shift.chunk(3)
    sides: list[Elements] = []
    for letter, x, weight, bias in zip("qkv", (query, key, value), weights, biases, strict=True):
        weaver.name = f"{stem}_{letter}"
        found = weaver.linear(x, weight, bias)
        split: Tensor = found.index.view(*found.shape[:2], heads, each)
        sides.append(Elements(split.transpose(1, 2), found.regions))
    weaver.name = f"{stem}_heads"
    mixed = scaled_dot_product_attention(weaver, *sides, attn_mask=mask, dropout_p=module.dropout)
    weaver.name = stem
    flat = Elements(mixed.index.transpose(1, 2).flatten(2), mixed.regions)
    return weaver.linear(flat, module.out_proj.weight, cast("Tensor | None", module.out_proj.bias))


def encoder_layer(rows: Rows) -> Callable[[nn.TransformerEncoderLayer], Handler]:
    """The row of `nn.TransformerEncoderLayer`, of the rows of its parts."""

    def of(module: nn.TransformerEncoderLayer) -> Handler:
        def row(
            weaver: Weaver,
            src: Elements,
            src_mask: Any = None,
            src_key_padding_mask: Any = None,
            is_causal: bool = False,  # noqa: ARG001
        ) -> Elements:
            mask = both(src_mask, src_key_padding_mask, src, module.self_attn.num_heads)
            part = _Parts(module, weaver, rows)

            def attended(x: Elements) -> Elements:
                mixed = part.named("self_attn", lambda: _attended(module.self_attn, weaver, x, x, x, mask))
                return part("dropout1", mixed)

            return part.residual(part.residual(src, "norm1", attended), "norm2", part.fed_forward)

        return row

    return of


def encoder(rows: Rows) -> Callable[[nn.TransformerEncoder], Handler]:
    """The row of `nn.TransformerEncoder`, of the rows of its parts."""

    def of(module: nn.TransformerEncoder) -> Handler:
        def row(
            weaver: Weaver,
            src: Elements,
            mask: Any = None,
            src_key_padding_mask: Any = None,
            is_causal: Any = None,  # noqa: ARG001
        ) -> Elements:
            stem = weaver.name
            for number, layer in enumerate(module.layers):
                weaver.name = f"{stem}_layers_{number}"
                made = encoder_layer(rows)(cast(nn.TransformerEncoderLayer, layer))
                src = made(weaver, src, mask, src_key_padding_mask)
            weaver.name = f"{stem}_norm"
            return src if module.norm is None else rows(module.norm, weaver, src)

        return row

    return of


class _Parts:
    """The parts of a layer of a transformer, each read by its own row."""

    def __init__(self, module: nn.TransformerEncoderLayer, weaver: Weaver, rows: Rows) -> None:
        self._module, self._weaver, self._rows, self._stem = module, weaver, rows, weaver.name

    def named(self, name: str, made: Callable[[], Elements]) -> Elements:
        """What is made under the name of a part."""
        self._weaver.name = f"{self._stem}_{name}"
        found = made()
        self._weaver.name = self._stem
        return found

    def __call__(self, name: str, x: Elements) -> Elements:
        """What a part makes of `x`."""
        return self.named(name, lambda: self._rows(self._module.get_submodule(name), self._weaver, x))

    def residual(self, x: Elements, norm: str, inner: Callable[[Elements], Elements]) -> Elements:
        """`x` and what is made of it, with the normalisation before or after."""
        self._weaver.settle(x)
        if self._module.norm_first:
            return add(self._weaver, x, inner(self(norm, x)))
        return self(norm, add(self._weaver, x, inner(x)))

    def fed_forward(self, x: Elements) -> Elements:
        """Two linear maps with an activation between them."""
        x, activation = self("linear1", x), cast("Callable[..., Any]", self._module.activation)
        if isinstance(activation, nn.Module):
            x = self("activation", x)
        elif activation.__name__ in FUNCTIONS:
            x = FUNCTIONS[activation.__name__](self._weaver, x)
        else:
            raise UncoveredError(f"an activation {activation.__name__!r} that has no kind")
        return self("dropout2", self("linear2", self("dropout", x)))
