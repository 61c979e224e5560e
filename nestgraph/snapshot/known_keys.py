"""What keys there may be at a place of a document, to tell what an unknown one may have meant."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

SHOWN = 12

Node = Mapping[str, Any]


def unknown_key(schema: Node, place: Sequence[str | int]) -> str:
    """What is said of a key that a schema does not know: what may be meant, and what else there is.

    Args:
        schema: JSON Schema of the whole document.
        place: of the key, as pydantic tells it: the kinds of unions stand between keys.
    """
    nodes = [schema]
    for step in place[:-1]:
        nodes = [below for node in nodes for below in _below(schema, node, step)]
    known = sorted({key for node in nodes for each in _options(schema, node) for key in each.get("properties", {})})
    meant = get_close_matches(str(place[-1]), known, 1)
    if meant:
        return f"unknown key: is {meant[0]!r} meant?"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"unknown key (expected {', '.join(known[:SHOWN]) or 'only keys of the schema'}{more})"


def _options(schema: Node, node: Node) -> Iterator[Node]:
    """A node, or those that it may be."""
    if "$ref" in node:
        node = schema.get("$defs", {}).get(str(node["$ref"]).removeprefix("#/$defs/"), {})
    yield node
    for each in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _options(schema, each)


def _below(schema: Node, node: Node, step: str | int) -> Iterator[Node]:
    """What stands in a node at a step: a key, a place in a list, or which of several kinds the node is."""
    for each in _options(schema, node):
        kinds = each.get("discriminator", {}).get("mapping", {})
        if isinstance(step, int):
            yield from (each[name] for name in ("items",) if isinstance(each.get(name), dict))
        elif step in kinds:
            yield {"$ref": kinds[step]}
        elif step in each.get("properties", {}):
            yield each["properties"][step]
