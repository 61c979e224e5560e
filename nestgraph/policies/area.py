"""Pruning of positions: convolutions that compute a part of their maps only (NeST section 3.2.3)."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np

from nestgraph.edits.areas import shrink_areas
from nestgraph.edits.batch import Batch
from nestgraph.edits.operations import normalisation_factor
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import Lack, idle, none_finite, only_last
from nestgraph.policies.policy import Policy, last_chosen, proposal
from nestgraph.policies.pruning import keeps_units
from nestgraph.policies.ranking import NEVER, Fraction, Scope, largest
from nestgraph.spec.arrays import AnyArray

RESPONSE = "mean |response|"
"""What positions are ranked by."""


class AreaPruning(Policy):
    """Switch off the positions of convolutions where the response is smallest over the data; they never return.

    The response is |C[m,n]| = |conv(x_m, K_mn)|, times what batch normalisation multiplies it by, as for weights.
    Beside a budget it is by the multiply-adds that a position costs.

    Attributes:
        quantile: of the entries that a projection (`scope` projection) or the network (global) still computes, how
            many to switch off in one edit; at least one. An entry is a position of a pair of maps, or of an output map.
        granularity: an area for each pair of an input and an output map, or one for each output map: then responses
            are added over the input maps.
        scope: whether projections have budgets of their own.
    """

    kind: Literal["area_pruning"] = "area_pruning"
    quantile: Fraction = 0.01
    granularity: Literal["pair", "map"] = "pair"
    scope: Scope = "projection"
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"responses"})

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:  # noqa: ARG002
        """Shrink the areas; the strongest position of each output map of the network stays."""
        convolutions = (p for p in map(network.projection, network.projection_names) if p.areas)
        names = [p.name for p in convolutions if p.follows is None]
        computed = {name: _computed(network, name, self.granularity) for name in names}
        strengths = {name: _strength(network, name, evidence) for name in names}
        scores = {name: _weakness(network, name, strengths[name], computed[name]) for name in names}
        sizes = {name: int(np.count_nonzero(entries)) for name, entries in computed.items()}
        found = largest({name: [each] for name, each in scores.items()}, sizes, self.quantile * scale, self.scope)
        if not found:
            return idle(*_lacks(network, computed))
        areas = {name: np.ones(computed[name].shape, bool) for name in found}
        for name, each in found.items():
            areas[name].flat[each.entries] = False
        reasons = last_chosen(RESPONSE, found, weakest=True)
        return shrink_areas(network, areas).model_copy(update={"reasons": reasons})


def _lacks(structure: Structure, computed: Mapping[str, AnyArray]) -> Iterator[Lack]:
    """Why no position is switched off, where none is."""
    yield not computed, "no projection is a convolution"
    yield not any(entries.any() for entries in computed.values()), "no convolution computes a position"
    equal = {name: np.zeros(_pairs(structure, name)) for name in computed}
    scores = (_weakness(structure, name, zeros, computed[name]) for name, zeros in equal.items())
    yield only_last((each > NEVER for each in scores), "position")
    yield none_finite(RESPONSE)


def _pairs(structure: Structure, name: str) -> tuple[int, ...]:
    """(out, in, P, Q): the pairs of maps of a convolution, and the positions of what it gives."""
    size = structure.layer(structure.projection(name).target).size or ()
    return (*structure.connection_columns(name).weight.shape[:2], *size)


def _computed(structure: Structure, name: str, granularity: str) -> AnyArray:
    """Bool (out, in, P, Q), or (out, 1, P, Q) by map: where a pair of maps, or any pair of a map, is computed."""
    columns, size = structure.connection_columns(name), structure.layer(structure.projection(name).target).size
    computed = np.logical_and(
        columns.edges.reshape(*columns.edges.shape, *(1 for _ in size or ())), columns.kept(size or ())
    )
    return np.any(computed, axis=1, keepdims=True) if granularity == "map" else computed


def _strength(structure: Structure, name: str, evidence: Evidence) -> AnyArray:
    """|effective response|: what is left of a response after batch normalisation."""
    factor = normalisation_factor(structure, structure.projection(name).target)
    responses = evidence.of("responses", name, _pairs(structure, name))
    strength = responses * np.abs(factor).reshape(-1, *(1,) * (responses.ndim - 1))
    if not evidence.prices:
        return strength
    columns = structure.connection_columns(name)
    count = np.count_nonzero(columns.mask.reshape(*columns.mask.shape[:2], -1), axis=2)
    return strength / np.maximum(count, 1).reshape(*count.shape, *(1,) * (strength.ndim - 2))


def _weakness(structure: Structure, name: str, strength: AnyArray, computed: AnyArray) -> AnyArray:
    """-strength where it is computed and may be switched off, in the shape of `computed`."""
    target = structure.projection(name).target
    if computed.shape[1] < strength.shape[1]:
        strength = strength.sum(axis=1, keepdims=True)
    scores = np.where(computed, -strength, NEVER)
    if keeps_units(structure, target):
        strongest = np.where(computed, strength, -1.0).reshape(len(scores), -1).argmax(axis=1)
        scores.reshape(len(scores), -1)[np.arange(len(scores)), strongest] = NEVER
    return scores
