"""Unions of records that are open: kinds of others are found by name, or kept as records of their fields."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from nestgraph.errors import RecipeError
from nestgraph.spec.kinds import SHOWN, Kinds


@dataclass(frozen=True)
class Recorded:
    """How the recipe of a run is read: what is not known is kept as a record, so that nothing has to be installed.

    Attributes:
        classes: by kind, those that are given.
        refused: the JSON of what stays records of its fields, as its classes refuse it now.
    """

    classes: Mapping[str, type[Any]] = field(default_factory=dict[str, type[Any]])
    refused: list[Any] = field(default_factory=list[Any])


class Own:
    """Marks a union of records, which it is told, as open: other kinds are found among those of its form."""

    def __init__(self, union: Any, kinds: Kinds[Any]) -> None:
        self._union, self._kinds = union, kinds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds, here = self._kinds, frozenset(map(self._kinds.kind_of, members(self._union)))

        def read(value: Any, within: Callable[[Any], Any], info: core_schema.ValidationInfo) -> Any:
            try:
                found = _own(kinds, value, info.context, here)
            except RecipeError as error:
                raise ValueError(str(error)) from None
            if found is None:
                return _of_json(self._union, value, info.context) if info.mode == "json" else within(value)
            return found if isinstance(found, kinds.base) else _of_json(found, value, info.context)

        def written(value: Any, within: Callable[[Any], Any], info: core_schema.SerializationInfo) -> Any:
            if not isinstance(value, kinds.base) or getattr(value, "kind", None) in here:
                return within(value)
            word_for_word = isinstance(value, kinds.unknown)
            return value.model_dump(mode=info.mode, warnings=False, exclude_unset=word_for_word)

        inner = handler(source)
        writing = core_schema.wrap_serializer_function_ser_schema(written, info_arg=True, schema=inner)
        return core_schema.with_info_wrap_validator_function(read, inner, serialization=writing)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core)
        own = [handler(each.__pydantic_core_schema__) for each in self._kinds.offered()]
        return {**schema, "oneOf": [*schema["oneOf"], *own]} if own else schema


def members(union: Any) -> tuple[type[Any], ...]:
    """The classes of a union that is told apart by kinds, and of those inside it."""
    found = (get_args(get_args(each)[0]) if get_args(each) else (each,) for each in get_args(get_args(union)[0]))
    return tuple(each for several in found for each in several)


def _own(kinds: Kinds[Any], value: Any, context: Any, here: frozenset[str]) -> Any:
    """A record that is not of this package, or its class; None for what is, or is none. `here` are the union's kinds.

    Raises:
        RecipeError: there is no such kind, or it cannot be had.
    """
    read = context if isinstance(context, Recorded) else None
    if read and value in read.refused:
        return kinds.unknown
    kind = cast("dict[str, Any]", value).get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    if not isinstance(kind, str) or kind in kinds.builtin:
        return None
    if isinstance(value, kinds.base):
        return cast(Any, value)
    try:
        given = read.classes.get(kind) if read else None
        found = given if given and issubclass(given, kinds.base) else kinds.find(kind)
    except RecipeError:
        if read is None:
            raise
        found = None
    if found or read:
        return found or kinds.unknown
    known = ", ".join(map(repr, sorted(here)))
    raise RecipeError(
        f"expected a kind of {kinds.one} of this package ({known}), of one that is installed or of a class that is "
        f"registered, got {kind[:SHOWN]!r}"
    )


def _of_json(kinds: Any, value: Any, context: Any) -> Any:
    """A record in a JSON document that was parsed: as JSON, so that lists are tuples."""
    return _reader(kinds).validate_json(json.dumps(value), context=context)


@cache
def _reader(kinds: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kinds)
