"""Pruning of hidden units and heads of attention by how much they matter."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np

from nestgraph.edits.batch import Batch, Reason
from nestgraph.edits.heads import remove_heads
from nestgraph.edits.pruning import remove_units
from nestgraph.edits.strands import Strands
from nestgraph.graph.heads import linked_pairs
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import idle
from nestgraph.policies.policy import Policy, proposal
from nestgraph.policies.pricing import unit_prices
from nestgraph.policies.pruning import effective_weight
from nestgraph.policies.ranking import Fraction, groups
from nestgraph.spec.arrays import AnyArray

WORDS = {
    "taylor": "|output * gradient|",
    "activity": "mean |output| against its layer's",
    "magnitude": "norm of weights in * norm of weights out, against its layer's",
}


class ImportancePruning(Policy):
    """Remove the hidden units and heads of attention that matter least.

    What is coupled to a unit goes with it, and its importance is the sum of theirs. A head goes with what is its own
    (`remove_heads`). The queries, keys and values of heads, and what these mix, go with their heads alone. Units that
    an opaque layer freezes, that gate an output or that it repeats stay, and one of each layer. Beside a budget the
    importance is by what goes with a unit costs, of a head what it mixes.

    Attributes:
        measure: `taylor` is the mean over samples of |output * dL/d(output)|, summed over places: to first order how
            much the loss moves when the unit is 0 (Molchanov et al. 2017, arXiv:1611.06440; of heads Michel et al.
            2019, arXiv:1905.10650). `activity` is the mean |output|, `magnitude` the norm of the effective weights into
            a unit times that of the weights out of it, each against the mean of the layer; a head's is the sum over
            what it mixes.
        fraction: of the units of each layer (`scope` layer) or of all (global), how many to remove in one edit.
        scope: whether layers have budgets of their own, or compete for one.
    """

    kind: Literal["importance_pruning"] = "importance_pruning"
    measure: Literal["taylor", "activity", "magnitude"] = "taylor"
    fraction: Fraction = 0.1
    scope: Literal["layer", "global"] = "layer"
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"activity", "saliency"})

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:  # noqa: ARG002
        """Remove the units and heads that matter least."""
        scores = self._candidates(network, evidence)
        edits: list[Batch] = []
        reasons: list[Reason] = []
        structure: Structure = network
        for name, units in self._least(scores, scale).items():
            living = [unit for unit in units if structure.has_layer(name) and unit in structure.units(name)]
            if living:
                remove = remove_heads if network.matches(name) else remove_units
                edits.append(remove(structure, name, living))
                structure, _ = edits[-1].change(structure)
                reasons += [
                    Reason(place=name, unit=unit, measure=WORDS[self.measure], value=scores[name][unit])
                    for unit in living
                ]
        if not edits:
            most = (
                sum(map(len, scores.values())) if self.scope == "global" else max(map(len, scores.values()), default=0)
            )
            return idle(
                (not scores, "no hidden layer has a unit or a head that may go"),
                (not int(self.fraction * scale * most), f"a share of {self.fraction * scale:.3g} is no whole unit"),
                (True, f"no unit that may go has a finite {WORDS[self.measure]}, beside the last of its layer"),
            )
        removed = network.unit_count - structure.unit_count
        return Batch(edits=tuple(edits), title=f"prune {removed} units", reasons=tuple(reasons))

    def _least(self, scores: Mapping[str, Mapping[int, float]], scale: float) -> dict[str, list[int]]:
        """By layer the units that go."""
        gone: dict[str, list[int]] = {}
        for group in groups(scores, self.scope == "global"):
            ranked = sorted((score, name, unit) for name in group for unit, score in scores[name].items())
            left = int(self.fraction * scale * len(ranked))
            for score, name, unit in ranked:
                if left and math.isfinite(score) and len(gone.get(name, ())) < len(scores[name]) - 1:
                    gone.setdefault(name, []).append(unit)
                    left -= 1
        return gone

    def _candidates(self, network: Network, evidence: Evidence) -> dict[str, dict[int, float]]:
        """By layer the importance of each unit that may go: of coupled ones at the first of their layers."""
        strands = Strands.of(network)
        own = {name: self._importance(network, name, evidence) for name in strands.places}
        prices = unit_prices(network, evidence)
        costs = {name: prices.get(name, np.ones(len(each))) for name, each in own.items()}
        total = _together(strands, own)
        if prices:
            total = total / _together(strands, costs)
        beside = {name for name in strands.places if _beside_heads(network, name)}
        fixed = strands.kept.copy()
        for name in beside:
            fixed[strands.places[name]] = True
        free = (strands.labels == np.arange(len(strands.labels))) & ~np.isin(strands.labels, strands.labels[fixed])
        found: dict[str, dict[int, float]] = {}
        for name, place in strands.places.items():
            if network.matches(name):
                found[name] = self._heads(network, name, own, costs if prices else None)
            for at in np.flatnonzero(free[place]).tolist():
                found.setdefault(name, {})[int(network.units(name)[at])] = float(total[place.start + at])
        return {name: units for name, units in found.items() if units}

    def _heads(
        self, network: Network, layer: str, own: Mapping[str, AnyArray], costs: Mapping[str, AnyArray] | None
    ) -> dict[int, float]:
        """The importance of heads; none of those that mix an output, or anything but what they mix reads."""
        ids, readers = network.units(layer).tolist(), network.outgoing(layer)
        if not all(mix.mixes and mix.target in own for mix in readers):
            return {}
        taylor = dict(zip(ids, own[layer].tolist(), strict=True))
        total = taylor if self.measure == "taylor" else _mixed(network, layer, own)
        price = dict.fromkeys(ids, 1.0) if costs is None else _mixed(network, layer, costs)
        return {head: total[head] / (price[head] or 1.0) for head in ids}

    def _importance(self, network: Network, layer: str, evidence: Evidence) -> AnyArray:
        """(units,) float64: how much each unit of a layer matters by itself."""
        shape = network.units(layer).shape
        if self.measure == "taylor":
            return evidence.of("saliency", layer, shape).astype(np.float64)
        if self.measure == "activity":
            size = evidence.of("activity", layer, shape).astype(np.float64)
        else:
            size = np.prod([_norm(network, layer, end, shape) for end in (0, 1)], axis=0)
        return size / max(float(size.mean()), np.finfo(float).tiny) if len(size) else size


def _together(strands: Strands, own: Mapping[str, AnyArray]) -> AnyArray:
    """What units have, each with those that go with it, at the first of these."""
    total = np.zeros(len(strands.labels))
    for name, place in strands.places.items():
        np.add.at(total, strands.labels[place], own[name])
    return total


def _mixed(network: Network, layer: str, own: Mapping[str, AnyArray]) -> dict[int, float]:
    """By head, what the units that it mixes have."""
    total = dict.fromkeys(network.units(layer).tolist(), 0.0)
    for mix in network.outgoing(layer):
        held = dict(zip(network.units(mix.target).tolist(), own[mix.target].tolist(), strict=True))
        for head, unit in linked_pairs(network, mix.name).tolist():
            total[head] += held[unit]
    return total


def _norm(network: Network, layer: str, end: int, shape: tuple[int, ...]) -> AnyArray:
    """(units,): the norm of the effective weights into units, or out of them; 1 where none are trained."""
    squares = list(_squares(network, layer, end))
    return np.sqrt(sum(squares, np.zeros(shape))) if squares else np.ones(shape)


def _squares(network: Network, layer: str, end: int) -> Iterator[AnyArray]:
    for projection in network.outgoing(layer) if end else network.incoming(layer):
        if projection.learns:
            columns, ends = network.wired(projection.name)
            weight = effective_weight(network, projection.name)
            yield columns.total(np.square(weight, dtype=np.float64), end, ends)


def _beside_heads(network: Network, layer: str) -> bool:
    """Whether heads compare or mix a layer's units, or are its units."""
    sides = (*network.incoming(layer), *network.outgoing(layer))
    return any(projection.matches or projection.mixes for projection in sides)
