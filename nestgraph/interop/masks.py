"""Masks of attention: which columns of scores count, as an input, a constant or both say, and what is added there.

A mask that an input holds, 1 where a token counts and 0 where it is padding, becomes a layer of one map a head, which
adds 0 or a number far below all scores.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from nestgraph.graph.columns import Links
from nestgraph.interop.elements import Elements
from nestgraph.interop.values import Foreign
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.lowering.tensors import as_array
from nestgraph.spec import OneToOne, Upsampling
from nestgraph.spec.arrays import AnyArray

NEVER = 1e4
"""What is taken off scores that do not count: their share then is 0 in each precision, half among them."""

NOTE = "each row is taken to attend to something: where a mask lets it see nothing, it sees all"


@dataclass(frozen=True)
class Mask(Foreign):
    """Which scores count: where the numbers of an input are not 0 and a constant lets them.

    Attributes:
        shown: the numbers of the input, in the shape of the mask.
        inverted: whether those count at which the input is 0.
        allowed: bool, in that shape: where a constant lets scores count.
        added: what is added to the scores that count; None for nothing.
    """

    shown: Elements
    inverted: bool
    allowed: Tensor
    added: Tensor | None = None

    @classmethod
    def of(cls, shown: Elements, inverted: bool = False) -> "Mask":
        """The mask that an input is."""
        reason = "a mask is read otherwise than by attention"
        return cls(shown.regions, reason, shown, inverted, torch.ones(shown.shape, dtype=torch.bool))

    def check(self) -> None:
        """Some functions read it."""

    @property
    def plain(self) -> bool:
        """Whether the input alone says what counts."""
        return self.added is None and bool(self.allowed.all())

    @property
    def negative(self) -> "Mask":
        """The mask by which the others count.

        Raises:
            UncoveredError: a constant has a part in it.
        """
        if not self.plain:
            raise UncoveredError("the negative of a mask that a constant has a part in")
        return replace(self, inverted=not self.inverted)

    def moved(self, move: Callable[[Tensor], Tensor]) -> "Mask":
        """What a function that moves elements makes of it."""
        index, allowed = move(self.shown.index), move(self.allowed)
        added = None if self.added is None else move(self.added.expand(self.allowed.shape))
        return replace(self, shown=Elements(index, self.regions), allowed=allowed, added=_as(self.added, added))

    def under(self, allowed: Tensor) -> "Mask":
        """The mask where a constant lets it."""
        if allowed.dtype != torch.bool:
            raise UncoveredError("a mask and numbers together")
        both = self._like(self.allowed & allowed)
        return replace(both, allowed=self.allowed & allowed)

    def adding(self, values: Tensor) -> "Mask":
        """The mask with more added to the scores that count."""
        if self.added is not None or not values.is_floating_point():
            raise UncoveredError("a mask that adds twice to scores")
        whole = self._like(self.allowed | torch.zeros(values.shape, dtype=torch.bool))
        return replace(whole, added=_as(values, values.expand(whole.allowed.shape)))

    def _like(self, other: Tensor) -> "Mask":
        """It in the shape of a tensor that it broadcasts to."""
        index = self.shown.index.expand(other.shape)
        return replace(self, shown=Elements(index, self.regions), allowed=self.allowed.expand(other.shape))


def _as(model: Tensor | None, values: Tensor | None) -> Tensor | None:
    """Values that train as those do that they were made from."""
    if values is None or not isinstance(model, nn.Parameter):
        return values
    return nn.Parameter(values.detach(), model.requires_grad)


def lets_earlier(mask: Mask | Tensor | None, rows: int, columns: int) -> bool:
    """Whether what is constant in a mask lets each row see the columns up to its own number alone.

    Raises:
        UncoveredError: it lets a row see nothing.
    """
    if mask is None:
        return False
    allowed = mask.allowed if isinstance(mask, Mask) else parted(mask)[0]
    if not allowed.any(-1).all():
        raise UncoveredError("a mask that lets a row attend to nothing")
    allowed = torch.broadcast_to(allowed, (*allowed.shape[:-2], rows, columns))
    return not bool(allowed.all()) and bool((allowed == torch.ones(rows, columns, dtype=torch.bool).tril()).all())


def lay(weaver: Weaver, heads: str, mask: Mask | Tensor, causal: bool = False) -> None:
    """Let a mask say which scores of a layer of heads count, and what is added to them.

    Args:
        weaver: writes what comes of it.
        heads: a layer whose sums nothing reads yet.
        mask: the mask, (batch, heads, rows, columns) or what broadcasts to it.
        causal: whether the operations of the layer see to what is constant in it.

    Raises:
        UncoveredError: it says so by head, or what it reads is no mask that came in.
    """
    draft = weaver.drafts.layers[heads]
    rows, columns = draft.record.size or (1, 1)
    shape = draft.units, rows, columns
    allowed, added = (mask.allowed, mask.added) if isinstance(mask, Mask) else parted(mask)
    if isinstance(mask, Mask):
        index = torch.broadcast_to(mask.shown.index, (len(mask.shown.index), *shape))
        _join(weaver, heads, Elements(index, mask.regions), mask.inverted)
    values = _spread(added if added is not None else torch.zeros(()), shape)
    unseen = np.float32(0 if causal else -NEVER)
    values = np.where(_spread(allowed, shape), values, unseen)
    if not values.any() and not isinstance(added, nn.Parameter):
        return
    trained = isinstance(added, nn.Parameter)
    weaver.drafts.give_places(heads, values, weaver.is_frozen(added) or not trained)
    if trained:
        draft.note("a value that places or units share has copies here, which train apart")


def is_never(value: Any) -> bool:
    """Whether a constant makes scores so small that they do not count."""
    least = value.max() if isinstance(value, Tensor) and value.numel() else value
    return isinstance(least, int | float | Tensor) and bool(least <= -NEVER)


def hides(values: Any) -> TypeGuard[Tensor]:
    """Whether constants that are added to scores, and do not train, leave out some of them."""
    if not isinstance(values, Tensor) or isinstance(values, nn.Parameter) or not values.is_floating_point():
        return False
    return bool((values <= torch.finfo(values.dtype).min / 2).any())


def are_scores(weaver: Weaver, x: Elements) -> bool:
    """Whether each number of a tensor compares a query with a key, whatever was added to it."""
    if not weaver.of_units(x):
        return False
    waiting = [weaver.ledger.regions[number].layer for number in weaver.ledger.refs(x).known]
    while waiting:
        incoming = [record for record, _ in weaver.drafts.at(waiting.pop(), 0)]
        if any(record.matches for record in incoming):
            return True
        waiting += [record.source for record in incoming if isinstance(record, OneToOne) and not record.gate]
    return False


def hidden(weaver: Weaver, scores: Any, mask: "Mask | Tensor") -> Any:
    """Scores, or constants that are added to them, that count where a mask says so.

    Raises:
        UncoveredError: see `lay`, or a constant lets a row see nothing.
    """
    if not isinstance(scores, Elements):
        if not isinstance(mask, Mask):
            raise UncoveredError("a mask of what are no scores")
        return mask.adding(scores if isinstance(scores, Tensor) else torch.tensor(float(scores)))
    region = weaver.ledger.in_order(scores)
    if region is None or len(region.size) != 2 or not _is_bare(weaver, scores, region.layer):
        scores = weaver.placed(scores)
        region = weaver.ledger.regions[-1]
    lets_earlier(mask, *scores.shape[2:])
    lay(weaver, region.layer, mask)
    return weaver.output(region.layer)


def _is_bare(weaver: Weaver, scores: Elements, layer: str) -> bool:
    """Whether more can be added to the sums of the layer that scores are: nothing works on them, or reads them yet."""
    draft = weaver.drafts.layers[layer]
    settled = draft.read or draft.record.kind == "input" or draft.record.operations or draft.record.places
    return not (settled or any(map(weaver.held, scores.regions)))


def parted(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """Which scores a constant mask lets count, and what it adds to them; None for nothing."""
    if mask.dtype == torch.bool:
        return mask, None
    seen = mask > torch.finfo(mask.dtype).min / 2
    return seen, _as(mask, torch.where(seen, mask, 0)) if isinstance(mask, nn.Parameter) or mask[seen].any() else None


def _spread(values: Tensor, shape: tuple[int, int, int]) -> AnyArray:
    """(heads, rows, columns): a constant for each score.

    Raises:
        UncoveredError: it differs between samples.
    """
    given = values.detach()
    whole = torch.broadcast_to(given, (len(given) if given.ndim == 4 else 1, *shape))
    if not torch.equal(whole, whole[:1].expand_as(whole)):
        raise UncoveredError("a mask of constants that differ between samples")
    return whole[0].numpy() if whole.dtype == torch.bool else as_array(whole[0])


def _join(weaver: Weaver, heads: str, shown: Elements, inverted: bool) -> None:
    """A layer of one map a head, of the numbers of an input, which it adds to the scores."""
    units, rows, columns = shown.shape[1:]
    own = shown.index[:, 0]
    if not torch.equal(own[:, None].expand_as(shown.index), shown.index):
        raise UncoveredError("a mask that differs between heads")
    if torch.equal(own[:, :1].expand_as(own), own):
        own = own[:, :1]
    region = weaver.ledger.whole_region(Elements(own, shown.regions))
    if region is None or not weaver.is_input(region.layer) or region.size != tuple(own.shape[1:]):
        raise UncoveredError("a mask that is no input as it came in")
    stem, weaver.name = weaver.name, f"{weaver.name}_mask"
    bias = np.full(units, 0.0 if inverted else -NEVER)
    name = weaver.layer(units, region.size, bias, frozen=("bias",), note=NOTE)
    weaver.name = stem
    links = np.stack([np.zeros(units, np.int64), np.arange(units)], 1)
    weight = np.full(units, -NEVER if inverted else NEVER)
    weaver.drafts.join(OneToOne(source=region.layer, target=name), Links.of(weight, links=links))
    if region.size != (rows, columns):
        weaver.drafts.append(name, Upsampling(mode="nearest", size=(rows, columns)), {})
    each = np.stack([np.arange(units)] * 2, 1)
    weaver.drafts.join(OneToOne(source=name, target=heads), Links.of(np.ones(units), links=each))
