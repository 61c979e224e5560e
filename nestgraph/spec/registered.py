"""Unions of records, told apart by their `kind`, to which others add kinds of their own."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from nestgraph.errors import StructureError
from nestgraph.spec.record import Record
from nestgraph.spec.wording import quoted

R = TypeVar("R", bound=Record)
REMEDY = "import the package that registers it"


class Registered(Generic[R]):
    """The kinds of one family of records.

    Attributes:
        what: the family, for people.
        union: the kinds of this package, as an annotated union.
        others: those that are registered, by kind.
        classes: the same, as a set.
    """

    def __init__(self, what: str, union: Any) -> None:
        self.what, self.union = what, union
        self.others: dict[str, type[R]] = {}
        self.classes: set[type[R]] = set()
        self._own: dict[str, type[R]] = {_kind(each): each for each in get_args(get_args(union)[0])}

    def __iter__(self) -> Iterator[type[R]]:
        """All kinds, those of this package first."""
        return iter((*self._own.values(), *self.others.values()))

    def add(self, record: type[R]) -> None:
        """Register a kind.

        Raises:
            StructureError: its tag is none, or another record's.
        """
        kind = _kind(record)
        known = self._own.get(kind) or self.others.get(kind, record)
        if known is not record or not isinstance(cast(Any, kind), str):
            raise StructureError(
                f"register expected a record of a kind of {self.what} of its own, got {kind!r}, which "
                f"{known.__name__} has"
            )
        self.others[kind] = record
        self.classes.add(record)

    def find(self, kind: str) -> type[R] | None:
        """The class of others that has a kind; None of a kind of this package.

        Raises:
            ValueError: nobody has it.
        """
        if kind in self._own:
            return None
        if kind not in self.others:
            known = ", ".join((*self._own, *self.others))
            raise ValueError(f"expected a kind of {self.what} that is known ({known}), got {quoted(kind)}: {REMEDY}")
        return self.others[kind]


def _kind(record: type[Record]) -> str:
    return record.model_fields["kind"].default


class ByKind:
    """Marks a record as any of a family: it is read and written by its `kind`."""

    def __init__(self, kinds: Registered[Any]) -> None:
        self._kinds = kinds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds = self._kinds

        def read(value: Any, within: Callable[[Any], Any], info: core_schema.ValidationInfo) -> Any:
            given: type = value.__class__
            if given in kinds.classes:
                return value
            kind: Any = value.get("kind") if given is dict else None
            if kind.__class__ is not str or (record := kinds.find(kind)) is None:
                return within(value)
            return (
                record.model_validate_json(json.dumps(value)) if info.mode == "json" else record.model_validate(value)
            )

        def written(value: Any, within: Callable[[Any], Any], info: core_schema.SerializationInfo) -> Any:
            return value.model_dump(mode=info.mode) if value.__class__ in kinds.classes else within(value)

        inner = handler.generate_schema(kinds.union)
        writing = core_schema.wrap_serializer_function_ser_schema(written, info_arg=True, schema=inner)
        return core_schema.with_info_wrap_validator_function(read, inner, serialization=writing)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(core)
