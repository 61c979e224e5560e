"""Pruning by magnitude: connections and units (NeST section 3.2)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from nestgraph.edits.batch import Batch, Reason
from nestgraph.edits.coupling import held_units
from nestgraph.edits.operations import normalisation_factor
from nestgraph.edits.pruning import prune_connections, remove_units
from nestgraph.errors import StructureError
from nestgraph.graph.network import Network
from nestgraph.graph.pinning import pinned
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import Tie
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import Lack, idle, no_projections, none_active, none_finite, only_last
from nestgraph.policies.policy import Policy, ProjectionNames, last_chosen, plastic_projections, proposal
from nestgraph.policies.pricing import unit_prices
from nestgraph.policies.ranking import NEVER, Fraction, Scope, Scores, largest, row_blocks
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.options import Beside

WEIGHT, LAMP = "|effective weight|", "LAMP score"
"""What pruning by magnitude ranks connections by."""


class ConnectionPruning(Policy, ABC):
    """What policies that prune connections have in common.

    Attributes:
        fraction: of the active connections of a projection (`scope` projection) or of the network (global), how
            many to remove in one edit; at least one.
        projections: the names of those it is for, where others have policies of their own; None for all.
        scope: ranking all projections at once starves first layers, so each has its own budget by default.
    """

    fraction: Fraction = 0.01
    scope: Scope = "projection"
    projections: ProjectionNames | None = None

    @property
    @abstractmethod
    def measure(self) -> str:
        """What connections are ranked by, in words for people."""

    @abstractmethod
    def strength(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> AnyArray:
        """How much each connection is worth, in the shape of the weights; at least 0."""

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Prune the weakest; the strongest connection into an output unit, or one that is read as a whole, stays."""
        names = [p.name for p in plastic_projections(network, self.projections)]
        active = {name: network.connection_columns(name).active for name in names}
        scores = {name: weakness(network, name, self._strengths(network, name, evidence, rng)) for name in names}
        found = largest(scores, active, self.fraction * scale, self.scope)
        if not found:
            return idle(no_projections(names, self.projections), *unpruned(network, names, self.measure))
        pruned = prune_connections(network, {name: each.entries for name, each in found.items()})
        return pruned.model_copy(update={"reasons": last_chosen(self.measure, found, weakest=True)})

    def _strengths(
        self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator
    ) -> Iterator[AnyArray]:
        """The strength a block of rows at a time, measured when it is asked for: of one projection after the other.

        Beside a budget it is by what a connection costs.
        """
        strength, price = self.strength(network, projection, evidence, rng), evidence.prices.get(projection)
        for rows in row_blocks(strength.shape):
            yield strength[rows] if price is None else strength[rows] / price


class MagnitudePruning(ConnectionPruning):
    """Remove the active connections with the smallest effective weight.

    The effective weight is the weight after folding batch normalisation, gamma * W / sqrt(variance + epsilon).

    Attributes:
        score: `weight` ranks by |effective weight|; `lamp` by its square over the sum of all squares in the projection
            that are not smaller (Lee et al. 2021), which makes projections comparable: what a `global` scope needs to
            find each one's share without starving any.
    """

    kind: Literal["magnitude_pruning"] = "magnitude_pruning"
    score: Literal["weight", "lamp"] = "weight"
    beside: ClassVar = {"score": (Beside.of("scope", "global"),)}

    @property
    def measure(self) -> str:
        """What connections are ranked by."""
        return WEIGHT if self.score == "weight" else LAMP

    def strength(self, network: Network, projection: str, evidence: Evidence, rng: np.random.Generator) -> AnyArray:  # noqa: ARG002
        """|effective weight|, or its LAMP score."""
        weight = effective_weight(network, projection)
        np.abs(weight, out=weight)
        return weight if self.score == "weight" else lamp(weight)


@checked(StructureError)
def effective_weight(structure: Structure, projection: str) -> AnyArray:
    """A projection's weights times what batch normalisation multiplies them by, in the shape of the weights."""
    return _effective(structure, projection, slice(None))


def sizes(structure: Structure, projection: str) -> Iterator[AnyArray]:
    """|effective weight| a block of rows at a time."""
    for rows in row_blocks(structure.connection_columns(projection).weight.shape):
        yield np.abs(_effective(structure, projection, rows))


def _effective(structure: Structure, projection: str, rows: slice) -> AnyArray:
    columns, ends = structure.wired(projection)
    factor = columns.spread(normalisation_factor(structure, structure.projection(projection).target), 0, ends)
    return columns.weight[rows] * factor[rows]


def lamp(weight: AnyArray) -> AnyArray:
    """Each squared weight over the sum of the squares that are at least as large; the largest scores 1.

    >>> lamp(np.array([1.0, 2.0, 2.0])).round(3).tolist()
    [0.111, 1.0, 0.5]
    """
    order = np.argsort(-weight, axis=None, kind="stable")
    squares = np.square(weight.ravel()[order], dtype=np.float64)
    scores = np.empty(weight.size)
    scores[order] = squares / np.maximum(np.cumsum(squares), np.finfo(np.float64).tiny)
    return scores.reshape(weight.shape)


