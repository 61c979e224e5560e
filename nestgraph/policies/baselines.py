"""What growth and pruning are measured against: chance, and a saliency that looks at one gradient."""

from typing import ClassVar, Literal

import numpy as np

from nestgraph.graph.network import Network
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.pruning import ConnectionPruning
from nestgraph.policies.ranking import Scores
from nestgraph.policies.waking import CHANCE, Waking, random_scores
from nestgraph.spec.arrays import AnyArray


class RandomGrowth(Waking):
    """Wake dormant connections at random."""

    kind: Literal["random_growth"] = "random_growth"
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"gradients"})  # for the weight, where it is a gradient step

    @property
    def measure(self) -> str:
        """What connections are ranked by."""
        return CHANCE

    def scores(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> Scores:  # noqa: ARG002
        """Random scores of dormant entries."""
        return random_scores(network, projection, rng)


class RandomPruning(ConnectionPruning):
    """Remove active connections at random."""

    kind: Literal["random_pruning"] = "random_pruning"

    @property
    def measure(self) -> str:
        """What connections are ranked by."""
        return CHANCE

    def strength(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> AnyArray:  # noqa: ARG002
        """A random number for each connection."""
        return rng.random(network.connection_columns(projection).weight.shape)


class Snip(ConnectionPruning):
    """Remove the active connections with the smallest |w * dL/dw|: SNIP (Lee et al. 2019).

    To first order that is how much the loss moves when the connection goes, whatever normalisation follows.
    """

    kind: Literal["snip"] = "snip"
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"gradients"})

    @property
    def measure(self) -> str:
        """What connections are ranked by."""
        return "|weight x gradient|"

    def strength(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> AnyArray:  # noqa: ARG002
        """|weight * gradient|."""
        weight = network.connection_columns(projection).weight
        gradients = evidence.by_rows("gradients", projection, weight.shape)
        return np.concatenate([np.nan_to_num(np.abs(weight[rows] * gradient)) for rows, gradient in gradients])
