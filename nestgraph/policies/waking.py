"""Growth of connections: where a dormant one is woken, and the weight it starts with (NeST section 3.1.1)."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from nestgraph.edits.batch import Batch
from nestgraph.edits.connections import SetMask
from nestgraph.edits.growing import wake_connections
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import idle, no_projections, none_dormant, none_ranked
from nestgraph.policies.policy import Policy, ProjectionNames, last_chosen, plastic_projections, proposal
from nestgraph.policies.ranking import NEVER, Fraction, Scope, largest
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.options import Beside

StartingWeight = Literal["zero", "random", "gradient"]
Factor = Annotated[float, Field(gt=0, le=1e20)]
GRADIENT, CHANCE = "|gradient|", "a random number"
"""What connections are woken by."""


class Waking(Policy, ABC):
    """What policies that wake connections have in common.

    Attributes:
        fraction: of the possible connections of a projection (`scope` projection) or of the network (global), how
            many to wake in one edit; at least one.
        projections: the names of those it is for, where others have policies of their own; None for all.
        weight: what a woken connection starts with: zero; a random weight, normal with a deviation of `rate` times
            the projection's mean |weight|; or one gradient step of `rate`.
    """

    fraction: Fraction = 0.05
    scope: Scope = "projection"
    projections: ProjectionNames | None = None
    weight: StartingWeight = "zero"
    rate: Factor = 0.1
    beside: ClassVar = {"rate": (Beside.of("weight", "random", "gradient"),)}

    @property
    @abstractmethod
    def measure(self) -> str:
        """What connections are ranked by, in words for people."""

    @abstractmethod
    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> AnyArray:
        """What is woken first, in the shape of the weights; `NEVER` where nothing can be."""

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Wake the entries with the largest scores."""
        names = [p.name for p in plastic_projections(network, self.projections)]
        scores = {name: self.scores(network, name, evidence, rng) for name in names}
        sizes = {name: values.size for name, values in scores.items()}
        found = largest(scores, sizes, self.fraction * scale, self.scope)
        if not found:
            lacks = (no_projections(names, self.projections), none_dormant(network, names), none_ranked(self.measure))
            return idle(*lacks)
        edits = [woken(network, name, at, self.weight, self.rate, evidence, rng) for name, at in found.items()]
        total = sum(len(edit.entries) for edit in edits)
        reasons = last_chosen(self.measure, scores, found)
        return Batch(edits=tuple(edits), title=f"grow {total} connections", reasons=reasons)


class ConnectionGrowth(Waking):
    """Wake the dormant connections whose loss gradient is largest; none that has no gradient.

    |dL/dW_ij| = |dL/du_j * x_i|: units that fire together wire together.
    """

    kind: Literal["connection_growth"] = "connection_growth"
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"gradients"})

    @property
    def measure(self) -> str:
        """What connections are ranked by."""
        return GRADIENT

    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> AnyArray:  # noqa: ARG002
        """|gradient| of dormant entries."""
        return gradient_scores(network, projection, evidence)


def gradient_scores(structure: Structure, projection: str, evidence: Evidence) -> AnyArray:
    """|gradient| where a connection is dormant and has one: what gets no gradient, such as the empty border of an
    image, is not grown.
    """
    mask = structure.connection_columns(projection).mask
    gradient = evidence.of("gradients", projection, mask.shape)
    dormant = ~mask & np.isfinite(gradient) & (gradient != 0)
    return np.where(dormant, np.abs(gradient), NEVER)


def random_scores(structure: Structure, projection: str, rng: np.random.Generator) -> AnyArray:
    """Random scores of the dormant entries."""
    mask = structure.connection_columns(projection).mask
    return np.where(mask, NEVER, rng.random(mask.shape))


def woken(
    structure: Structure,
    projection: str,
    entries: AnyArray,
    weight: StartingWeight,
    rate: float,
    evidence: Evidence,
    rng: np.random.Generator,
) -> SetMask:
    """The edit that wakes entries of a projection with the starting weights that `Waking` describes."""
    weights, columns = None, structure.connection_columns(projection)
    if weight == "gradient":
        weights = -rate * evidence.of("gradients", projection, columns.weight.shape).flat[entries]
    elif weight == "random":
        size = mean_size(columns.weight)
        weights = rate * size * rng.standard_normal(len(entries))
    return wake_connections(structure, projection, entries, weights)


def mean_size(weights: AnyArray) -> float:
    """Mean |weight| over the non-zero ones; 1 where there are none."""
    live = np.abs(weights[weights != 0])
    return float(live.mean()) if live.size else 1.0