def weakness(structure: Structure, projection: str, strengths: Scores) -> Iterator[AnyArray]:
    """-strength where a connection may be pruned, `NEVER` elsewhere.

    The strongest stays of each unit that has to keep one: of a table that another projection follows, of each class
    that it leads to such a unit, too, which is asked of the whole of it.
    """
    columns, record = structure.connection_columns(projection), structure.projection(projection)
    keeps, last = keeps_units(structure, record.target) and not record.couples, 0
    tie = Tie.of(structure, projection)
    led = tie.classes if tie and keeps_units(structure, structure.projection(tie.follower).target) else None
    for strength in strengths if led is None else [np.concatenate(list(strengths))]:
        mask = columns.mask[last : last + len(strength)]
        last += len(strength)
        scores = np.negative(strength)
        np.copyto(scores, NEVER, where=~mask)
        if keeps:
            strongest = np.where(mask, strength, -1.0).reshape(len(scores), -1).argmax(axis=1)
            scores.reshape(len(scores), -1)[np.arange(len(scores)), strongest] = NEVER
        if led is not None:
            live = led[mask[:, 0, led].any(axis=0)]
            scores[np.where(mask, strength, -1.0)[:, 0, live].argmax(axis=0), 0, live] = NEVER
        yield scores


def unpruned(structure: Structure, names: Iterable[str], measure: str) -> Iterator[Lack]:
    """Why no connection of these projections is pruned, where none is."""
    yield none_active(structure, names)
    equal = ((name, np.zeros(structure.connection_columns(name).mask.shape)) for name in names)
    left = (scores > NEVER for name, zeros in equal for scores in weakness(structure, name, [zeros]))
    yield only_last(left, "connection")
    yield none_finite(measure)


def keeps_units(structure: Structure, layer: str) -> bool:
    """Whether no unit of a layer may lose its last connection: outputs, and what an opaque layer reads."""
    return structure.layer(layer).output or layer in pinned(structure)


class UnitPruning(Policy):
    """Remove hidden units whose mean |output| over the data is small against their layer's.

    Beside a budget it is by what a unit costs, as a share of the mean of all hidden units: its multiply-adds, bytes or
    memory, by what the budget has least of.

    Units that an opaque layer freezes, or that gate an output, stay, and so does what is coupled to them.

    Attributes:
        threshold: a unit falls below this share of its layer's mean activity.
        fraction: at most this share of a layer's units falls in one edit.
    """

    kind: Literal["unit_pruning"] = "unit_pruning"
    threshold: Annotated[float, Field(ge=0)] = 0.05
    fraction: Fraction = 0.1
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"activity"})

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:  # noqa: ARG002
        """Remove the quietest units that are below the threshold."""
        edits: list[Batch] = []
        reasons: list[Reason] = []
        structure: Structure = network
        held, prices = held_units(network), unit_prices(network, evidence)
        hidden = [name for name in network.layer_names if _is_hidden(network.layer(name))]
        for name in hidden:
            activity = _worth(network, name, evidence, prices)
            quiet = self._quiet(network.units(name), activity, scale)
            quiet = quiet[~np.isin(quiet, held.get(name, ()))]
            living = quiet[np.isin(quiet, structure.units(name))] if structure.has_layer(name) else quiet[:0]
            if len(living):
                edits.append(remove_units(structure, name, living))
                structure, _ = edits[-1].change(structure)
                reasons += self._reasons(network, name, living, activity)
        if not edits:
            return self._idle(network, evidence, hidden, scale)
        removed = network.unit_count - structure.unit_count
        return Batch(edits=tuple(edits), title=f"prune {removed} units", reasons=tuple(reasons))

    def _idle(self, network: Network, evidence: Evidence, hidden: list[str], scale: float) -> Batch:
        most = max((len(network.units(name)) for name in hidden), default=0)
        prices = unit_prices(network, evidence)
        quiet = (self._quiet(network.units(name), _worth(network, name, evidence, prices), scale) for name in hidden)
        share = f"a share of {self.fraction * scale:.3g}"
        return idle(
            (not hidden, "no layer is hidden"),
            (not self._quota(most, scale), f"{share} is no whole unit of any hidden layer"),
            (not any(map(len, quiet)), f"no mean |output| is below {self.threshold:.3g} times that of its layer"),
            (True, "an opaque layer holds the quiet units, or they gate an output"),
        )

    def _quota(self, units: int, scale: float) -> int:
        return int(units * self.fraction * scale)

    def _quiet(self, ids: AnyArray, worth: "_Worth", scale: float) -> AnyArray:
        order = np.argsort(worth.weighed, kind="stable")[: self._quota(len(ids), scale)]
        return ids[order[worth.weighed[order] < self.threshold * worth.activity.mean()]]

    def _reasons(self, network: Network, layer: str, units: AnyArray, worth: "_Worth") -> Iterator[Reason]:
        bound = float(self.threshold * worth.activity.mean())
        values = worth.weighed[network.unit_columns(layer).positions(units)]
        for unit, value in zip(units.tolist(), values.tolist(), strict=True) if math.isfinite(bound) else ():
            yield Reason(place=layer, unit=unit, measure="mean |output|", value=value, bound=bound)


@dataclass(frozen=True, eq=False)
class _Worth:
    """(units,) twice: mean |output|, and that by what units cost."""

    activity: AnyArray
    weighed: AnyArray


def _worth(network: Network, layer: str, evidence: Evidence, prices: Mapping[str, AnyArray]) -> _Worth:
    activity = evidence.of("activity", layer, network.units(layer).shape)
    return _Worth(activity, activity / prices[layer] if layer in prices else activity)


def _is_hidden(layer: Layer) -> bool:
    return layer.kind != "input" and not layer.output
