"""Growth of connections: where a dormant one is woken, and the weight it starts with (NeST section 3.1.1)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from nestgraph.edits.batch import Batch
from nestgraph.edits.connections import SetMask
from nestgraph.edits.growing import wake_connections
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import asleep_entries
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import idle, no_projections, none_dormant, none_ranked
from nestgraph.policies.policy import Policy, ProjectionNames, last_chosen, plastic_projections, proposal
from nestgraph.policies.ranking import NEVER, Fraction, Ranked, Scope, Scores, largest, row_blocks
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
    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> Scores:
        """What is woken first, for each entry of the weights; `NEVER` where nothing can be."""

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Wake the entries with the largest scores."""
        names = [p.name for p in plastic_projections(network, self.projections)]
        scores = {name: self.scores(network, name, evidence, rng) for name in names}
        sizes = {name: network.connection_columns(name).mask.size for name in names}
        found = largest(scores, sizes, self.fraction * scale, self.scope)
        if not found:
            lacks = (no_projections(names, self.projections), none_dormant(network, names), none_ranked(self.measure))
            return idle(*lacks)
        edits = woken(network, found, self.weight, self.rate, evidence, rng)
        total = sum(len(edit.entries) for edit in edits)
        return Batch(edits=edits, title=f"grow {total} connections", reasons=last_chosen(self.measure, found))


class ConnectionGrowth(Waking):
    """Wake the dormant connections whose loss gradient is largest; none that has no gradient.

    |dL/dW_ij| = |dL/du_j * x_i|: units that fire together wire together. Beside a budget its square, which is what a
    step along it wins, is by what a connection costs.
    """

    kind: Literal["connection_growth"] = "connection_growth"
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"gradients"})

    @property
    def measure(self) -> str:
        """What connections are ranked by."""
        return GRADIENT

    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> Scores:  # noqa: ARG002
        """|gradient| of dormant entries."""
        price = evidence.prices.get(projection, 1.0) ** 0.5
        return (scores / price for scores in gradient_scores(network, projection, evidence))


def gradient_scores(structure: Structure, projection: str, evidence: Evidence) -> Iterator[AnyArray]:
    """|gradient| where a connection is dormant and has one: what gets no gradient, such as the empty border of an
    image, is not grown.
    """
    asleep = asleep_entries(structure, projection)
    for rows, gradient in evidence.by_rows("gradients", projection, asleep.shape):
        dormant = asleep[rows] & np.isfinite(gradient) & (gradient != 0)
        yield np.where(dormant, np.abs(gradient), NEVER)


def random_scores(structure: Structure, projection: str, rng: np.random.Generator) -> Iterator[AnyArray]:
    """Random scores of the dormant entries."""
    asleep = asleep_entries(structure, projection)
    for rows in row_blocks(asleep.shape):
        yield np.where(asleep[rows], rng.random(asleep[rows].shape), NEVER)


def woken(
    structure: Structure,
    found: Mapping[str, Ranked],
    weight: StartingWeight,
    rate: float,
    evidence: Evidence,
    rng: np.random.Generator,
) -> tuple[SetMask, ...]:
    """The edits that wake entries of projections with the starting weights that `Waking` describes."""
    edits: list[SetMask] = []
    for name, ranked in found.items():
        weights, columns = None, structure.connection_columns(name)
        if weight == "gradient":
            weights = -rate * evidence.at("gradients", name, columns.weight.shape, ranked.entries)
        elif weight == "random":
            weights = rate * mean_size(columns.weight) * rng.standard_normal(len(ranked.entries))
        edits.append(wake_connections(structure, name, ranked.entries, weights))
    return tuple(edits)


def mean_size(weights: AnyArray) -> float:
    """Mean |weight| over the non-zero ones; 1 where there are none."""
    live = np.abs(weights[weights != 0])
    return float(live.mean()) if live.size else 1.0
