"""Which fx nodes hold a layer's sum and output, for whoever watches a module run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import fx

from nestgraph.errors import LoweringError

KEY = "nestgraph"
Role = Literal["input", "check", "sum", "output", "result"]


@dataclass(frozen=True)
class LayerNodes:
    """The nodes of one layer; some may be the same node.

    Attributes:
        input: input layers: the full sample, a placeholder. None for other layers.
        sum: the pre-activation u, bias included, (batch, units, *size). None for input layers.
        output: after the layer's operations; of an input layer, the values of its living units.
    """

    input: fx.Node | None
    sum: fx.Node | None
    output: fx.Node


def mark(node: fx.Node, layer: str, role: Role) -> None:
    """Note in `node.meta["nestgraph"]` that a node plays a role for a layer: `{"layer": name, "roles": (...)}`."""
    known: dict[str, Any] = node.meta.get(KEY, {"layer": layer, "roles": ()})
    node.meta[KEY] = {"layer": layer, "roles": (*known["roles"], role)}


def is_check(node: fx.Node) -> bool:
    """Whether a node belongs to the check of an input's shape."""
    return "check" in node.meta.get(KEY, {"roles": ()})["roles"]


def layer_nodes(module: fx.GraphModule) -> Mapping[str, LayerNodes]:
    """The nodes of each layer, by the layer's name, in the order of evaluation.

    An `fx.Interpreter` whose `run_node` calls `retain_grad` on the tensor of a layer's sum finds dL/du there after
    the backward pass: no two layers share a node.

    Raises:
        LoweringError: the module was not made by `nestgraph.lower`.
    """
    found: dict[str, dict[str, fx.Node]] = {}
    for node in module.graph.nodes:
        for role in node.meta.get(KEY, {"roles": ()})["roles"]:
            found.setdefault(node.meta[KEY]["layer"], {})[role] = node
    if not all("output" in roles for roles in found.values()) or not found:
        raise LoweringError("layer_nodes expected a module that nestgraph.lower made, got one without marked nodes")
    return {name: LayerNodes(roles.get("input"), roles.get("sum"), roles["output"]) for name, roles in found.items()}
