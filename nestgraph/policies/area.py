"""Pruning of positions: convolutions that compute a part of their maps only (NeST section 3.2.3)."""

from typing import ClassVar, Literal

import numpy as np

from nestgraph.edits.areas import shrink_areas
from nestgraph.edits.batch import Batch
from nestgraph.edits.operations import normalisation_factor
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.policy import Policy, last_chosen, proposal
from nestgraph.policies.pruning import keeps_units
from nestgraph.policies.ranking import NEVER, Fraction, Scope, largest
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Conv


class AreaPruning(Policy):
    """Switch off the positions of convolutions where the response is smallest over the data; they never return.

    The response is |C[m,n]| = |conv(x_m, K_mn)|, times what batch normalisation multiplies it by, as for weights.

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
        names = [name for name in network.projection_names if isinstance(network.projection(name), Conv)]
        computed = {name: _computed(network, name, self.granularity) for name in names}
        responses = {name: evidence.of("responses", name, _pairs(network, name)) for name in names}
        scores = {name: _weakness(network, name, responses[name], computed[name]) for name in names}
        sizes = {name: int(np.count_nonzero(entries)) for name, entries in computed.items()}
        chosen = largest(scores, sizes, self.quantile * scale, self.scope)
        found = {name: entries for name, entries in chosen.items() if len(entries)}
        areas = {name: np.ones(computed[name].shape, bool) for name in found}
        for name, entries in found.items():
            areas[name].flat[entries] = False
        reasons = last_chosen("mean |response|", scores, chosen, weakest=True)
        return shrink_areas(network, areas).model_copy(update={"reasons": reasons})


def _pairs(structure: Structure, name: str) -> tuple[int, ...]:
    """(out, in, P, Q): the pairs of maps of a convolution, and the positions of what it gives."""
    size = structure.layer(structure.projection(name).target).size or ()
    return (*structure.connection_columns(name).weight.shape[:2], *size)


def _computed(structure: Structure, name: str, granularity: str) -> AnyArray:
    """Bool (out, in, P, Q), or (out, 1, P, Q) by map: where a pair of maps, or any pair of a map, is computed."""
    columns, size = structure.connection_columns(name), structure.layer(structure.projection(name).target).size
    area = np.ones((1, 1, *(size or ())), bool) if columns.area is None else columns.area
    computed = np.logical_and(columns.edges[:, :, None, None], area)
    return np.any(computed, axis=1, keepdims=True) if granularity == "map" else computed


def _weakness(structure: Structure, name: str, responses: AnyArray, computed: AnyArray) -> AnyArray:
    """-|effective response| where it is computed and may be switched off, in the shape of `computed`."""
    target = structure.projection(name).target
    strength = responses * np.abs(normalisation_factor(structure, target)).reshape(-1, 1, 1, 1)
    if computed.shape[1] < strength.shape[1]:
        strength = strength.sum(axis=1, keepdims=True)
    scores = np.where(computed, -strength, NEVER)
    if keeps_units(structure, target):
        strongest = np.where(computed, strength, -1.0).reshape(len(scores), -1).argmax(axis=1)
        scores.reshape(len(scores), -1)[np.arange(len(scores)), strongest] = NEVER
    return scores
