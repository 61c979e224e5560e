"""What attention becomes: a layer of heads that compares queries with keys, and one that it mixes."""

import math
from typing import Any

import numpy as np
from torch import Tensor

from nestgraph.graph.columns import Links, Slotted
from nestgraph.interop.elements import Elements, Refs
from nestgraph.interop.masks import NEVER, Mask, are_scores, hidden, is_never, lay, lets_earlier
from nestgraph.interop.passing import is_held
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.spec import Dropout, Match, Mix, OneToOne, Operation, Softmax
from nestgraph.spec.arrays import AnyArray


def scaled_dot_product_attention(
    weaver: Weaver,
    query: Elements,
    key: Elements,
    value: Elements,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Elements:
    """Attention of (batch[, heads], places, width): the scale is the weight of the links of queries."""
    query, key, value = (_with_heads(x) for x in (query, key, value))
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = (Elements(x.index.repeat_interleave(times, 1), x.regions) for x in (key, value))
    rows, columns, width = query.shape[2], key.shape[2], query.shape[3]
    if not isinstance(attn_mask, Mask | Tensor | None):
        raise UncoveredError("attention under a mask that the inputs decide")
    causal = is_causal or lets_earlier(attn_mask, rows, columns)
    chain: tuple[Operation, ...] = (Softmax(causal=causal),)
    if 0 < dropout_p < 1:
        chain = (*chain, Dropout(probability=dropout_p))
    scores = compared(weaver, query, key, 1 / math.sqrt(width) if scale is None else float(scale), chain, attn_mask)
    return mixed(weaver, scores, value)


def matmul(weaver: Weaver, input: Any, other: Any) -> Elements:
    """A product of queries and keys, or of heads and values, each (batch, heads, ..., ...)."""
    if not isinstance(input, Elements) or not isinstance(other, Elements):
        raise UncoveredError("a product of matrices that no layers are")
    if input.ndim != 4 or other.ndim != 4:
        raise UncoveredError("a product of matrices that are none of heads")
    if weaver.of_units(input):
        heads = weaver.ledger.refs(input)
        if all(len(weaver.ledger.regions[number].size) == 2 for number in heads.known):
            return mixed(weaver, input, other)
    return compared(weaver, input, Elements(other.index.transpose(2, 3), other.regions), 1.0, ())


def masked_fill(weaver: Weaver, input: Any, mask: Any, value: Any) -> Elements:
    """Scores of which a constant mask leaves some out."""
    if not isinstance(mask, Tensor) or not is_never(value):
        raise UncoveredError("masked_fill has no kind")
    return _left_out(weaver, input, ~mask.bool())


def where(weaver: Weaver, condition: Any, input: Any, other: Any) -> Elements:
    """The same, said of those that count."""
    if not isinstance(condition, Tensor) or not is_never(other):
        raise UncoveredError("where has no kind")
    return _left_out(weaver, input, condition.bool())


def _left_out(weaver: Weaver, scores: Any, counted: Tensor) -> Elements:
    if not isinstance(scores, Elements) or not are_scores(weaver, scores):
        raise UncoveredError("what a mask leaves out of other tensors than scores has no kind")
    return hidden(weaver, scores, counted)


def compared(
    weaver: Weaver,
    query: Elements,
    key: Elements,
    scale: float,
    chain: tuple[Operation, ...],
    mask: Mask | Tensor | None = None,
) -> Elements:
    """Heads (batch, heads, rows, columns) of queries and keys (batch, heads, places, width), after operations."""
    heads, rows, width = query.shape[1:]
    columns = key.shape[2]
    if key.shape[1] != heads or key.shape[3] != width:
        raise UncoveredError("queries and keys of different heads or widths")
    sides = {"query": (query, scale), "key": (key, 1.0)}
    read = {side: _one_layer(weaver, _by_unit(x)) for side, (x, _) in sides.items()}
    name = weaver.layer(heads, (rows, columns), operations=chain)
    slots = np.stack([np.repeat(np.arange(heads), width), np.tile(np.arange(width), heads)], 1)
    for side, (_, weight) in sides.items():
        source, refs = read[side]
        links = np.concatenate([refs.units[:, None], slots], 1)
        record = Match.model_validate({"source": source, "target": name, "side": side})
        weaver.drafts.join(record, Slotted.of(np.full(len(links), weight), links=links))
    if mask is not None:
        lay(weaver, name, mask, any(isinstance(one, Softmax) and one.causal for one in chain))
    return weaver.output(name)


def mixed(weaver: Weaver, heads: Elements, value: Elements) -> Elements:
    """What heads (batch, heads, rows, columns) make of values (batch, heads, columns, width)."""
    count, rows, columns = heads.shape[1:]
    if value.shape[1:3] != (count, columns):
        raise UncoveredError("values of other heads or places than what mixes them")
    width = value.shape[3]
    scores, by_head = _one_layer(weaver, heads)
    _fold_scale(weaver, scores)
    _see_earlier(weaver, scores)
    values = _by_unit(value)
    carried = weaver.ledger.refs(values)
    name = weaver.layer(count * width, (rows,))
    for number in carried.known:
        channels, units = carried.of(number)
        record = OneToOne(source=weaver.ledger.regions[number].layer, target=name)
        weaver.drafts.join(record, Links.of(np.ones(len(channels)), links=np.stack([units, channels], 1)))
    targets = np.arange(count * width)
    links = np.stack([by_head.units[targets // width], targets], 1)
    weaver.drafts.join(Mix(source=scores, target=name), Links.of(np.ones(len(targets)), links=links))
    result = weaver.output(name)
    return Elements(result.index.view(-1, count, width, rows).transpose(2, 3), result.regions)


def _fold_scale(weaver: Weaver, scores: str) -> None:
    """Take the scale of a layer of heads, which reads another one that nothing else does, into the query links."""
    incoming = [pair for pair in weaver.drafts.at(scores, 0) if weaver.drafts.at(pair[0].source, 0)[0][0].matches]
    if len(incoming) != 1 or not isinstance(incoming[0][0], OneToOne) or incoming[0][0].gate or incoming[0][0].trained:
        return
    (link, columns), plain = incoming[0], incoming[0][0].source
    draft, matches = weaver.drafts.layers[plain], weaver.drafts.at(plain, 0)
    bare = not (
        draft.record.operations
        or draft.record.bias
        or draft.record.output
        or is_held(weaver.ledger, plain, weaver.held)
    )
    if not isinstance(columns, Links) or not (columns.weight == columns.weight[0]).all():
        return
    if not (bare and len(weaver.drafts.at(plain, 1)) == 1 and all(p.matches for p, _ in matches)):
        return
    for match, slots in matches:
        if isinstance(match, Match) and isinstance(slots, Slotted):
            moved = slots.relinked(_renamed(slots.links, columns))
            scaled = moved.with_weight(moved.weight * (columns.weight[0] if match.side == "query" else 1))
            weaver.drafts.rejoin(match.model_copy(update={"target": scores}), scaled.ordered())
    weaver.drafts.part(link.name)


def _see_earlier(weaver: Weaver, heads: str) -> None:
    """Say that a softmax is causal where constants say so that are added to its scores."""
    draft = weaver.drafts.layers[heads]
    record = draft.record
    if not record.places or "places" not in record.frozen or record.operations[:1] != (Softmax(),):
        return
    earlier = np.tril(np.ones(record.size or (), bool))
    if (draft.columns["places"] == np.where(earlier, 0, np.float32(-NEVER))).all():
        weaver.drafts.take_places(heads, (Softmax(causal=True), *record.operations[1:]))


def _renamed(links: AnyArray, onward: Links) -> AnyArray:
    """Links to slots of heads as links to those of the heads that read them, one each."""
    heads = dict(zip(onward.ids(1).tolist(), onward.ids(0).tolist(), strict=True))
    return np.stack([links[:, 0], [heads[head] for head in links[:, 1].tolist()], links[:, 2]], 1)


def _with_heads(x: Elements) -> Elements:
    """(batch, heads, places, width), one head where there is no axis of them."""
    if x.ndim == 3:
        raise UncoveredError("attention without an axis of heads")
    if x.ndim != 4:
        raise UncoveredError(f"attention of tensors of {x.ndim} axes")
    return x


def _by_unit(x: Elements) -> Elements:
    """(batch, heads * width, places) from (batch, heads, places, width)."""
    return Elements(x.index.transpose(2, 3).flatten(1, 2), x.regions)


def _one_layer(weaver: Weaver, x: Elements) -> tuple[str, Refs]:
    """The layer whose units stand at the channels of a tensor, and these; a layer of its own where they are of many."""
    refs = weaver.ledger.refs(_unfolded(weaver, x))
    if len(refs.known) > 1:
        x = weaver.placed(x)
        refs = weaver.ledger.refs(x)
    return weaver.ledger.regions[refs.known[0]].layer, refs


def _unfolded(weaver: Weaver, x: Elements) -> Elements:
    """Units whose places stand in a row, with the size that they have."""
    return weaver.ledger.arrangement(x, axes=(1,)).inward(x)
