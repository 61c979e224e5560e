"""The one form of all policies: a frozen record of options that proposes an edit."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from itertools import count
from typing import Annotated, ClassVar

import numpy as np
from pydantic import AfterValidator, Field

from nestgraph.edits.batch import Batch, Reason
from nestgraph.errors import EditError, RecordError, StructureError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.options import Options
from nestgraph.spec.projection import Dense, Projection
from nestgraph.spec.record import Name


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"expected distinct names, got {twice!r} twice")
    return names


ProjectionNames = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)]
"""The projections that a policy is for: at least one."""


class Policy(Options, ABC):
    """A rule of where to grow or prune. Pure: the same network, evidence and generator give the same proposal."""

    needs: ClassVar[frozenset[EvidenceKind]] = frozenset()

    @abstractmethod
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """The edit this policy would make now; empty when it finds nothing to do: its title then says why.

        Args:
            network: the current network.
            evidence: at least the kinds named in `needs`.
            rng: the source of all random choices.
            scale: multiplies how much is proposed; the loop halves it where a step was too large.

        Raises:
            EditError: the proposal would cut an output unit off.
        """


proposal = checked(EditError, of=(StructureError, RecordError))
"""Decorates what policies propose: whatever does not fit the network is an `EditError`."""


def last_chosen(
    measure: str, values: Mapping[str, AnyArray], entries: Mapping[str, AnyArray], weakest: bool = False
) -> tuple[Reason, ...]:
    """By projection, the smallest of the values that were chosen as the largest; the largest where the weakest were.

    What is not finite is no reason.

    Args:
        measure: what the values are.
        values: by projection.
        entries: row-major positions of what was chosen, by projection.
        weakest: whether the smallest were chosen; then the values are what they are ranked by, less than 0.
    """
    last = {name: float(values[name].reshape(-1)[at].min()) for name, at in entries.items() if len(at)}
    finite = {name: -value if weakest else value for name, value in last.items() if math.isfinite(value)}
    return tuple(Reason(place=name, measure=measure, value=value) for name, value in finite.items())


def plastic_projections(structure: Structure, names: Collection[str] | None = None) -> tuple[Projection, ...]:
    """The projections whose connections are trained, and so can grow and be pruned; of these names only, if given.

    A gate has no dormant connections, so it is none of them.
    """
    chosen = (name for name in structure.projection_names if names is None or name in names)
    records = (structure.projection(name) for name in chosen)
    trained = (p for p in records if p.learns and not p.gates)
    return tuple(p for p in trained if structure.connection_columns(p.name).mask.size)


@checked(StructureError)
def bridged_layers(structure: Structure) -> dict[str, tuple[Dense, Dense]]:
    """The hidden layers of neurons that only dense projections touch, with the largest of these in and out.

    These are the layers that neuron growth by bridging gradients can widen. What a gated layer reads is none of them:
    the gradient of its pre-activation is not that of its sum. Nor is one that mixes its units, where a new unit would
    move what its neighbours give.
    """

    def largest(projections: tuple[Projection, ...]) -> Dense | None:
        dense = [p for p in projections if isinstance(p, Dense)]
        if len(dense) < len(projections):
            return None
        return max(dense, key=lambda p: structure.connection_columns(p.name).active, default=None)

    names = structure.layer_names
    ends = {name: (largest(structure.incoming(name)), largest(structure.outgoing(name))) for name in names}
    return {
        name: (before, after)
        for name, (before, after) in ends.items()
        if before and after and not structure.gates(after.target) and not structure.layer(name).mixes_units
    }


@checked(StructureError)
def possible_skips(structure: Structure) -> tuple[Dense, ...]:
    """The dense projections that could lead past layers: from any layer to a later one of neurons, where none leads.

    The later layer is one that sums dense projections already: one that only passes values on, by one-to-one
    projections, stays as it is, and so does a gated one. Names are free ones.
    """
    found: list[Dense] = []
    for place, target in enumerate(structure.layer_names):
        incoming = structure.incoming(target)
        fed = {p.source for p in incoming if isinstance(p, Dense)}
        for source in structure.layer_names[:place] if fed and not structure.gates(target) else ():
            record = structure.layer(source)
            if source not in fed and not record.output and record.classes is None and len(structure.units(source)):
                found.append(Dense(source=source, target=target, name=_free_name(structure, source, target)))
    return tuple(found)


def _free_name(structure: Structure, source: str, target: str) -> str:
    stem = f"{source}_to_{target}"[:56]
    return next(name for n in count() if not structure.has_projection(name := f"{stem}_skip{n or ''}"))
