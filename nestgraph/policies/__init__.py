"""Policies: where to grow and prune, as pure functions of network, evidence and a random generator."""

from typing import Annotated

from pydantic import Field

from nestgraph.policies.area import AreaPruning
from nestgraph.policies.baselines import RandomGrowth, RandomPruning, Snip
from nestgraph.policies.dynamic import RigL, SparseEvolution
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.growth import NeuronGrowth
from nestgraph.policies.heads import HeadGrowth
from nestgraph.policies.importance import ImportancePruning
from nestgraph.policies.maps import MapGrowth
from nestgraph.policies.policy import Policy, bridged_layers, possible_skips
from nestgraph.policies.pruning import ConnectionPruning, MagnitudePruning, UnitPruning, effective_weight
from nestgraph.policies.skips import SkipGrowth
from nestgraph.policies.waking import ConnectionGrowth

GrowthPolicy = Annotated[
    ConnectionGrowth | NeuronGrowth | MapGrowth | HeadGrowth | SkipGrowth | RandomGrowth | RigL | SparseEvolution,
    Field(discriminator="kind"),
]
PruningPolicy = Annotated[
    MagnitudePruning | UnitPruning | ImportancePruning | AreaPruning | Snip | RandomPruning | RigL | SparseEvolution,
    Field(discriminator="kind"),
]

__all__ = [
    "AreaPruning",
    "ConnectionGrowth",
    "ConnectionPruning",
    "Evidence",
    "EvidenceKind",
    "GrowthPolicy",
    "HeadGrowth",
    "ImportancePruning",
    "MagnitudePruning",
    "MapGrowth",
    "NeuronGrowth",
    "Policy",
    "PruningPolicy",
    "RandomGrowth",
    "RandomPruning",
    "RigL",
    "SkipGrowth",
    "Snip",
    "SparseEvolution",
    "UnitPruning",
    "bridged_layers",
    "effective_weight",
    "possible_skips",
]
