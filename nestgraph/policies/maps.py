"""Growth of feature maps: draw several, keep the best (NeST section 3.1.3)."""

from collections.abc import Collection, Iterator
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from nestgraph.edits.batch import AnyEdit, Batch, Reason
from nestgraph.edits.coupling import coupled, held_units
from nestgraph.edits.growing import grow_unit
from nestgraph.edits.layers import Block
from nestgraph.edits.units import AddUnits
from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import idle
from nestgraph.policies.policy import Policy, proposal
from nestgraph.policies.pricing import layer_price, unit_prices
from nestgraph.policies.ranking import Fraction, groups
from nestgraph.policies.waking import Factor
from nestgraph.seeds.sparse import sparse_mask
from nestgraph.spec.arrays import AnyArray


class MapGrowth(Policy):
    """Add feature maps, each the best of several random ones: the one with the lowest loss on a held-out batch.

    Where one-to-one projections tie layers together, in residual sums and concatenations, a map grows in all of them.

    Attributes:
        units: how many maps to add in one edit to each layer (`scope` layer), or in all (global), each to the layer
            where it lowers the loss most, beside a budget by what the units of that layer cost.
        candidates: how many random maps to try for each that is added to a layer.
        density: the share of the new map's possible connections that are active; at least one to and from each unit.
        alpha: birth strength: times the deviation of He et al. 2015, of incoming and outgoing weights.
        limit: the most maps that growth gives a layer; None for no limit.
    """

    kind: Literal["map_growth"] = "map_growth"
    units: PositiveInt = 1
    candidates: PositiveInt = 8
    density: Fraction = 0.5
    alpha: Factor = 0.5
    scope: Literal["layer", "global"] = "layer"
    limit: PositiveInt | None = None
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"trial"})

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Add maps one after the other, each tried on what the ones before it made.

        Raises:
            EditError: there are hidden layers of maps, but none can grow.
        """
        edits: list[AnyEdit] = []
        reasons: list[Reason] = []
        for group in groups(map_layers(network), self.scope == "global"):
            for _ in range(max(1, round(self.units * scale))):
                drawn = [(layer, edit) for layer in group for edit in self._candidates(network, layer, rng)]
                tried = [edit.apply(network).network for _, edit in drawn]
                losses = [evidence.loss(each) for each in tried]
                if np.isfinite(losses).any():
                    best = _best(network, [layer for layer, _ in drawn], losses, evidence)
                    edits.append(drawn[best][1])
                    reasons += _reasons(network, tried[best], losses, best)
                    network = tried[best]
        if not edits:
            return self._idle(network)
        return Batch(edits=tuple(edits), title=f"grow {len(edits)} maps", reasons=tuple(reasons))

    def _idle(self, network: Network) -> Batch:
        open_layers = map_layers(network)
        return idle(
            (not _hidden_maps(network), "no hidden layer is one of maps"),
            (not open_layers, "an opaque layer holds all hidden maps, or they gate an output"),
            (all(self._full(network, name) for name in open_layers), f"each layer has its limit of {self.limit} maps"),
            (True, "no candidate has a finite loss"),
        )

    def _full(self, structure: Structure, layer: str) -> bool:
        return self.limit is not None and len(structure.units(layer)) >= self.limit

    def _candidates(self, network: Network, layer: str, rng: np.random.Generator) -> list[AnyEdit]:
        return [self._draw(network, layer, rng) for _ in range(0 if self._full(network, layer) else self.candidates)]

    def _draw(self, structure: Structure, layer: str, rng: np.random.Generator) -> AnyEdit:
        strand = tied_layers(structure, layer)
        if len(strand) > 1:
            return self._draw_strand(structure, layer, strand, rng)
        incoming, outgoing = structure.incoming(layer), structure.outgoing(layer)
        blocks = {p.name: self._kernels(structure, p.name, 0, rng) for p in incoming}
        blocks |= {p.name: self._kernels(structure, p.name, 1, rng) for p in outgoing}
        return AddUnits(layer=layer, ids=np.array(structure.fresh_ids(layer, 1)), blocks=blocks)

    def _draw_strand(
        self, structure: Structure, layer: str, strand: Collection[str], rng: np.random.Generator
    ) -> AnyEdit:
        """A map and its partners: each has random kernels where its layer is not only joined one to one."""
        weights: dict[str, AnyArray] = {}
        for name in structure.projection_names:
            projection = structure.projection(name)
            inside = (projection.target == layer, projection.source in strand, projection.target in strand)
            if any(inside) and projection.weighted and not projection.couples:
                axis = 0 if inside[0] or not inside[1] else 1
                weights[name] = self._kernels(structure, name, axis, rng).weight.squeeze(axis)
        return grow_unit(structure, layer, weights)

    def _kernels(self, structure: Structure, projection: str, axis: int, rng: np.random.Generator) -> Block:
        """Random weights of one map, as the target (axis 0) or the source (axis 1) of a projection."""
        old = structure.connection_columns(projection).mask
        shape = (1, *old.shape[1:]) if axis == 0 else (len(old), 1, *old.shape[2:])
        mask = sparse_mask(shape, self.density, rng)
        fan_in = mask.reshape(shape[0], -1).sum(axis=1)
        if axis == 1:
            fan_in = fan_in + old.reshape(len(old), -1).sum(axis=1)
        deviation = self.alpha * np.sqrt(2 / fan_in).reshape(-1, *([1] * (mask.ndim - 1)))
        return Block(weight=np.where(mask, deviation * rng.standard_normal(shape), 0).astype(np.float32), mask=mask)


def _best(network: Network, layers: list[str], losses: list[float], evidence: Evidence) -> int:
    """The candidate that lowers the loss most, beside a budget by what a unit of its layer costs."""
    least, prices = int(np.nanargmin(losses)), unit_prices(network, evidence) if len({*layers}) > 1 else {}
    now = evidence.loss(network) if prices else losses[least]
    if not losses[least] < now:
        return least
    won = [(now - loss) / layer_price(prices, layer) for loss, layer in zip(losses, layers, strict=True)]
    return int(np.nanargmax(won))


def _reasons(before: Network, after: Network, losses: list[float], best: int) -> Iterator[Reason]:
    """The loss of the candidate that was kept, for each of its maps, against that of the next best."""
    others = [loss for place, loss in enumerate(losses) if place != best and np.isfinite(loss)]
    bound = min(others, default=None)
    for layer in before.layer_names:
        for unit in np.setdiff1d(after.units(layer), before.units(layer)).tolist():
            measure = f"loss of the best of {len(losses)} candidates"
            yield Reason(place=layer, unit=unit, measure=measure, value=losses[best], bound=bound)


def map_layers(structure: Structure) -> tuple[str, ...]:
    """The hidden layers of maps that can gain one; of those that one-to-one projections tie together, the first.

    Layers that an opaque one freezes, and those tied to them, cannot.

    Raises:
        EditError: there are hidden layers of maps, but none can grow, as all are tied to an input or an output, or to a
            table at both ends.
    """
    held = held_units(structure)
    hidden = [name for name in _hidden_maps(structure) if structure.units(name)[-1] not in held.get(name, ())]
    found: dict[frozenset[tuple[str, int]], str] = {}
    for name in hidden:
        strand = coupled(structure, name, structure.units(name)[-1:])
        if not any(_held(structure, each) or _tied(structure, each) for each in strand):
            units = frozenset((each, unit) for each, ids in strand.items() for unit in ids.tolist())
            found.setdefault(units, name)
    if hidden and not found:
        raise EditError(
            f"map_growth expected a hidden layer of maps that is not tied to inputs or outputs, got "
            f"{', '.join(hidden)}: one-to-one projections, or a table at both ends, give each of their maps a partner "
            "there, which cannot grow"
        )
    return tuple(found.values())


def _hidden_maps(structure: Structure) -> list[str]:
    records = [structure.layer(name) for name in structure.layer_names]
    return [layer.name for layer in records if layer.kind == "feature_maps" and not layer.output]


def tied_layers(structure: Structure, layer: str) -> tuple[str, ...]:
    """The layers that gain a unit when one does: its own and those of the units that its last one is coupled with."""
    return tuple(coupled(structure, layer, structure.units(layer)[-1:]))


def _tied(structure: Structure, layer: str) -> bool:
    """Whether a layer is at an end of a tied table."""
    return any(p.name in structure.tied for p in (*structure.incoming(layer), *structure.outgoing(layer)))


def _held(structure: Structure, layer: str) -> bool:
    """Whether one-to-one projections join a layer to an input or an output."""
    around = (*structure.incoming(layer), *structure.outgoing(layer))
    ends = {end for p in around if p.couples for end in (p.source, p.target)}
    return any(structure.layer(end).kind == "input" or structure.layer(end).output for end in ends)
