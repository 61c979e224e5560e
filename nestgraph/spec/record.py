"""The ground of all records: strict, closed and frozen pydantic models, and the text types they use."""

import keyword
import re
import unicodedata
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
MAX_TEXT = 256
BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Record(BaseModel):
    """A frozen record. Unknown keys, NaN, infinities and coerced types are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ArrayRecord(Record):
    """A record with arrays among its fields. Two are equal when their JSON forms are."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayRecord) and type(self) is type(other) and self._form() == other._form()

    def __hash__(self) -> int:
        return hash(self._form())

    def _form(self) -> str:
        return self.model_dump_json()


def plain_problem(error: ValidationError) -> str:
    """The first problem that a record was refused for, in one line, for the errors of those who build records."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    return f"{place}: {problem}" if place else problem


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


def check_text(text: str) -> str:
    """Return `text` if it has no control, line separating or bidirectional characters.

    Raises:
        ValueError: the text holds one.
    """
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDIRECTIONAL:
            raise ValueError(
                f"expected text without control, line separating or bidirectional characters, got {character!r}"
            )
    return text


Count = Annotated[int, Field(gt=0), BeforeValidator(plain_integer)]
"""A positive integer; NumPy's are taken as well as Python's."""

Extent = Annotated[int, Field(ge=0), BeforeValidator(plain_integer)]
"""An integer of at least 0; NumPy's are taken as well as Python's."""

Name = Annotated[str, StringConstraints(max_length=64, pattern=NAME_PATTERN), AfterValidator(check_name)]
"""An identifier of a layer or projection: it appears in node keys, file names of pictures and DOT ids."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(check_text)]
"""Free text for people: data only, never a name, a path or markup."""
