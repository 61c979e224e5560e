"""Dynamic sparse training: connections move to better places, and as many stay."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.pruning import prune_connections
from nestgraph.graph.network import Network
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import Lack, idle, no_projections, none_dormant, none_ranked
from nestgraph.policies.policy import Policy, ProjectionNames, last_chosen, plastic_projections, proposal
from nestgraph.policies.pruning import WEIGHT, sizes, unpruned, weakness
from nestgraph.policies.ranking import Fraction, Ranked, Scope, Scores, budget, chosen, fewer, groups
from nestgraph.policies.waking import CHANCE, GRADIENT, Factor, gradient_scores, random_scores, woken
from nestgraph.spec.options import Beside


class Rewiring(Policy, ABC):
    """Drop the connections with the smallest effective weight and wake as many dormant ones, in one edit.

    What is dropped is not woken again in the same edit; fewer are dropped where fewer can be woken. The count of
    connections stays unless a unit loses its last path: it goes with its connections.

    Attributes:
        fraction: of the active connections of a projection (`scope` projection) or of the network (global), how
            many to move in one edit; at least one.
        projections: the names of those it is for, where others have policies of their own; None for all.
        weight: what a woken connection starts with: zero, or a random weight, normal with a deviation of `rate`
            times the projection's mean |weight|.
    """

    fraction: Fraction = 0.1
    scope: Scope = "projection"
    projections: ProjectionNames | None = None
    weight: Literal["zero", "random"] = "zero"
    rate: Factor = 0.1
    beside: ClassVar = {"rate": (Beside.of("weight", "random"),)}

    @property
    @abstractmethod
    def measure(self) -> str:
        """What connections are woken by, in words for people."""

    @abstractmethod
    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> Scores:
        """Which dormant entries are woken first; `NEVER` where none can be."""

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Wake the entries with the largest scores, then prune as many of the old ones."""
        names = [p.name for p in plastic_projections(network, self.projections)]
        active = {name: network.connection_columns(name).active for name in names}
        dropped: dict[str, Ranked] = {}
        grown: dict[str, Ranked] = {}
        goes = comes = False
        for group in groups(names, self.scope == "global"):
            most = budget(active, group, self.fraction * scale)
            weak = chosen({name: weakness(network, name, sizes(network, name)) for name in group}, most)
            best = chosen({name: self.scores(network, name, evidence, rng) for name in group}, most)
            count = min(_entries(weak), _entries(best))
            dropped |= fewer(weak, count)
            grown |= fewer(best, count)
            goes, comes = goes or bool(weak), comes or bool(best)
        if not grown:
            return idle(no_projections(names, self.projections), *self._lacks(network, names, goes, comes))
        edits = woken(network, grown, self.weight, self.rate, evidence, rng)
        structure, _ = Batch(edits=edits).change(network)
        pruned = prune_connections(structure, {name: each.entries for name, each in dropped.items()})
        reasons = last_chosen(self.measure, grown) + last_chosen(WEIGHT, dropped, weakest=True)
        return Batch(edits=(*edits, *pruned.edits), title=f"move {_entries(dropped)} connections", reasons=reasons)

    def _lacks(self, network: Network, names: Collection[str], goes: bool, comes: bool) -> Iterator[Lack]:
        """Why nothing is moved, where nothing is: nothing goes, or nothing comes, or each in other projections."""
        if not goes:
            yield from unpruned(network, names, WEIGHT)
        yield none_dormant(network, names)
        if not comes:
            yield none_ranked(self.measure)
        yield True, "no projection has both a connection that may be pruned and one that can be woken"


def _entries(ranked: Mapping[str, Ranked]) -> int:
    return sum(len(each.entries) for each in ranked.values())


class RigL(Rewiring):
    """Wake where the loss gradient is largest (Evci et al. 2020)."""

    kind: Literal["rigl"] = "rigl"
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"gradients"})

    @property
    def measure(self) -> str:
        """What connections are woken by."""
        return GRADIENT

    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> Scores:  # noqa: ARG002
        """|gradient| of dormant entries."""
        return gradient_scores(network, projection, evidence)


class SparseEvolution(Rewiring):
    """Wake at random: sparse evolutionary training, SET (Mocanu et al. 2018)."""

    kind: Literal["set"] = "set"

    @property
    def measure(self) -> str:
        """What connections are woken by."""
        return CHANCE

    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> Scores:  # noqa: ARG002
        """Random scores of dormant entries."""
        return random_scores(network, projection, rng)
