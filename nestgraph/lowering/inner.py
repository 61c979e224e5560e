"""Opaque layers inside a compact module: what their modules compute, as nodes of its own graph where fx can see it."""

import copy
from typing import Any

from torch import Tensor, fx, nn

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.opaque import emit_body
from nestgraph.lowering.tracing import InstanceTracer


def emit_inner(emission: Emission, layer: str, sources: list[fx.Node]) -> fx.Node:
    """Emit the functions and modules of an opaque layer, so that what wraps them is not needed to run.

    A module that fx cannot trace is called as it is.

    Raises:
        LoweringError: the body is no module.
        StructureError: there is no body.
    """
    called = emit_body(emission, layer, sources)
    path = str(called.target)
    body: Any = emission.state[path]
    module = copy.deepcopy(body.inner)
    try:
        traced = _traced(_Spread(module), len(sources))
    except Exception:  # whatever a foreign module does under a tracer
        emission.state[path] = module.eval()
        return called
    emission.graph.erase_node(called)
    del emission.state[path]
    return _copied(emission, path.replace(".", "_"), traced, sources)


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
