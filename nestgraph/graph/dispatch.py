"""Which backend of networkx a network's view asks for, call by call, so that no setting of networkx has to change.

networkx runs a function by the backend that its graph names. The view cannot name one for good: networkx would then
refuse every call that is also about an ordinary graph. So it looks at the call that asks: one about views alone, to
which the user gave no backend and for which none is preferred, goes to `nestgraph.graph.backend`. Where this is not
such a call, or networkx asks in another way than it does today, networkx's own code runs on the view.
Source: networkx 3.6, `networkx.utils.backends`.
"""

from collections.abc import Iterator
from types import FrameType
from typing import Any

import networkx as nx

NAME = "nestgraph"
NONE = "networkx"
"""What networkx calls its own code."""


def asked_backend(view: "nx.DiGraph[Any]", caller: FrameType | None) -> str:
    """The backend that a view names to a caller."""
    if caller is not None and caller.f_code.co_name == "<setcomp>":
        caller = caller.f_back  # before Python 3.12 a comprehension has a frame of its own
    if caller is None or caller.f_globals.get("__name__") != "networkx.utils.backends":
        return NONE
    call: dict[str, Any] = caller.f_locals
    function, args, kwargs = call.get("self"), call.get("args"), call.get("kwargs")
    if not isinstance(args, tuple | list) or not isinstance(kwargs, dict) or call.get("backend") is not None:
        return NONE
    alone = all(type(graph) is type(view) for graph in graphs_in((*args, *kwargs.values())))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType, reportUnknownMemberType]
    return NAME if alone and NAME in nx.config.backends and not _preferred(getattr(function, "name", "")) else NONE


def graphs_in(arguments: "tuple[Any, ...]") -> "Iterator[nx.Graph[Any]]":
    """The graphs among the arguments of a call, and in lists of them."""
    for argument in arguments:
        yield from (part for part in (argument if isinstance(argument, list) else [argument]) if _is_graph(part))  # pyright: ignore[reportUnknownVariableType]


def _is_graph(argument: Any) -> bool:
    return isinstance(argument, nx.Graph)


def _preferred(function: str) -> list[str]:
    """The backends that the user prefers for a function of networkx."""
    priority: Any = nx.config.backend_priority
    return priority.get(function, priority.algos)
