"""The networkx backend `nestgraph`: structure queries on `network.graph` answered by arrays.

networkx finds this module by its entry point `networkx.backends` and looks in it for functions of its own names, so
`networkx.descendants(network.graph, node)` runs on `Topology`. What builds on them (`topological_sort`,
`is_weakly_connected`, `dag_longest_path`, ...) gains too. All else runs in networkx's own code on the view.

The view does not call itself a backend's graph: networkx would refuse all that the backend lacks, and all that takes a
second, ordinary graph. Instead `ask_first` puts this backend first for the functions below, for these alone, and
`can_run` declines every other graph. Source: networkx 3.6, `networkx.utils.backends`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from nestgraph.graph.topology import Node, Topology

NAME = "nestgraph"


def ancestors(graph: Topology, source: Node) -> set[Node]:
    """As `networkx.ancestors`."""
    return set(graph.nodes(graph.ancestors(source)))


def descendants(graph: Topology, source: Node) -> set[Node]:
    """As `networkx.descendants`."""
    return set(graph.nodes(graph.descendants(source)))


def has_path(graph: Topology, source: Node, target: Node) -> bool:
    """As `networkx.has_path`."""
    return graph.has_path(source, target)


def is_directed_acyclic_graph(graph: Topology) -> bool:
    """As `networkx.is_directed_acyclic_graph`."""
    return graph.is_acyclic


def topological_generations(graph: Topology) -> Iterator[list[Node]]:
    """As `networkx.topological_generations`, in the same order."""
    return map(graph.nodes, graph.generations)


def weakly_connected_components(graph: Topology) -> Iterator[set[Node]]:
    """As `networkx.weakly_connected_components`, in the same order."""
    order = np.argsort(graph.components, kind="stable")
    for numbers in np.split(order, np.flatnonzero(np.diff(graph.components[order])) + 1):
        yield set(graph.nodes(numbers))


ANSWERED = (
    "ancestors",
    "descendants",
    "has_path",
    "is_directed_acyclic_graph",
    "topological_generations",
    "weakly_connected_components",
)


def can_run(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:  # noqa: ARG001  (networkx passes it)
    """Whether a call is about a network's view and units that it has; networkx reports strange ones in its words."""
    given = [*args, *kwargs.values()]
    views = [one for one in given if isinstance(getattr(one, "topology", None), Topology)]
    return len(views) == 1 and all(one in views[0] for one in given if one is not views[0])


def convert_from_nx(graph: Any, **_: Any) -> Topology:
    """The arrays behind a network's view, which networkx passes on in place of the view."""
    return graph.topology


def ask_first() -> None:
    """Have networkx ask this backend first where it is installed, unless the user chose others for a function."""
    priority: Any = nx.config.backend_priority
    for name in ANSWERED if NAME in nx.config.backends else ():
        if name not in priority:
            priority[name] = [*priority.algos, NAME]
