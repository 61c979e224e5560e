"""Growth of neurons by bridging gradients (NeST section 3.1.2)."""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from nestgraph.edits.batch import Batch, Reason
from nestgraph.edits.growing import added_unit
from nestgraph.edits.layers import Block, UnitValues
from nestgraph.edits.units import AddUnits
from nestgraph.graph.network import Network
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.idle import idle
from nestgraph.policies.policy import Policy, bridged_layers, proposal
from nestgraph.policies.pricing import layer_price, unit_prices
from nestgraph.policies.ranking import NEVER, Fraction, groups, top
from nestgraph.policies.waking import mean_size
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Conv, Dense

LIFT = 1e-6
"""The sum with which GradMax's neurons are born: at 0 itself ReLU has no slope, and would never learn."""


class NeuronGrowth(Policy):
    """Add neurons that bridge the pairs of units with the largest bridging gradient (NeST algorithm 2).

    Attributes:
        units: how many neurons to add in one edit to each layer (`scope` layer), or to the one whose picked entries
            of the bridging gradient sum up to most (global), beside a budget by what its units cost.
        beta: the share of the bridging gradient's entries that a neuron connects.
        alpha: birth strength: the mean |weight| of the new neuron's connections against its neighbours'.
        rule: `paper` sums square roots of the picked entries with random signs; `rank_one` takes the leading singular
            vectors of -G, sparsified to the same number of connections; `gradmax` (Evci et al. 2022) does the same
            with all incoming weights 0: the output stays, and the gradient of the incoming weights is the largest
            that outgoing weights of their size can give. It suits layers without batch normalisation, which would
            blow up the neuron's first step.
        limit: the widest that growth makes a layer; None for no limit.
    """

    kind: Literal["neuron_growth"] = "neuron_growth"
    units: PositiveInt = 1
    beta: Fraction = 0.02
    alpha: Annotated[float, Field(gt=0, le=1e20)] = 0.5
    rule: Literal["paper", "rank_one", "gradmax"] = "paper"
    scope: Literal["layer", "global"] = "layer"
    limit: PositiveInt | None = None
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"bridges"})

    @proposal
    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Add neurons to every layer that can be bridged, or to the best of them."""
        edits: list[AddUnits] = []
        reasons: list[Reason] = []
        structure: Structure = network
        ends = bridged_layers(network)
        open_layers = [name for name in ends if self._room(network, name, scale) > 0]
        bridges = {name: _bridge(network, evidence, name, ends[name]) for name in open_layers}
        prices = unit_prices(network, evidence)
        for group in groups(open_layers, self.scope == "global"):
            name = max(group, key=lambda name: self._strength(bridges[name]) / layer_price(prices, name))
            for _ in range(self._room(network, name, scale)):
                bridged = self._strength(bridges[name])
                edit = self._neuron(network, structure, name, bridges[name], rng)
                if edit is not None:
                    structure, _ = edit.change(structure)
                    edits.append(edit)
                    reasons.append(self._reason(edit, bridged, bridges[name]))
        if not edits:
            return self._idle(ends, bridges)
        return Batch(edits=tuple(edits), title=f"grow {len(edits)} neurons", reasons=tuple(reasons))

    def _idle(self, ends: Collection[str], bridges: Mapping[str, AnyArray]) -> Batch:
        flat = not any(bridge.any() for bridge in bridges.values())
        return idle(
            (not ends, "no hidden layer is joined by dense projections alone, or by kernels of one place, in and out"),
            (not bridges, f"each layer that can be bridged has its limit of {self.limit} units"),
            (flat, "no bridging gradient is finite and other than 0"),
            (True, "the largest bridging gradients cancel each other out"),
        )

    def _reason(self, edit: AddUnits, bridged: float, left: AnyArray) -> Reason:
        """What a neuron bridges, against what the next one of its layer would."""
        measure = f"sum of {self._picked(left):,} |bridging gradients|"
        return Reason(
            place=edit.layer, unit=int(edit.ids[0]), measure=measure, value=bridged, bound=self._strength(left)
        )

    def _picked(self, bridge: AnyArray) -> int:
        return max(1, round(self.beta * bridge.size))

    def _strength(self, bridge: AnyArray) -> float:
        size = np.abs(bridge)
        return float(size.flat[top(size, self._picked(bridge))].sum())

    def _room(self, network: Network, layer: str, scale: float) -> int:
        wanted = max(1, round(self.units * scale))
        return wanted if self.limit is None else min(wanted, self.limit - len(network.units(layer)))

    def _neuron(
        self, network: Network, structure: Structure, layer: str, bridge: AnyArray, rng: np.random.Generator
    ) -> AddUnits | None:
        """One neuron for `structure`, to which `network` has grown in this edit.

        What it bridges is struck from `bridge`, so that the next one bridges something else.
        """
        before, after = bridged_layers(network)[layer]
        design = paper_neuron if self.rule == "paper" else rank_one_neuron
        w_in, w_out = design(bridge, self._picked(bridge), rng)
        if not w_in.any() or not w_out.any():
            return None
        bridge[np.ix_(w_out != 0, w_in != 0)] = 0
        w_in *= self.alpha * mean_size(network.connection_columns(before.name).weight) / mean_size(w_in)
        w_out *= self.alpha * mean_size(network.connection_columns(after.name).weight) / mean_size(w_out)
        shape = structure.connection_columns(before.name).weight.shape[1:]
        w_in = np.pad(w_in, (0, math.prod(shape) - len(w_in)))  # units this edit added to the layer before
        leaving = structure.connection_columns(after.name)
        w_out = w_out.reshape(-1, *(1 for _ in leaving.inner))
        born = added_unit(structure, layer, {before.name: w_in.reshape(shape), after.name: w_out})
        return _silent(born, before.name, structure.layer(layer)) if self.rule == "gradmax" else born


def _silent(born: AddUnits, before: str, layer: Layer) -> AddUnits:
    """The new neuron with all its incoming connections at weight 0, and a sum of `LIFT`."""
    mask = born.blocks[before].mask
    blocks = {**born.blocks, before: Block(weight=np.zeros(mask.shape, np.float32), mask=mask)}
    columns = [*(["bias"] * layer.bias), *(operation.facts.adds for operation in layer.operations)]
    lifted = [name for name in columns if name is not None][-1:]
    values: UnitValues = {name: np.full(1, LIFT, np.float32) for name in lifted}
    return born.model_copy(update={"blocks": blocks, "values": values})


def paper_neuron(bridge: AnyArray, count: int, rng: np.random.Generator) -> tuple[AnyArray, AnyArray]:
    """Incoming (N,) and outgoing (M,) weights from the `count` largest entries of the bridging gradient (M, N).

    Each picked entry adds d = sqrt|G| * random sign to w_out and d * sgn(-G) to w_in, so that the new path moves
    u_m by about one step of gradient descent on a direct connection.
    """
    size = np.abs(bridge)
    picked = top(np.where(size > 0, size, NEVER), count)
    w_in, w_out = np.zeros(bridge.shape[1]), np.zeros(bridge.shape[0])
    for m, n in zip(*np.unravel_index(picked, bridge.shape), strict=True):
        d = np.sqrt(size[m, n]) * rng.choice((-1.0, 1.0))
        w_out[m] += d
        w_in[n] += d * np.sign(-bridge[m, n])
    return w_in, w_out


def rank_one_neuron(bridge: AnyArray, count: int, rng: np.random.Generator) -> tuple[AnyArray, AnyArray]:
    """Incoming (N,) and outgoing (M,) weights from the leading singular vectors of -G, with about `count` entries.

    The random sign chooses between the two equal solutions.
    """
    left, values, right = np.linalg.svd(-bridge, full_matrices=False)
    sign = rng.choice((-1.0, 1.0))
    scale = np.sqrt(values[0])
    w_out, w_in = sign * scale * left[:, 0], sign * scale * right[0]
    kept = max(1, min(len(w_in), round(count / max(1, np.count_nonzero(w_out)))))
    weakest = np.ones(len(w_in), bool)
    weakest[top(np.abs(w_in), kept)] = False
    return np.where(weakest, 0, w_in), w_out


def _bridge(network: Network, evidence: Evidence, layer: str, ends: tuple[Dense | Conv, Dense | Conv]) -> AnyArray:
    """The bridging gradient past a layer, float64 (units after it, outputs before it); 0 where it is not finite."""
    before, after = ends
    shape = (len(network.units(after.target)), math.prod(meaning_of(network, before).shape[1:]))
    return np.nan_to_num(evidence.of("bridges", layer, shape).astype(np.float64), posinf=0.0, neginf=0.0)
