"""What nodes and edges of an explicit graph may say; all else is refused by name, so that no fact is dropped."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn, cast

from nestgraph.errors import StructureError
from nestgraph.graph.topology import Node
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Projection

NESTED = ("weights", "areas", "slots")
EDGE = ("weight", "connections", "projections", *NESTED)
UNIT = ("layer", "kind")


@dataclass(frozen=True)
class Edge:
    """An edge of an explicit graph.

    Attributes:
        source: the unit that it leaves.
        target: the unit that it leads to.
        data: its attributes.
        carriers: names of the projections that carry it.
    """

    source: Node
    target: Node
    data: Mapping[str, Any]
    carriers: tuple[str, ...]

    def block(self, projection: str) -> Any:
        """The weight or nested weights that a projection carries of it."""
        return table(self.data, "weights").get(projection, self.data.get("weight", 0.0))

    def refuse(self, problem: str) -> NoReturn:
        """Raise an error that names the edge."""
        raise StructureError(f"edge from {self.source} to {self.target}: {problem}")


def check_unit(node: Node, data: Mapping[str, Any], layer: Layer) -> None:
    """Refuse attributes of a node that its unit cannot have.

    Raises:
        StructureError: one is unknown, or the layer has no such column, or is another.
    """
    known, own = (*UNIT, *layer.column_names), {"layer": layer.name, "kind": layer.kind}
    for name, value in data.items():
        if name in own and value != own[name]:
            remedy = "give the layer's record, or the attribute another value or none"
            _refuse_unit(node, f"expected {name} {own[name]!r}, got {str(value)[:80]!r}: {remedy}")
        elif name not in known and not _absent(value):
            words = f"expected attributes among {', '.join(known)}, got {name!r}{_nearest(name, known)}"
            _refuse_unit(node, f"{words}: what a whole layer does belongs into its record, `layers` of from_graph")


def _refuse_unit(node: Node, problem: str) -> NoReturn:
    raise StructureError(f"node {node}: {problem}")


def _absent(value: Any) -> bool:
    """Whether a table has nothing where another row has something: pandas gives NaN there."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _nearest(name: Any, known: Collection[str]) -> str:
    folded = {one.casefold(): one for one in known}
    found = get_close_matches(str(name).casefold(), folded, 1)
    return f", perhaps for {folded[found[0]]!r}" if found else ""


def present(data: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that an edge has."""
    lacking = {
        name for name, value in data.items() if name != "weight" and isinstance(value, float) and math.isnan(value)
    }
    return {name: value for name, value in data.items() if name not in lacking}


def read_edge(source: Node, target: Node, given: Mapping[str, Any], between: Sequence[Projection]) -> Edge:
    """An edge with the projections that carry it.

    Args:
        source: the unit that it leaves.
        target: the unit that it leads to.
        given: its attributes.
        between: the projections from its source's layer to its target's.

    Raises:
        StructureError: an attribute is unknown, or says something that no projection of these carries.
    """
    edge = Edge(source, target, data := present(given), ())
    for name in data:
        if name not in EDGE:
            edge.refuse(f"expected attributes among {', '.join(EDGE)}, got {name!r}{_nearest(name, EDGE)}")
    known = [projection.name for projection in between]
    carriers = _carriers(edge, known)
    for what, names in (("projections", carriers), *((name, table(data, name)) for name in NESTED)):
        _check_known(edge, what, names, known if what == "projections" else carriers)
    if table(data, "weights") and len(table(data, "weights")) < len(carriers):
        edge.refuse(f"expected weights of each of {', '.join(carriers)}, got those of {', '.join(data['weights'])}")
    return Edge(source, target, data, carriers)


def _carriers(edge: Edge, known: Sequence[str]) -> tuple[str, ...]:
    names = edge.data.get("projections", tuple(table(edge.data, "weights")) or known)
    if not isinstance(names, tuple | list):
        edge.refuse(f"expected projections to be a list of names, got {str(names)[:80]}")
    found = tuple(cast("Iterable[str]", names))
    if not found or len(set(map(repr, found))) < len(found):
        edge.refuse(f"expected projections that carry it, each once, got {list(found)}: there are {_listed(known)}")
    if "projections" not in edge.data and not edge.data.get("weights") and len(found) > 1:
        edge.refuse(f"expected projections to say which of {_listed(found)} carry it, got none")
    return found


def _check_known(edge: Edge, what: str, names: Iterable[Any], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            hint = _nearest(name, known)
            edge.refuse(f"expected {what} among {_listed(known)}, got {str(name)[:80]!r}{hint}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) or "none"


def check_sums(edge: Edge, total: float, active: int, joins: bool) -> None:
    """Refuse an edge that says of its connections what they are not.

    Args:
        edge: the edge.
        total: the sum of the weights that its projections carry.
        active: how many connections.
        joins: whether it is an edge without a connection, too.

    Raises:
        StructureError: `weight` is not the sum beside `weights`, or there are not as many connections, or none.
    """
    weight, count = edge.data.get("weight", 0.0), edge.data.get("connections", active)
    if ("weights" in edge.data or joins) and "weight" in edge.data and not _close(weight, total):
        edge.refuse(f"expected weight {total:g}, the sum of what its projections carry, got {str(weight)[:80]}")
    if count != active:
        edge.refuse(f"expected {active} connections, as its weights have, got {str(count)[:80]}: leave the count out")
    if not active and not joins:
        edge.refuse("expected an active connection, got weights of None alone: leave the edge out")


def _close(weight: Any, total: float) -> bool:
    return isinstance(weight, float | int) and math.isclose(weight, total, rel_tol=1e-5, abs_tol=1e-6)


def table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested attribute by projection name; empty where there is none."""
    found = data.get(name, {})
    if not isinstance(found, Mapping):
        raise StructureError(f"from_graph expected {name} by projection name, got {str(found)[:80]}")
    return cast("Mapping[str, Any]", found)
