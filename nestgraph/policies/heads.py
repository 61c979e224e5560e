"""Growth of attention: heads, or slots of those that are there, where the loss would fall fastest."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from nestgraph.edits.batch import Batch, Reason
from nestgraph.edits.heads import grow_head, widen_heads
from nestgraph.edits.turning import turns
from nestgraph.errors import EditError
from nestgraph.graph.heads import links_of, sides, together
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import idle
from nestgraph.policies.policy import Policy, plastic_projections, proposal
from nestgraph.policies.ranking import groups

MEASURE = "norm of the gradient of what is new, at weights of 0"
"""What candidates are ranked by."""


class HeadGrowth(Policy):
    """Give attention more heads, or heads more slots, where the loss would fall fastest.

    Several are drawn for each place and tried. What is new ends in weights of 0, so that the outputs stay; the norm of
    the gradient of these weights says how fast the loss would fall, as of neurons by GradMax (Evci et al. 2022,
    arXiv:2201.05125). The largest is kept.

    Attributes:
        add: `heads` with queries, keys and values of their own (`grow_head`), or `slots`, whose queries are 0, to heads
            that are there (`widen_heads`), to those that have keys or values in common together.
        units: how many heads to add, or to widen, in one edit, in each layer of heads (`scope` layer) or in all
            (global).
        width: slots of a new head, by default as many as the widest has; or slots that are added, by default 1, or a
            pair where rotary positions turn them.
        candidates: how many to draw for each place and each that is added.
        limit: the most heads that growth gives a layer, or slots that it gives a head; None for no limit.
    """

    kind: Literal["head_growth"] = "head_growth"
    add: Literal["heads", "slots"] = "heads"
    units: PositiveInt = 1
    width: PositiveInt | None = None
    candidates: PositiveInt = 4
    scope: Literal["layer", "global"] = "layer"
    limit: PositiveInt | None = None
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"trial"})

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Add heads or slots one after the other, each tried beside the ones before it."""
        layers = [name for name in network.layer_names if network.matches(name)]
        edits: list[Batch] = []
        reasons: list[Reason] = []
        drawn = 0
        for group in groups(layers, self.scope == "global"):
            for _ in range(max(1, round(self.units * scale))):
                found = [each for layer in group for each in self._candidates(network, layer, rng)]
                drawn += len(found)
                tried = [edit.apply(network).network for _, _, edit in found]
                gains = [gain(network, after, evidence) for after in tried]
                ranked = sorted((-size, place) for place, size in enumerate(gains) if np.isfinite(size) and size > 0)
                if ranked:
                    best = ranked[0][1]
                    edits.append(found[best][2])
                    reasons.append(_reason(network, tried[best], *found[best][:2], ranked))
                    network = tried[best]
        if not edits:
            return idle(
                (not layers, "no layer is one of heads of attention"),
                (not drawn and self.limit is not None, f"no head can come, or all have their limit of {self.limit}"),
                (not drawn, "no layer of heads has queries, keys and values that convolutions feed"),
                (True, "no candidate has a finite gradient other than 0"),
            )
        verb = "grow" if self.add == "heads" else "widen"
        return Batch(edits=tuple(edits), title=f"{verb} {len(edits)} heads", reasons=tuple(reasons))

    def _candidates(
        self, network: Network, layer: str, rng: np.random.Generator
    ) -> Iterator[tuple[str, int | None, Batch]]:
        """Edits for a layer, each with its name and a head that it widens; none where it cannot grow."""
        places = [None] if self.add == "heads" else together(network, layer)
        for place in places:
            if self._full(network, layer, place):
                continue
            count = 0 if place is None else self._slots(network, layer, place)
            for _ in range(self.candidates):
                try:
                    if place is None:
                        yield layer, None, grow_head(network, layer, rng, self.width)
                    else:
                        yield (
                            layer,
                            place[0],
                            widen_heads(network, layer, count, rng, place),
                        )
                except EditError:  # its queries, keys or values are no units that could come
                    break

    def _full(self, structure: Structure, layer: str, heads: list[int] | None) -> bool:
        if self.limit is None:
            return False
        if heads is None:
            return len(structure.units(layer)) >= self.limit
        slots = [links_of(structure, match).ids(0) for match, _ in sides(structure, layer)["query"]]
        widest = max((int(np.count_nonzero(at == head)) for at in slots for head in heads), default=0)
        return widest + self._slots(structure, layer, heads) > self.limit

    def _slots(self, structure: Structure, layer: str, heads: list[int]) -> int:
        """How many come to each of some heads: by default as few as can."""
        turned = turns(structure, layer, heads[0]) if self.width is None else None
        return self.width or min((len(turn.slots) for turn in turned or ()), default=1)


def _reason(
    before: Network, after: Network, layer: str, head: int | None, ranked: Sequence[tuple[float, int]]
) -> Reason:
    """The gain of the candidate that was kept, against that of the next best."""
    unit = int(np.setdiff1d(after.units(layer), before.units(layer))[0]) if head is None else head
    bound = -ranked[1][0] if len(ranked) > 1 else None
    return Reason(place=layer, unit=unit, measure=MEASURE, value=-ranked[0][0], bound=bound)


def gain(before: Network, after: Network, evidence: Evidence) -> float:
    """The norm of the gradient of the connections by which a network has units that another one has not.

    Where what is new gives nothing yet, only the weights of 0 that keep it from that have a gradient. Of these a step
    of gradient descent lowers the loss by its rate times the square of the norm, to first order.
    """
    slopes, total = Evidence(gradients=evidence.slopes(after)), 0.0
    for projection in plastic_projections(after):
        columns, ends = after.wired(projection.name)
        born = [~np.isin(after.units(name), before.units(name)) for name in (projection.target, projection.source)]
        if any(map(np.any, born)):
            new = columns.spread(born[0], 0, ends) | columns.spread(born[1], 1, ends)
            new = np.broadcast_to(new, columns.mask.shape)
            for rows, gradient in slopes.by_rows("gradients", projection.name, columns.weight.shape):
                counted = np.where(new[rows] & columns.mask[rows], gradient, 0.0)
                total += float(np.square(counted, dtype=np.float64).sum())
    return float(np.sqrt(total))
