"""Growth by gradient: connections and neurons (NeST sections 3.1.1 and 3.1.2)."""

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetMask
from nestgraph.edits.growing import grow_unit, wake_connections
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence, EvidenceKind
from nestgraph.policies.policy import Policy, bridged_layers, plastic_projections
from nestgraph.policies.ranking import NEVER, Fraction, Scope, largest, top
from nestgraph.spec.arrays import AnyArray


class ConnectionGrowth(Policy):
    """Wake the dormant connections whose loss gradient is largest; none that has no gradient.

    |dL/dW_ij| = |dL/du_j * x_i|: units that fire together wire together.

    Attributes:
        fraction: of the possible connections of a projection (`scope` projection) or of the network (global), how
            many to wake in one edit; at least one.
        weight: what a woken connection starts with: zero, or one gradient step of `rate`.
    """

    kind: Literal["connection_growth"] = "connection_growth"
    fraction: Fraction = 0.05
    scope: Scope = "projection"
    weight: Literal["zero", "gradient"] = "zero"
    rate: Annotated[float, Field(gt=0, le=1e20)] = 0.1
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"gradients"})

    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:  # noqa: ARG002
        """Wake the entries with the largest |gradient|."""
        names = [p.name for p in plastic_projections(network)]
        scores = {name: _dormant_scores(network, name, evidence.gradients[name]) for name in names}
        sizes = {name: values.size for name, values in scores.items()}
        chosen = largest(scores, sizes, self.fraction * scale, self.scope)
        edits: list[SetMask] = []
        for name, entries in chosen.items():
            gradient = evidence.gradients[name].flat[entries]
            weights = -self.rate * gradient if self.weight == "gradient" else None
            edits.append(wake_connections(network, name, entries, weights))
        total = sum(len(entries) for entries in chosen.values())
        return Batch(edits=tuple(edits), title=f"grow {total} connections")


def _dormant_scores(structure: Structure, name: str, gradient: AnyArray) -> AnyArray:
    """|gradient| where a connection is dormant and has one: what gets no gradient, such as the empty border of an
    image, is not grown.
    """
    dormant = ~structure.connection_columns(name).mask & np.isfinite(gradient) & (gradient != 0)
    return np.where(dormant, np.abs(gradient), NEVER)


class NeuronGrowth(Policy):
    """Add neurons that bridge the pairs of units with the largest bridging gradient (NeST algorithm 2).

    Attributes:
        units: how many neurons to add to each layer in one edit.
        beta: the share of the bridging gradient's entries that a neuron connects.
        alpha: birth strength: the mean |weight| of the new neuron's connections against its neighbours'.
        rule: `paper` sums square roots of the picked entries with random signs; `rank_one` takes the leading singular
            vectors of -G, as GradMax does (Evci et al. 2022), sparsified to the same number of connections.
        limit: the widest that growth makes a layer; None for no limit.
    """

    kind: Literal["neuron_growth"] = "neuron_growth"
    units: PositiveInt = 1
    beta: Fraction = 0.02
    alpha: Annotated[float, Field(gt=0, le=1e20)] = 0.5
    rule: Literal["paper", "rank_one"] = "paper"
    limit: PositiveInt | None = None
    needs: ClassVar[frozenset[EvidenceKind]] = frozenset({"bridges"})

    def propose(self, network: Network, evidence: Evidence, rng: np.random.Generator, scale: float = 1.0) -> Batch:
        """Add neurons to every layer that can be bridged."""
        edits: list[AnyEdit] = []
        structure: Structure = network
        for name in bridged_layers(network):
            bridge = np.nan_to_num(evidence.bridges[name].astype(np.float64), posinf=0.0, neginf=0.0)
            for _ in range(self._room(network, name, scale)):
                edit = self._neuron(network, structure, name, bridge, rng)
                if edit is not None:
                    structure, _ = edit.change(structure)
                    edits.append(edit)
        return Batch(edits=tuple(edits), title=f"grow {len(edits)} neurons")

    def _room(self, network: Network, layer: str, scale: float) -> int:
        wanted = max(1, round(self.units * scale))
        return wanted if self.limit is None else min(wanted, self.limit - len(network.units(layer)))

    def _neuron(
        self, network: Network, structure: Structure, layer: str, bridge: AnyArray, rng: np.random.Generator
    ) -> AnyEdit | None:
        """One neuron for `structure`, to which `network` has grown in this edit.

        What it bridges is struck from `bridge`, so that the next one bridges something else.
        """
        before, after = bridged_layers(network)[layer]
        design = paper_neuron if self.rule == "paper" else rank_one_neuron
        w_in, w_out = design(bridge, max(1, round(self.beta * bridge.size)), rng)
        if not w_in.any() or not w_out.any():
            return None
        bridge[np.ix_(w_out != 0, w_in != 0)] = 0
        w_in *= self.alpha * _mean_size(network.connection_columns(before.name).weight) / _mean_size(w_in)
        w_out *= self.alpha * _mean_size(network.connection_columns(after.name).weight) / _mean_size(w_out)
        shape = structure.connection_columns(before.name).weight.shape[1:]
        w_in = np.pad(w_in, (0, math.prod(shape) - len(w_in)))  # units this edit added to the layer before
        return grow_unit(structure, layer, {before.name: w_in.reshape(shape), after.name: w_out})


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


def _mean_size(weights: AnyArray) -> float:
    """Mean |weight| over the non-zero ones."""
    live = np.abs(weights[weights != 0])
    return float(live.mean()) if live.size else 1.0
