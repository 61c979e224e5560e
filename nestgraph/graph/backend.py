"""The networkx backend `nestgraph`: its functions on `network.graph`, by arrays where that is quicker.

networkx finds this module by its entry point `networkx.backends` and looks in it for functions of its own names, for
calls that the view sends here (see `dispatch`). `networkx.descendants(network.graph, node)` so runs on `Topology`, and
what builds on it (`topological_sort`, `is_weakly_connected`, `dag_longest_path`, ...) gains too.

All others are networkx's own code on the view. Some of them write into the graph that they read and take it back
before they return (`negative_edge_cycle` adds a node, `minimum_branching` negates weights); as the view takes no write,
these run again on a copy, and give its value where they leave the copy as it was. Source: networkx 3.6.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import networkx as nx
import numpy as np
from networkx.utils import backends, graphs_equal  # pyright: ignore[reportUnknownVariableType]

from nestgraph.graph.dispatch import graphs_in
from nestgraph.graph.topology import Node, Topology
from nestgraph.graph.view import ReadOnlyGraphError, UnitGraph

Function = Callable[..., Any]


def _ancestors(graph: Topology, source: Node) -> set[Node]:
    return set(graph.nodes(graph.ancestors(source)))


def _descendants(graph: Topology, source: Node) -> set[Node]:
    return set(graph.nodes(graph.descendants(source)))


def _has_path(graph: Topology, source: Node, target: Node) -> bool:
    return graph.has_path(source, target)


def _is_directed_acyclic_graph(graph: Topology) -> bool:
    return graph.is_acyclic


def _topological_generations(graph: Topology) -> Iterator[list[Node]]:
    return map(graph.nodes, graph.generations)


def _weakly_connected_components(graph: Topology) -> Iterator[set[Node]]:
    order = np.argsort(graph.components, kind="stable")
    for numbers in np.split(order, np.flatnonzero(np.diff(graph.components[order])) + 1):
        yield set(graph.nodes(numbers))


BY_ARRAYS: Mapping[str, Function] = {
    "ancestors": _ancestors,
    "descendants": _descendants,
    "has_path": _has_path,
    "is_directed_acyclic_graph": _is_directed_acyclic_graph,
    "topological_generations": _topological_generations,
    "weakly_connected_components": _weakly_connected_components,
}
"""The functions that arrays answer, with the results and in the order of networkx's own."""


def __getattr__(name: str) -> Function:
    """A function of networkx, by its name."""
    known = backends._registered_algorithms.get(name)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportUnknownVariableType, reportAttributeAccessIssue]
    if known is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(_answer, name, known.orig_func)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def can_run(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:  # noqa: ARG001  (networkx passes it)
    """Whether a call is about views alone."""
    graphs = list(graphs_in((*args, *kwargs.values())))
    return bool(graphs) and all(isinstance(graph, UnitGraph) for graph in graphs)


def convert_from_nx(graph: Any, **_: Any) -> Any:
    """The view itself, when a user names or prefers this backend."""
    return graph


def _answer(name: str, own: Function, *args: Any, **kwargs: Any) -> Any:
    """What a function of networkx gives; strange units and arguments it reports in its own words."""
    views = [one for one in (*args, *kwargs.values()) if isinstance(one, UnitGraph)]
    others = [one for one in (*args, *kwargs.values()) if not isinstance(one, UnitGraph)]
    if name in BY_ARRAYS and len(views) == 1 and all(one in views[0] for one in others):
        return _with(lambda view: view.topology, BY_ARRAYS[name], args, kwargs)
    try:
        return own(*args, **kwargs)
    except ReadOnlyGraphError:
        copies: dict[UnitGraph, Any] = {view: nx.DiGraph(view) for view in views}
        value = _with(copies.__getitem__, own, args, kwargs)
        if not all(graphs_equal(view, copy) for view, copy in copies.items()):
            raise
        return value


def _with(other: Callable[[UnitGraph], Any], function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a function with something else for each view."""

    def exchanged(one: Any) -> Any:
        return other(one) if isinstance(one, UnitGraph) else one

    return function(*map(exchanged, args), **{name: exchanged(one) for name, one in kwargs.items()})
