"""Trace a PyTorch module with torch.fx; a part that cannot be traced stays whole."""

import inspect
import keyword
import operator
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate, map_arg
from torch.utils._pytree import tree_leaves

from nestgraph.errors import InteropError
from nestgraph.lowering.operations import ROOMS
from nestgraph.lowering.tracing import InstanceTracer
from nestgraph.spec import Operation

PATH = "path"
"""The entry of a node's `meta` for where the traced module has what the node names."""

NOTES = "notes"
"""The entry of a node's `meta` for what to say of its value in the report."""

COMPUTED = "weights that the module computes from others are taken as they are"
"""What to say of a part that is parametrized."""


class UntraceableError(InteropError):
    """A module whose own forward torch.fx cannot trace."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


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
            result.node.meta.setdefault(NOTES, []).append(skipped(self.path_of_module(m), m))
        return result


def skipped(path: str, module: nn.Module) -> str:
    """What to say of a submodule that gives what it gets."""
    return f"{path} ({type(module).__name__}) does nothing in evaluation and is left out"


def traced(module: nn.Module, count: int, names: Sequence[str] | None = None) -> tuple[fx.GraphModule, dict[str, str]]:
    """A graph of the module, and why which submodules were kept whole, by path.

    A submodule whose forward cannot be traced, for control flow on values say, becomes one node.

    Args:
        module: what to trace; it is changed, so it is a copy.
        count: how many inputs it is given; its other parameters take their defaults.
        names: of the parameters that they are given to; None for the first ones.

    Raises:
        UntraceableError: the module's own forward cannot be traced.
        InteropError: it does not take such inputs.
    """
    given, constants = bound(module, count, names)
    whole: dict[str, str] = {}
    code = getattr(type(module).forward, "__code__", None)
    if code is not None and not set(given) <= {*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]}:
        raise _untraceable(module, TypeError("its forward is inside a decorator that takes *args and **kwargs"))
    while True:
        tracer = _Tracer(whole)
        try:
            graph = tracer.trace(module, concrete_args=constants)
        except Exception as error:
            if tracer.broken is None or tracer.broken in whole:
                raise _untraceable(module, error) from error
            whole[tracer.broken] = f"cannot be traced: {first_line(error)}"
            continue
        _drop_constants(graph, given)
        return assembled(tracer.root, graph), whole


def assembled(root: nn.Module, graph: fx.Graph, held: Mapping[str, Any] | None = None) -> fx.GraphModule:
    """The module of a graph. Submodules with names that Python keeps for itself get others: it is run as source.

    Args:
        root: what the nodes name parts of.
        graph: each node that names a part gets its path there into its `meta`.
        held: parts that the root has not.
    """
    parts: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            path = str(node.target)
            node.meta[PATH] = path
            node.target = ".".join(f"{atom}_" if keyword.iskeyword(atom) else atom for atom in path.split("."))
            found = held[path] if held and path in held else operator.attrgetter(path)(root)
            while parts.get(node.target, found) is not found:
                node.target += "_"
            parts[node.target] = found
    return fx.GraphModule(parts, graph)


def _drop_constants(graph: fx.Graph, given: Sequence[str]) -> None:
    """Erase the placeholders of parameters that take their defaults, and fx's assertions that they do."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for constant in (node for node in placeholders if node.target not in given):
        readers = [constant]
        for node in readers:
            readers += node.users
        for node in reversed(list(dict.fromkeys(readers))):
            graph.erase_node(node)


