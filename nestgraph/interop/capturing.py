"""Read a PyTorch module by torch.export: it runs once on symbols, through whatever Python does on the way.

What torch.fx cannot trace, since it asks for shapes, loops over parts or builds masks, can mostly be read so. The
program that comes of it calls operators of ATen on parameters that were lifted out of the module. Here it becomes such
a graph as torch.fx makes: parameters are attributes under the module's own names, and calls have the names that
people write (`named`).
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.utils.parametrize import type_before_parametrizations

from nestgraph.errors import InteropError
from nestgraph.interop.aten import named
from nestgraph.interop.calling import Call, left_out
from nestgraph.interop.regrouping import ROOT, module_calls, stack_of
from nestgraph.interop.tracing import COMPUTED, NOTES, PATH, assembled, first_line, skipped
from nestgraph.interop.wrappers import computes_weights
from nestgraph.lowering.evaluating import evaluated
from nestgraph.lowering.tracing import exporting

CHECKS = ("_assert", "sym_constrain")
"""How the names of operators begin that check what the example had and compute nothing."""


class UnexportableError(Exception):
    """A module that torch.export cannot read; the message says why."""


class _Called(nn.Module):
    """A module that is called in some way, and gives its results in a row."""

    def __init__(self, module: nn.Module, flattened: Callable[..., list[Tensor]]) -> None:
        super().__init__()
        self.add_module(ROOT, module)
        self._flattened = flattened

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        try:
            return self._flattened(getattr(self, ROOT), *tensors)
        except InteropError:
            raise
        except Exception as error:  # which torch.export would print the graph for that it has so far
            raise UnexportableError(first_line(error)) from error


def captured(module: nn.Module, examples: Sequence[Tensor], call: Call) -> tuple[fx.GraphModule, list[str]]:
    """A graph of the module, and what to say of parts that are not in it.

    Args:
        module: what to read, in evaluation; it is not changed.
        examples: (batch, ...) each, of at least two samples. How many is left open, all other extents are fixed.
        call: how it is called.

    Raises:
        UnexportableError: torch.export cannot read it.
        InteropError: see `Call.results`.
    """
    results, passed, twin = list[Any](), dict[str, nn.Module](), evaluated(module)
    left: list[str] = []
    for path, part in cast("Iterator[tuple[str, nn.Module]]", twin.named_modules()):
        if path and not type_before_parametrizations(part).__module__.startswith("torch.nn."):
            part.register_forward_hook(functools.partial(_note_passed, passed, path))

    def flattened(called: nn.Module, *tensors: Tensor) -> list[Tensor]:
        leaves: list[Tensor] = []
        returned = call.returned(called, *tensors)
        results[:] = [_numbered(call.results(returned), leaves)]
        left[:] = [] if call.outputs else left_out(returned)
        return leaves

    try:
        program = _exported(_Called(twin, flattened), examples)
    except (InteropError, UnexportableError):
        raise
    except Exception as error:  # whatever the module, or what traces it, does not take
        fixed = "Constraints violated (batch)" in str(error)
        raise UnexportableError("it fixes the number of samples" if fixed else first_line(error)) from error
    for node in program.graph.nodes:
        for path, _ in stack_of(node).values():
            passed.pop(path, None)
    graph = _written(module, program, _names(module, len(examples), call), results[0])
    said = [skipped(path, part) for path, part in passed.items()]
    return graph, said + [f"{name} of what it returns is left out" for name in left]


def _note_passed(passed: dict[str, nn.Module], path: str, part: nn.Module, given: tuple[Any, ...], result: Any) -> None:
    """A hook that notes a submodule that gives what it gets."""
    if given and result is given[0]:
        passed[path] = part


def _exported(root: nn.Module, examples: Sequence[Tensor]) -> Any:
    """The program of a module, in which the number of samples is a symbol."""
    batch = torch.export.Dim("batch", min=2)
    shapes = (tuple({0: batch} for _ in examples),)
    with exporting(), torch.no_grad():
        return torch.export.export(root, tuple(examples), strict=False, dynamic_shapes=shapes)


def _numbered(results: Any, leaves: list[Tensor]) -> Any:
    """Results with the place of each tensor among all in its place; the tensors go to `leaves`."""
    if isinstance(results, Mapping):
        return {key: _numbered(inner, leaves) for key, inner in cast("Mapping[str, Any]", results).items()}
    if isinstance(results, list):
        return [_numbered(inner, leaves) for inner in cast("list[Any]", results)]
    if isinstance(results, Tensor):
        leaves.append(results)
        return len(leaves) - 1
    if results is None:
        return None
    raise InteropError(
        f"import_module expected tensors as outputs, got {type(results).__name__}: name those that the network shall "
        "give, such as outputs=['last_hidden_state']"
    )


def _names(module: nn.Module, inputs: int, call: Call) -> Sequence[str]:
    """A name for each input: that of its parameter."""
    if call.names is not None:
        return call.names
    known = inspect.signature(module.forward).parameters.values()
    own = [one.name for one in known if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return [own[place] if place < len(own) else f"x{place}" for place in range(inputs)]


# -- from a program to a graph -----------------------------------------------------------------------------


def _written(module: nn.Module, program: Any, names: Sequence[str], results: Any) -> fx.GraphModule:
    """The graph of a program, on the tensors of the module.

    Args:
        module: that the program is of.
        program: what torch.export made.
        names: of the inputs.
        results: numbers of outputs, in dictionaries and lists.
    """
    graph, copies, held = fx.Graph(), dict[fx.Node, fx.Node](), dict[str, Any]()
    inputs = iter(names)
    for node, spec in zip(_of(program, "placeholder"), program.graph_signature.input_specs, strict=True):
        copies[node] = _input(graph, program, spec, inputs, held)
    lifted, needed = [node for node, copy in copies.items() if copy.op == "get_attr"], _needed(program.graph)
    calls = module_calls(module, needed, lifted)
    results_of = {call.result: call for call in calls}
    inside = frozenset[fx.Node]().union(*(call.nodes for call in calls))
    for node in needed:
        if node in results_of:
            copies[node] = graph.call_module(results_of[node].path, (copies[results_of[node].given],))
        elif node.op == "get_attr":
            copies[node] = graph.get_attr(str(node.target))
            held[str(node.target)] = getattr(program.graph_module, str(node.target))
        elif _converts_nothing(node):
            copies[node] = copies[cast(fx.Node, node.args[0])]
        elif node.op == "call_function" and node not in inside:
            args, kwargs = cast(Any, map_arg((node.args, node.kwargs), copies.__getitem__))
            op, target, given, options = named(node.target, args, kwargs)
            copies[node] = graph.create_node(op, target, given, dict(options))
            copies[node].meta.update(_place(module, node))
    specs = program.graph_signature.output_specs
    (last,) = _of(program, "output")
    outputs = zip(cast("Sequence[fx.Node]", last.args[0]), specs, strict=True)
    graph.output(_filled(results, [copies[node] for node, spec in outputs if spec.kind.name == "USER_OUTPUT"]))
    for node in reversed(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    return assembled(module, graph, held)


def _converts_nothing(node: fx.Node) -> bool:
    """Whether a conversion gives what it gets, so that the graph computes in another precision, too."""
    if getattr(node.target, "__name__", "").partition(".")[0] != "to" or not isinstance(node.args[0], fx.Node):
        return False
    before, after = (one.meta.get("val") for one in (node.args[0], node))
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    return (before.dtype, before.device) == (after.dtype, after.device)


def _of(program: Any, op: str) -> list[fx.Node]:
    return [node for node in program.graph.nodes if node.op == op]


def _needed(graph: fx.Graph) -> list[fx.Node]:
    """What computes: without checks, and without what only checks read."""
    unread = set[fx.Node]()
    for node in reversed(graph.nodes):
        checks = node.op == "call_function" and getattr(node.target, "__name__", "").startswith(CHECKS)
        idle = node.op == "call_function" and not node.is_impure() and set(node.users) <= unread
        if checks or idle:
            unread.add(node)
    return [node for node in graph.nodes if node not in unread]


def _input(graph: fx.Graph, program: Any, spec: Any, names: Iterator[str], held: dict[str, Any]) -> fx.Node:
    """An input of a program: of the module, or a tensor that was lifted out of it."""
    kind = spec.kind.name
    if kind == "USER_INPUT":
        return graph.placeholder(next(names))
    path = str(spec.target).removeprefix(f"{ROOT}.")
    if kind not in ("PARAMETER", "BUFFER"):
        held[path] = program.constants[spec.target]
    return graph.get_attr(path)


def _place(module: nn.Module, node: fx.Node) -> dict[str, Any]:
    """Where in the module a call is: the stack of its submodules, and the innermost where that is PyTorch's own."""
    stack = dict(stack_of(node).values())
    meta: dict[str, Any] = {"nn_module_stack": {path: (path, kind) for path, kind in stack.items()}}
    path = next(reversed(stack), "")
    inner = module.get_submodule(path)
    computed = computes_weights(inner)
    own = type_before_parametrizations(inner).__module__.startswith("torch.nn.modules.")
    if path and own and (computed or not any(True for _ in inner.children())):
        meta[PATH] = path
    dropped = _dropped(inner) if getattr(node.target, "__name__", "").startswith("scaled_dot") else 0.0
    told = [COMPUTED] if computed else []
    told += [f"the dropout of attention in training, of {dropped}, is left out"] if dropped else []
    return meta | ({NOTES: told} if told else {})


def _dropped(attention: nn.Module) -> float:
    """The probability of the dropout inside attention, which modules hand over as 0 in evaluation; 0 if unknown."""
    named = {name: held for name, held in vars(attention).items() if isinstance(held, float)}
    named |= {name: part.p for name, part in attention.named_children() if isinstance(part, nn.Dropout)}
    return next((p for name, p in named.items() if "drop" in name and 0 < p < 1), 0.0)


def _filled(results: Any, outputs: Sequence[fx.Node]) -> Any:
    """Results with nodes in the place of their numbers."""
    if isinstance(results, Mapping):
        return {key: _filled(inner, outputs) for key, inner in cast("Mapping[str, Any]", results).items()}
    if isinstance(results, list):
        return [_filled(inner, outputs) for inner in cast("list[Any]", results)]
    return None if results is None else outputs[cast(int, results)]
