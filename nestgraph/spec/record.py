"""The ground of all records: strict, closed and frozen pydantic models, and the text types they use."""

import keyword
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Generic, Self, TypeVar, cast

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from nestgraph.errors import RecordError
from nestgraph.spec.arguments import MismatchError, sized
from nestgraph.spec.limits import MAX_WHOLE
from nestgraph.spec.wording import plain_problem, quoted

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
MAX_TEXT = 256
BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that a text has none of: control, surrogate and line separating ones."""


class Record(BaseModel):
    """A frozen record. Unknown keys, NaN, infinities and coerced types are refused.

    Raises:
        RecordError: it is made by hand, and its fields do not fit. Files are read through `TypeAdapter`s, whose
            `ValidationError`s become the errors of the files.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **fields: Any) -> None:
        _check_held(type(self).__name__, fields)
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise RecordError(type(self).__name__, plain_problem(error)) from error

    # pydantic asks for this mark to fill the fields of inner records without calling their constructors.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            problem = f"another value of {name}: a record stays as it is, and model_copy makes a changed one"
            raise RecordError(type(self).__name__, problem) from error

    def __delattr__(self, name: str) -> None:
        try:
            super().__delattr__(name)
        except ValidationError as error:
            raise RecordError(type(self).__name__, f"none of {name}: a record stays as it is") from error

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """As pydantic's, with a `RecordError`."""
        _check_held(cls.__name__, cast(Mapping[str, Any], obj) if isinstance(obj, Mapping) else {})
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise RecordError(cls.__name__, plain_problem(error)) from error

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As pydantic's, with a `RecordError`."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise RecordError(cls.__name__, plain_problem(error)) from error


T = TypeVar("T")


class Form(Generic[T]):
    """Reads and writes records of several kinds for users.

    Attributes:
        adapter: pydantic's, for those who read files and say in their own errors what does not fit.
    """

    def __init__(self, kinds: Any) -> None:
        self.adapter: TypeAdapter[T] = TypeAdapter(kinds)

    def validate_json(self, data: str | bytes | bytearray) -> T:
        """The record in a JSON text.

        Raises:
            RecordError: it is none.
        """
        return self._told(self.adapter.validate_json, data)

    def validate_python(self, value: Any) -> T:
        """The record that is given, or whose fields are.

        Raises:
            RecordError: it is none.
        """
        return self._told(self.adapter.validate_python, value)

    def dump_json(self, record: T) -> bytes:
        """The record as JSON.

        Raises:
            RecordError: it is none.
        """
        return self.adapter.dump_json(self.validate_python(record))

    def _told(self, read: Callable[[Any], T], value: Any) -> T:
        try:
            return read(value)
        except ValidationError as error:
            raise RecordError("a record", plain_problem(error)) from error


class ArrayRecord(Record):
    """A record with arrays among its fields. Two are equal when their JSON forms are."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayRecord) and type(self) is type(other) and self._form() == other._form()

    def __hash__(self) -> int:
        return hash(self._form())

    def _form(self) -> str:
        return self.model_dump_json()


def _check_held(record: str, fields: Mapping[str, Any]) -> None:
    """Refuse fields that have no end, or none that memory holds: pydantic takes iterators and ranges for lists."""
    for name, value in fields.items():
        try:
            endless = isinstance(sized(value), Iterator)
        except MismatchError:
            endless = True
        if endless:
            raise RecordError(record, f"{name}: expected what can be held in memory, got {quoted(value)}")


def plain_integer(value: Any) -> Any:
    """NumPy's integers as Python's; anything else as it is."""
    return value.item() if isinstance(value, np.integer) else value  # pyright: ignore[reportUnknownMemberType]


def check_name(name: str) -> str:
    """Return `name` if it is an identifier that no target language reserves.

    Raises:
        ValueError: the name does not match `NAME_PATTERN` or is a Python keyword.
    """
    if not re.match(NAME_PATTERN, name) or name.endswith("\n") or keyword.iskeyword(name):
        raise ValueError(
            f"expected a name of letters, digits and underscores that is no Python keyword, got {name[:80]!r}"
        )
    return name


def as_text(words: str) -> str:
    """Words of any origin as a `Text`: in one line, cut, and without the characters that it refuses."""
    kept = (" " if unicodedata.category(c) in FORBIDDEN or c in BIDIRECTIONAL else c for c in words)
    return " ".join("".join(kept).split())[:MAX_TEXT]


def check_text(text: str) -> str:
    """Return `text` if it has no control, line separating or bidirectional characters.

    Raises:
        ValueError: the text holds one.
    """
    for character in text:
        if unicodedata.category(character) in FORBIDDEN or character in BIDIRECTIONAL:
            raise ValueError(
                f"expected text without control, line separating or bidirectional characters, got {character!r}"
            )
    return text


def absent(value: object) -> bool:
    """Whether a field says nothing: fields younger than the first files are then left out, so that digests stay."""
    return value is None


Count = Annotated[int, Field(gt=0, lt=MAX_WHOLE), BeforeValidator(plain_integer)]
"""A positive integer that JSON carries; NumPy's are taken as well as Python's."""

Extent = Annotated[int, Field(ge=0, lt=MAX_WHOLE), BeforeValidator(plain_integer)]
"""An integer of at least 0 that JSON carries; NumPy's are taken as well as Python's."""

Name = Annotated[str, StringConstraints(max_length=64, pattern=NAME_PATTERN), AfterValidator(check_name)]
"""An identifier of a layer or projection: it appears in node keys, file names of pictures and DOT ids."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(check_text)]
"""Free text for people: data only, never a name, a path or markup."""