def bound(module: nn.Module, count: int, names: Sequence[str] | None) -> tuple[list[str], dict[str, Any]]:
    """The parameters of a module that are given something, and the defaults of the others (see `traced`).

    Raises:
        InteropError: there are fewer than inputs, or one without a default gets nothing.
    """
    parameters = list(inspect.signature(module.forward).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    given = [p.name for p in positional[:count]] if names is None else list(names)
    rest = [p for p in parameters if p.name not in given]
    missing = [p.name for p in rest if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(given) < count or missing:
        listed = ", ".join(p.name for p in parameters)
        raise InteropError(
            f"import_module expected example inputs for forward({listed}) of {type(module).__name__}, got {count}: "
            "give one tensor for each parameter without a default; wrap a module of *args in one that names them"
        )
    return given, {p.name: p.default for p in rest if p.default is not p.empty}


def _untraceable(module: nn.Module, error: Exception) -> UntraceableError:
    torch_home = str(Path(torch.__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((torch_home, "<"))]
    outer = [frame for frame in frames if frame.filename != __file__]
    where = f" at {outer[-1].filename}:{outer[-1].lineno} ({outer[-1].line})" if outer else ""
    reason = first_line(error)
    return UntraceableError(
        f"import_module could not trace {type(module).__name__}.forward{where}: {reason}; move that line "
        "into a submodule of its own, which is then kept whole, or import the parts before and after it by themselves",
        reason,
    )


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PURE = ("torch", "_operator")
"""The packages of functions that know a tensor without numbers."""


class Recorder(fx.Interpreter):
    """Runs a graph and notes for each node what it gave: a tensor's shape and type, anything else as it is.

    Nobody asks for the numbers, so convolutions and operations give tensors that have none, on the device `meta`, and
    so do functions of such tensors; what else reads one gets zeros.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.facts: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and note its result."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        result = self._without_numbers(n, args, kwargs)
        if result is None:
            args, kwargs = map_aggregate((args, kwargs), _with_numbers)
            result = getattr(self, n.op)(n.target, args, kwargs)
        self.facts[n] = map_aggregate(result, TensorFact.of)
        return result

    def _without_numbers(self, n: fx.Node, args: Any, kwargs: Any) -> Any:
        """What a node gives but for its numbers; None where only numbers tell."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not tensors or not all(tensor.is_floating_point() for tensor in tensors):
            return None
        part: Any = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if part is not None and (part._forward_pre_hooks or part._forward_hooks):
            return None
        pure = n.op == "call_method" or str(getattr(n.target, "__module__", "")).startswith(PURE)
        if part is None and not (pure and any(tensor.is_meta for tensor in tensors)):
            return None
        name = getattr(n.target, "__name__", n.target)
        known = next((room for room in ROOMS.values() if type(part) in room.modules or name in room.functions), None)
        if known and known.record.resized is Operation.resized and len(tensors) == 1:
            return _numberless(tensors[0])
        if part is not None and known is None:
            return _multiplied(part, tensors) if len(tensors) == 1 else None
        try:
            args, kwargs = map_aggregate((args, kwargs), _numberless)
            result = getattr(self, n.op)(n.target, args, kwargs)
        except Exception:  # of what asks for numbers; the run with zeros says what is wrong with anything else
            return None
        told = isinstance(result, Tensor) and result.is_meta and result.is_floating_point()
        return result if told or type(result) in (int, torch.Size) else None


def _multiplied(part: nn.Module, tensors: Sequence[Tensor]) -> Tensor | None:
    """What a linear map or a convolution gives but for its numbers; None of other modules."""
    x = _numberless(tensors[0])
    if type(part) in CONVOLUTIONS:
        return cast(Any, part)._conv_forward(x, part.weight.to("meta"), None)
    return nn.functional.linear(x, part.weight.to("meta")) if type(part) is nn.Linear else None


def _numberless(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf


def _with_numbers(leaf: Any) -> Any:
    return torch.zeros_like(leaf, device="cpu") if isinstance(leaf, Tensor) and leaf.is_meta else leaf


def spread_outputs(graph: fx.Graph, facts: dict[fx.Node, Any]) -> None:
    """Let the output of a graph have the parts of what one node gives, such as a recurrent layer at the end."""
    output = next(node for node in reversed(graph.nodes) if node.op == "output")

    def parts(node: fx.Node) -> Any:
        fact = facts[node]
        if not isinstance(fact, (list, tuple)):
            return node
        found: list[Any] = []
        for place, inner in enumerate(cast("Sequence[Any]", fact)):
            with graph.inserting_before(output):
                part = graph.call_function(operator.getitem, (node, place))
            facts[part] = inner
            found.append(parts(part))
        return found

    output.args = (map_arg(output.args[0], parts),)
    facts[output] = map_arg(output.args[0], facts.__getitem__)


@dataclass(frozen=True)
class TensorFact:
    """The shape and type of a tensor that a node gave."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, leaf: Any) -> Any:
        """The fact of a tensor; anything else as it is."""
        return cls(tuple(leaf.shape), leaf.dtype) if isinstance(leaf, Tensor) else leaf
