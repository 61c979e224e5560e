"""Growth of skip projections: connections past layers, where the bridging gradient is largest."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from nestgraph.edits.batch import Batch
from nestgraph.edits.layers import AddProjection, Block
from nestgraph.graph.network import Network
from nestgraph.graph.projections import meaning_of
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import idle
from nestgraph.policies.policy import Policy, last_chosen, possible_skips, proposal
from nestgraph.policies.ranking import NEVER, chosen
from nestgraph.policies.waking import Factor
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.options import Beside


class SkipGrowth(Policy):
    """Join two layers that no dense projection joins: the pair whose largest gradients sum up to most.

    The gradient of a connection that would lead from an earlier layer to a later one is their bridging gradient.
    `connection_growth` can wake more of the new projection later.

    Attributes:
        connections: how many connections the new projection starts with.
        weight: what they start with: zero, which keeps the output, or one gradient step of `rate`.
        limit: how many projections may lead into one layer; None for no limit.
    """

    kind: Literal["skip_growth"] = "skip_growth"
    connections: PositiveInt = 50
    weight: Literal["zero", "gradient"] = "zero"
    rate: Factor = 0.1
    limit: PositiveInt | None = None
    beside: ClassVar = {"rate": (Beside.of("weight", "gradient"),)}
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"skips"})

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:  # noqa: ARG002
        """Add the best skip projection; nothing where none has a gradient."""
        count = max(1, round(self.connections * scale))
        possible = possible_skips(network)
        room = [p for p in possible if self.limit is None or len(network.incoming(p.target)) < self.limit]
        measured = {p.name: evidence.of("skips", p.name, meaning_of(network, p).shape) for p in room}
        sizes = {name: _sizes(gradient) for name, gradient in measured.items()}
        found = {p: chosen({p.name: [sizes[p.name]]}, count) for p in room}
        best = max((p for p in room if found[p]), key=lambda p: found[p][p.name].scores.sum(), default=None)
        if best is None:
            return idle(
                (not possible, "dense projections join all pairs of layers that they could join"),
                (not room, f"each layer that could be joined has its limit of {self.limit} projections"),
                (True, "no connection that could be made has a finite gradient other than 0"),
            )
        gradient, entries = measured[best.name], found[best][best.name].entries
        weight, mask = np.zeros(gradient.shape, np.float32), np.zeros(gradient.shape, bool)
        mask.flat[entries] = True
        if self.weight == "gradient":
            weight.flat[entries] = -self.rate * gradient.flat[entries]
        edit = AddProjection(projection=best, connections=Block(weight=weight, mask=mask))
        title = f"grow {len(entries)} connections from {best.source} to {best.target}"
        reasons = last_chosen("|bridging gradient|", found[best])
        return Batch(edits=(edit,), title=title, reasons=reasons)


def _sizes(gradient: AnyArray) -> AnyArray:
    return np.where(np.isfinite(gradient) & (gradient != 0), np.abs(gradient), NEVER)
