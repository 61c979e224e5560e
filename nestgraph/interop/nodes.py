"""What the nodes of a graph say that torch.fx traced: names, what they call, and where a value is read last."""

import operator
from collections.abc import Callable
from typing import Any, cast

from torch import fx

from nestgraph.interop.drafts import plain_text
from nestgraph.interop.tracing import PATH


def last_uses(graph: fx.Graph) -> dict[fx.Node, frozenset[fx.Node]]:
    """For each node what is read there for the last time."""
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        last |= dict.fromkeys((node, *node.all_input_nodes), node)
    found: dict[fx.Node, set[fx.Node]] = {}
    for node, reader in last.items():
        found.setdefault(reader, set()).add(node)
    return {reader: frozenset(nodes) for reader, nodes in found.items()}


def name_and_label(node: fx.Node) -> tuple[str, str]:
    """The name and label of what a node makes: after the submodule that it belongs to."""
    if node.op in ("placeholder", "get_attr"):
        return node.name, ""
    if PATH in node.meta:
        return path_of(node), plain_text(path_of(node))
    stack = cast("dict[str, Any]", node.meta.get("nn_module_stack") or {})
    text = f"{next(reversed(stack), '')} {operation(node)}".strip()
    return text, plain_text(text)


def path_of(node: fx.Node) -> str:
    """Where the traced module has what a node names."""
    return str(node.meta.get(PATH, node.target))


def operation(node: fx.Node) -> str:
    """The name of a function or method, without the mark of one that works in place."""
    return _function_name(node).rstrip("_") or _function_name(node)


def written_by(module: fx.GraphModule, node: fx.Node) -> Any:
    """The argument that a node changes, as fx has it; None where it changes none."""
    if node.op == "call_module":
        in_place = getattr(module.get_submodule(str(node.target)), "inplace", False)
    else:
        name = _function_name(node)
        marked = name.endswith("_") and not name.endswith("__") and getattr(operator, name, None) is not node.target
        in_place = node.kwargs.get("inplace") or marked
    first = node.args[0] if node.args else None
    return node.kwargs.get("out", first if in_place else None)


def called(module: fx.GraphModule, node: fx.Node) -> Callable[..., Any]:
    """What a node calls on its arguments."""
    if node.op == "call_module":
        return module.get_submodule(str(node.target))
    if node.op == "call_method":
        return _method(str(node.target))
    return cast("Callable[..., Any]", node.target)


def _method(name: str) -> Callable[..., Any]:
    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(x, name)(*args, **kwargs)

    return call


def _function_name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
