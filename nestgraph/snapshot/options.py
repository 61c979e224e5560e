"""What people write by hand, in TOML or JSON, brought into JSON that passed the strict checks."""

import json
import tomllib
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any, cast

from nestgraph.snapshot.disk import PathLike, read_bounded, shown
from nestgraph.snapshot.limits import LIMITS
from nestgraph.snapshot.strict_json import check_json, in_one_sentence, place_of, real
from nestgraph.snapshot.toml_bounds import check_toml

OPTION_BYTES = 2**20
"""What a recipe may have: a thousand times what recipes have."""


def read_options(path: PathLike) -> str:
    """The text of a file of options; editors of some systems begin it with a byte order mark, which is no part of it.

    Raises:
        SnapshotError: it cannot be read or is too large.
        ValueError: it is not UTF-8.
    """
    try:
        return read_bounded(path, OPTION_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown(path)}: cannot be read (expected UTF-8 text, got: {error.reason})") from None


def options_json(text: str, source: PathLike) -> bytes:
    """The JSON of a text in TOML, or in JSON where the name of its `source` says so.

    Raises:
        ValueError: it is neither, ambiguous, too deep or too large, or has dates or numbers that JSON does not carry.
    """
    in_json = Path(source).suffix == ".json"
    limits = LIMITS.model_copy(update={"document_bytes": OPTION_BYTES})
    text = text.removeprefix("\ufeff")
    try:
        data = (text if in_json else _json_of(text, limits.depth)).encode()
        check_json(data, limits, finite=False)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"expected {'JSON' if in_json else 'TOML'}, got a syntax error: {error}") from None
    except RecursionError:
        raise ValueError(f"expected values nested at most {limits.depth} deep, got more") from None
    return data


def _json_of(text: str, depth: int) -> str:
    check_toml(text, depth)
    table = tomllib.loads(text, parse_float=lambda digits: real(digits, finite=False))
    if problems := list(_dates(table, ())):
        raise ValueError(in_one_sentence(problems))
    return json.dumps(table)


def _dates(value: Any, place: tuple[str | int, ...]) -> Iterator[str]:
    """What is wrong with each date and time: TOML has them, and no option is one."""
    if isinstance(value, date | time):
        yield f"{place_of(place)}: expected a number, text or truth value, got the date {value}: write text in quotes"
    inner = cast(dict[str, Any], value).items() if isinstance(value, dict) else ()
    for key, part in enumerate(cast(list[Any], value)) if isinstance(value, list) else inner:
        yield from _dates(part, (*place, key))
