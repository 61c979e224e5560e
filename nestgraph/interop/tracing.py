"""Trace a PyTorch module with torch.fx; a part that cannot be traced stays whole."""

import inspect
import keyword
import operator
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from nestgraph.errors import InteropError
from nestgraph.lowering.tracing import InstanceTracer

PATH = "path"
"""The entry of a node's `meta` for where the traced module has what the node names."""

SKIPPED = "skipped"
"""The entry of a node's `meta` for submodules that gave its value as they got it."""


class _Tracer(InstanceTracer):
    """As fx's tracer, but it keeps some submodules whole and notes where a trace breaks."""

    def __init__(self, whole: Mapping[str, str]) -> None:
        super().__init__()
        self._whole = whole
        self.broken: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a submodule becomes one node."""
        return module_qualified_name in self._whole or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Trace a submodule; the innermost that breaks is noted."""
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception:
            self.broken = self.broken or self.path_of_module(m)
            raise
        if args and result is args[0] and isinstance(result, fx.Proxy) and not isinstance(m, nn.Sequential):
            result.node.meta.setdefault(SKIPPED, []).append(f"{self.path_of_module(m)} ({type(m).__name__})")
        return result


def traced(module: nn.Module, count: int) -> tuple[fx.GraphModule, dict[str, str]]:
    """A graph of the module, and why which submodules were kept whole, by path.

    A submodule whose forward cannot be traced, for control flow on values say, becomes one node.

    Args:
        module: what to trace; it is changed, so it is a copy.
        count: how many inputs it is given; its other parameters take their defaults.

    Raises:
        InteropError: the module's own forward cannot be traced.
    """
    constants = _defaults(module, count)
    whole: dict[str, str] = {}
    while True:
        tracer = _Tracer(whole)
        try:
            graph = tracer.trace(module, concrete_args=constants)
        except Exception as error:
            if tracer.broken is None or tracer.broken in whole:
                raise _untraceable(module, error) from error
            whole[tracer.broken] = f"cannot be traced: {first_line(error)}"
            continue
        _drop_constants(graph, count)
        return _assembled(tracer.root, graph), whole


def _assembled(root: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """The module of a graph. Submodules with names that Python keeps for itself get others: it is run as source."""
    parts: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            path = str(node.target)
            node.meta[PATH] = path
            node.target = ".".join(f"{atom}_" if keyword.iskeyword(atom) else atom for atom in path.split("."))
            while parts.get(node.target, found := operator.attrgetter(path)(root)) is not found:
                node.target += "_"
            parts[node.target] = found
    return fx.GraphModule(parts, graph)


def _drop_constants(graph: fx.Graph, count: int) -> None:
    """Erase the placeholders of parameters that take their defaults, and fx's assertions that they do."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for constant in placeholders[count:]:
        readers = [constant]
        for node in readers:
            readers += node.users
        for node in reversed(list(dict.fromkeys(readers))):
            graph.erase_node(node)


def _defaults(module: nn.Module, count: int) -> dict[str, Any]:
    parameters = list(inspect.signature(module.forward).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = [p for p in parameters if p not in positional[:count]]
    missing = [p.name for p in rest if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(positional) < count or missing:
        names = ", ".join(p.name for p in parameters)
        raise InteropError(
            f"import_module expected example inputs for forward({names}) of {type(module).__name__}, got {count}: "
            "give one tensor for each parameter without a default; wrap a module of *args in one that names them"
        )
    return {p.name: p.default for p in rest if p.default is not p.empty}


def _untraceable(module: nn.Module, error: Exception) -> InteropError:
    torch_home = str(Path(torch.__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((torch_home, "<"))]
    outer = [frame for frame in frames if frame.filename != __file__]
    where = f" at {outer[-1].filename}:{outer[-1].lineno} ({outer[-1].line})" if outer else ""
    return InteropError(
        f"import_module could not trace {type(module).__name__}.forward{where}: {first_line(error)}; move that line "
        "into a submodule of its own, which is then kept whole, or import the parts before and after it by themselves"
    )


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


class Recorder(fx.Interpreter):
    """Runs a graph and notes for each node what it gave: a tensor's shape and type, anything else as it is."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.facts: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and note its result."""
        result = super().run_node(n)
        self.facts[n] = map_aggregate(result, TensorFact.of)
        return result


@dataclass(frozen=True)
class TensorFact:
    """The shape and type of a tensor that a node gave."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, leaf: Any) -> Any:
        """The fact of a tensor; anything else as it is."""
        return cls(tuple(leaf.shape), leaf.dtype) if isinstance(leaf, Tensor) else leaf
