"""Opaque layers inside a lowered module: copies of their modules, or the nodes of these where fx can see them."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from nestgraph.errors import LoweringError
from nestgraph.graph.reference import body_of
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.opaque import ModuleBody
from nestgraph.lowering.slots import BODY
from nestgraph.lowering.tracing import InstanceTracer


def emit_body(emission: Emission, layer: str, sources: list[fx.Node]) -> fx.Node:
    """Emit a call of a copy of an opaque layer's module, or of the one that an earlier module gives up.

    Raises:
        LoweringError: the body is no module.
        StructureError: there is no body.
    """
    path = f"{emission.layers[layer]}.{BODY}"
    module = emission.kept_bodies.get(layer)
    emission.state[path] = copy.deepcopy(_body(emission, layer).module) if module is None else module
    return emission.graph.call_module(path, tuple(sources))


def emit_inner(emission: Emission, layer: str, sources: list[fx.Node]) -> fx.Node:
    """Emit the functions and modules of an opaque layer, so that what wraps them is not needed to run.

    A module that fx cannot trace is called as it is.

    Raises:
        LoweringError: the body is no module.
        StructureError: there is no body.
    """
    module = _body(emission, layer).module
    try:
        traced = _traced(_Spread(copy.deepcopy(module)), len(sources))
    except Exception:  # whatever a foreign module does under a tracer
        return emit_body(emission, layer, sources)
    return _copied(emission, f"{emission.layers[layer]}_{BODY}", traced, sources)


def read_units(emission: Emission, layer: str, outputs: Mapping[str, fx.Node]) -> list[fx.Node]:
    """What a body reads of the outputs of its arguments: of one that works unit by unit the units of its own ids."""
    network, found = emission.network, list[fx.Node]()
    for argument in network.arguments(layer):
        places, path = network.read_by(argument), f"{emission.projections[argument.name]}.units"
        extent = len(network.units(argument.source))
        found.append(emission.select(outputs[argument.source], path, places, extent))
    return found


def _body(emission: Emission, layer: str) -> ModuleBody:
    body: Any = body_of(emission.network, layer)
    if not isinstance(body, ModuleBody):
        raise LoweringError(
            f"opaque layer {layer!r} expected a nestgraph.lowering.opaque.ModuleBody as its body to be lowered, got "
            f"{type(body).__name__}: give it by network.with_bodies"
        )
    return body


def _traced(root: nn.Module, count: int) -> fx.GraphModule:
    given = {"sources": (fx.PH,) * count}  # pyright: ignore[reportPrivateImportUsage]
    return fx.GraphModule(root, InstanceTracer().trace(root, given))


class _Spread(nn.Module):
    """A module that is given its arguments as one, since fx does not trace a `*sources`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, sources: tuple[Tensor, ...]) -> Tensor:
        return self.inner(*sources)


def _copied(emission: Emission, path: str, traced: fx.GraphModule, sources: list[fx.Node]) -> fx.Node:
    """Copy the nodes of a traced module, with the tensors and modules that they name."""
    known = dict(zip((node for node in traced.graph.nodes if node.op == "placeholder"), sources, strict=True))
    result: Any = None
    for node in traced.graph.nodes:
        if node.op == "output":
            (result,) = (known[given] for given in node.args[0])
        elif node.op != "placeholder":
            known[node] = emission.graph.node_copy(node, known.__getitem__)
            if node.op in ("get_attr", "call_module"):
                known[node].target = f"{path}_{str(node.target).replace('.', '_')}"
                emission.state[str(known[node].target)] = _part(traced, str(node.target))
    return result


def _part(traced: fx.GraphModule, target: str) -> Tensor | nn.Module:
    owner, _, field = target.rpartition(".")
    return getattr(traced.get_submodule(owner), field)
