"""What keys there may be at a place of a document, to tell what an unknown one may have meant."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

SHOWN = 12

Kind = type[BaseModel]


def unknown_key(record: Kind | None, place: Sequence[str | int]) -> str:
    """What is said of a key that a record does not know: what may be meant, and what else there is.

    Args:
        record: of the whole document, if it is known.
        place: of the key, as pydantic tells it: the kinds of unions stand between keys.
    """
    kinds = [] if record is None else [record]
    for step in place[:-1]:
        kinds = kinds if isinstance(step, int) else _below(kinds, step)
    known = sorted({key for kind in kinds for key in _fields(kind)})
    meant = get_close_matches(str(place[-1])[:64], known, 1)
    if meant:
        return f"unknown key: is {meant[0]!r} meant?"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"unknown key (expected {', '.join(known[:SHOWN]) or 'only keys of the schema'}{more})"


def _below(kinds: list[Kind], step: str) -> list[Kind]:
    """The records at a key of others, or those of a kind among them."""
    fields = [_fields(kind)[step] for kind in kinds if step in _fields(kind)]
    if fields:
        return [each for field in fields for each in _records(field.annotation)]
    named = [kind for kind in kinds if "kind" in _fields(kind)]
    return [kind for kind in named if step in get_args(_fields(kind)["kind"].annotation)]


def _fields(kind: Kind) -> dict[str, FieldInfo]:
    """The fields of a record by the names that documents have for them."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def _records(annotation: Any) -> Iterator[Kind]:
    """The records in an annotation, whatever else may be there."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _records(inner)
