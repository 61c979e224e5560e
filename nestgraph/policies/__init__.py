"""Policies: where to grow and prune, as pure functions of network, evidence and a random generator."""

from typing import Annotated

from pydantic import Field

from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.growth import ConnectionGrowth, NeuronGrowth
from nestgraph.policies.policy import Policy, bridged_layers
from nestgraph.policies.pruning import MagnitudePruning, UnitPruning, effective_weight

GrowthPolicy = Annotated[ConnectionGrowth | NeuronGrowth, Field(discriminator="kind")]
PruningPolicy = Annotated[MagnitudePruning | UnitPruning, Field(discriminator="kind")]

__all__ = [
    "ConnectionGrowth",
    "Evidence",
    "EvidenceKind",
    "GrowthPolicy",
    "MagnitudePruning",
    "NeuronGrowth",
    "Policy",
    "PruningPolicy",
    "UnitPruning",
    "bridged_layers",
    "effective_weight",
]
