"""The one form of all policies: a frozen record of options that proposes an edit."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.spec.projection import Dense, OneToOne, Projection
from nestgraph.spec.record import Record


class Policy(Record, ABC):
    """A rule of where to grow or prune. Pure: the same network, evidence and generator give the same proposal."""

    needs: ClassVar[frozenset[EvidenceKind]] = frozenset()

    @abstractmethod
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """The edit this policy would make now; empty when it finds nothing to do.

        Args:
            network: the current network.
            evidence: at least the kinds named in `needs`.
            rng: the source of all random choices.
            scale: multiplies how much is proposed; the loop halves it where a step was too large.

        Raises:
            EditError: the proposal would cut an output unit off.
        """


def plastic_projections(structure: Structure) -> tuple[Projection, ...]:
    """The projections whose connections are trained, and so can grow and be pruned."""
    records = (structure.projection(name) for name in structure.projection_names)
    trained = (p for p in records if not isinstance(p, OneToOne) or p.trained)
    return tuple(p for p in trained if structure.connection_columns(p.name).mask.size)


def bridged_layers(structure: Structure) -> dict[str, tuple[Dense, Dense]]:
    """The hidden layers of neurons with one dense projection in and one out, and those two.

    These are the layers that neuron growth by bridging gradients can widen.
    """
    found: dict[str, tuple[Dense, Dense]] = {}
    for name in structure.layer_names:
        incoming, outgoing = structure.incoming(name), structure.outgoing(name)
        if len(incoming) == len(outgoing) == 1:
            before, after = incoming[0], outgoing[0]
            if isinstance(before, Dense) and isinstance(after, Dense):
                found[name] = (before, after)
    return found
