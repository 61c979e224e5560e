"""Calls of known modules in a program of torch.export, put together again.

A program has the functions that a module calls. What a module is beyond them (that it drops in training, counts
batches, prunes, or computes softsign in three steps) the module itself knows, which the same rows read as for torch.fx.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from torch import Tensor, fx, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import type_before_parametrizations

from nestgraph.interop.modules import MODULES

ROOT = "called"
"""Where the module is in what is exported."""

Stack = Mapping[str, tuple[str, str]]
"""A call of a submodule -> its path and class, from the outermost."""


class ModuleCall(NamedTuple):
    """A call of a submodule: its path, what it is given, the nodes that compute it, and which of them is its result."""

    path: str
    given: fx.Node
    nodes: frozenset[fx.Node]
    result: fx.Node


def stack_of(node: fx.Node) -> dict[str, tuple[str, str]]:
    """The calls of submodules that a node is in, with paths in the module itself."""
    stack = cast("Stack", node.meta.get("nn_module_stack") or {})
    paths = {key: (path.removeprefix(ROOT).removeprefix("."), kind) for key, (path, kind) in stack.items()}
    return {key: (path, kind) for key, (path, kind) in paths.items() if path and stack[key][0].startswith(ROOT)}


def module_calls(module: nn.Module, nodes: Sequence[fx.Node], lifted: Iterable[fx.Node]) -> list[ModuleCall]:
    """The calls of submodules for which there is a row, that take one tensor and give one.

    Args:
        module: what was exported.
        nodes: of the program, those that compute.
        lifted: its nodes for tensors of the module.
    """
    members: dict[str, list[fx.Node]] = {}
    paths: dict[str, str] = {}
    for node in nodes:
        for call, (path, _) in stack_of(node).items():
            if _known(module.get_submodule(path)):
                members.setdefault(call, []).append(node)
                paths[call] = path
                break
    held, computing = frozenset(lifted), frozenset(nodes)
    found = (_call(paths[call], inside, held, computing) for call, inside in members.items())
    return [call for call in found if call is not None]


def _known(part: nn.Module) -> bool:
    """Whether a row says all that a module does with one tensor: it is of a known class, and no hook does more."""
    if isinstance(part, nn.MultiheadAttention):
        return False  # it takes three tensors, and gives two
    hooks = [*_hooks(part, "_forward_hooks"), *_hooks(part, "_forward_pre_hooks")]
    return type_before_parametrizations(part) in MODULES and all(isinstance(h, prune.BasePruningMethod) for h in hooks)


def _hooks(part: nn.Module, kind: str) -> Iterable[Any]:
    return cast("Mapping[int, Any]", vars(part).get(kind) or {}).values()


def _call(
    path: str, inside: list[fx.Node], held: frozenset[fx.Node], computing: frozenset[fx.Node]
) -> ModuleCall | None:
    nodes = frozenset(inside)
    near = dict.fromkeys(near for node in inside for near in node.all_input_nodes)
    given = [one for one in near if one not in nodes and one not in held and isinstance(one.meta.get("val"), Tensor)]
    results = [node for node in inside if any(user not in nodes and _reads(user, computing) for user in node.users)]
    return ModuleCall(path, given[0], nodes, results[0]) if len(given) == len(results) == 1 else None


def _reads(user: fx.Node, computing: frozenset[fx.Node]) -> bool:
    return user in computing or user.op == "output"
