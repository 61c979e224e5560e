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
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.ranking import Ranked
from nestgraph.spec.arguments import checked
from nestgraph.spec.extents import Size
from nestgraph.spec.options import Options
from nestgraph.spec.projection import Conv, Dense, Projection
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


def last_chosen(measure: str, ranked: Mapping[str, Ranked], weakest: bool = False) -> tuple[Reason, ...]:
    """By projection, the smallest of the scores that were chosen as the largest; the largest where the weakest were.

    What is not finite is no reason.

    Args:
        measure: what the scores are.
        ranked: what was chosen, by projection.
        weakest: whether the smallest were chosen; then the scores are what they are ranked by, less than 0.
    """
    last = {name: float(each.scores.min()) for name, each in ranked.items()}
    finite = {name: -value if weakest else value for name, value in last.items() if math.isfinite(value)}
    return tuple(Reason(place=name, measure=measure, value=value) for name, value in finite.items())


def plastic_projections(structure: Structure, names: Collection[str] | None = None) -> tuple[Projection, ...]:
    """The projections whose connections are trained, and so can grow and be pruned; of these names only, if given.

    A gate has no dormant connections, so it is none of them. Nor is what follows a lookup, whose connections are that
    lookup's.
    """
    chosen = (name for name in structure.projection_names if names is None or name in names)
    records = (structure.projection(name) for name in chosen)
    trained = (p for p in records if p.learns and not p.gates and p.follows is None)
    return tuple(p for p in trained if structure.connection_columns(p.name).mask.size)


@checked(StructureError)
def bridged_layers(structure: Structure) -> dict[str, tuple[Dense | Conv, Dense | Conv]]:
    """The hidden layers that dense projections alone touch, or linear maps of each place, with the largest in and out.

    These are the layers that neuron growth by bridging gradients can widen: of neurons, or of what convolutions by
    kernels of one place join, as those of feed-forward parts over tokens. What a gated layer reads is none of them: the
    gradient of its pre-activation is not that of its sum. Nor is one that mixes its units, where a new unit would move
    what its neighbours give, or one at a tied table.
    """
    found: dict[str, tuple[Dense | Conv, Dense | Conv]] = {}
    for name in structure.layer_names:
        before, after = (_largest(structure, side(name)) for side in (structure.incoming, structure.outgoing))
        if before is None or after is None or before.kind != after.kind or structure.layer(name).mixes_units:
            continue
        tied = any(p.name in structure.tied for p in (*structure.incoming(name), *structure.outgoing(name)))
        same = _size(structure, before.source) == summed_size(structure, after.target) or isinstance(before, Dense)
        if same and not tied and not structure.gates(after.target):
            found[name] = (before, after)
    return found


def _largest(structure: Structure, projections: Collection[Projection]) -> Dense | Conv | None:
    """That with most connections, where all are dense or all are linear maps of each place; else None."""
    plain = [p for p in projections if isinstance(p, Dense) or (isinstance(p, Conv) and _by_place(structure, p))]
    if len(plain) < len(projections) or len({p.kind for p in plain}) > 1:
        return None
    return max(plain, key=lambda p: structure.connection_columns(p.name).active, default=None)


def _by_place(structure: Structure, projection: Conv) -> bool:
    """Whether a convolution is a linear map of each place, the same for all, between maps of one size."""
    same = _size(structure, projection.source) == summed_size(structure, projection.target)
    return same and set(projection.kernel) == {1} and structure.connection_columns(projection.name).everywhere


def _size(structure: Structure, layer: str) -> Size | None:
    return output_size(structure.layer(layer))


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
