"""What units cost of a budget, so that policies can weigh what they are worth by what they take."""

from collections.abc import Mapping

import numpy as np

from nestgraph.graph.structure import Structure
from nestgraph.policies.evidence import Evidence
from nestgraph.spec.arrays import AnyArray

LEAST = 1e-6
"""The least price: what costs nothing goes last, and comes first."""


def unit_prices(structure: Structure, evidence: Evidence) -> dict[str, AnyArray]:
    """By hidden layer, (units,) what each unit costs as a share of the mean of all of them; empty without a budget.

    That is its part of the memory where memory is what a budget has least of, else its connections, in and out, each
    by its price.
    """
    if not (evidence.prices or evidence.memory):
        return {}
    hidden = [name for name in structure.layer_names if _is_hidden(structure, name)]
    found = {name: _of_layer(structure, name, evidence) for name in hidden if len(structure.units(name))}
    mean = float(np.concatenate([np.zeros(0), *found.values()]).mean()) if found else 0.0
    return {name: np.maximum(each / mean, LEAST) for name, each in found.items()} if mean else {}


def layer_price(prices: Mapping[str, AnyArray], layer: str) -> float:
    """What a unit of a layer costs in the mean; 1 where that is unknown."""
    return float(prices[layer].mean()) if layer in prices else 1.0


def _is_hidden(structure: Structure, name: str) -> bool:
    layer = structure.layer(name)
    return layer.kind != "input" and not layer.output


def _of_layer(structure: Structure, name: str, evidence: Evidence) -> AnyArray:
    total = np.zeros(len(structure.units(name)))
    if evidence.memory:
        return total + evidence.memory.get(name, 0.0)
    for end, projections in ((0, structure.incoming(name)), (1, structure.outgoing(name))):
        for projection in projections:
            columns, ends = structure.wired(projection.name)
            count = columns.total(columns.mask.astype(np.float64), end, ends)
            total += count * evidence.prices.get(projection.name, 0.0)
    return total
