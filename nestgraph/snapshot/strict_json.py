"""Strict reading of JSON from strangers: bounded before it is parsed, and every failure is one sentence.

pydantic keeps the last of duplicate keys and bounds neither depth nor memory, and Python's parser takes NaN and 1e999;
so a document passes `check_json` first, and pydantic only then. SECURITY.md says what is promised of such files.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn, TypeVar, cast

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from nestgraph.errors import SnapshotError
from nestgraph.snapshot.known_keys import unknown_key
from nestgraph.snapshot.limits import LIMITS, Limits
from nestgraph.spec.limits import MAX_WHOLE
from nestgraph.spec.wording import MOST_PROBLEMS, quoted

T = TypeVar("T")
SHOWN, LONGEST = 16, 700  # problems, and characters of all of them together
# What pydantic says as others are wrong: it cannot fill in a field, a list has too few items that are right.
UNFILLED, SHORT = "default_factory_not_called", "too_short"
UNKNOWN = "extra_forbidden"
# Possessive, and content with a string that never ends: linear in time and without a stack for any input.
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
SOME_DIGIT = re.compile(r"[-+]?[0_.]*+[1-9]")
PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def read_record(
    adapter: TypeAdapter[T],
    data: bytes,
    where: str,
    limits: Limits = LIMITS,
    migrate: Callable[[Any], Any] | None = None,
    context: object = None,
) -> T:
    """Read one record from JSON that nobody vouches for.

    Args:
        adapter: the record's type; its models should be `nestgraph.spec.Record`s.
        data: the JSON text.
        where: the file, or the file and line, that messages begin with.
        limits: what to refuse unread.
        migrate: gives the current form of a parsed document: the same object where it is current.
        context: what its models find as their context; `limits` by default.

    Raises:
        SnapshotError: one sentence, `where: place: problem`. It comes from the `VerificationError` of a network that
            breaks a law.
    """
    try:
        given = check_json(data, limits)
        value = migrate(given) if migrate else given
        return adapter.validate_json(data if value is given else json.dumps(value), context=context or limits)
    except ValidationError as error:
        raise SnapshotError(f"{where}: {problems_of(error)}") from (_reason(error) or error)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise SnapshotError(f"{where}: {place}: {error.msg} (expected JSON, got broken or truncated text)") from error
    except (RecursionError, MemoryError, OverflowError) as error:
        problem = f"expected a document that fits this machine, got {type(error).__name__}"
        raise SnapshotError(f"{where}: {problem}") from None
    except ValueError as error:
        raise SnapshotError(f"{where}: {error}") from error


def check_json(data: bytes, limits: Limits = LIMITS, finite: bool = True) -> Any:
    """Refuse text that is too large, too deep, not UTF-8, ambiguous, or has numbers that JSON does not carry.

    Args:
        data: the text.
        limits: what is too large and too deep.
        finite: refuse NaN, infinities and 1e999 here; else the record does it, whose message names the field.

    Returns:
        What it says, as Python's JSON parser gives it.

    Raises:
        ValueError: what is wrong; a `json.JSONDecodeError` where it is not JSON.
    """
    if len(data) > limits.document_bytes:
        raise ValueError(f"too large (expected at most {limits.document_bytes:,} bytes, got {len(data):,})")
    if data.startswith(b"\xef\xbb\xbf"):
        raise ValueError("expected UTF-8 text without a byte order mark, got one: save it without")
    try:
        text = data.decode("utf-8")  # first: brackets in a picture are no values
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8 text, got byte {data[error.start]:#04x} at offset {error.start}") from None
    _check_nesting(STRING.sub(b"", data), limits)
    hooks: dict[str, Any] = {"parse_constant": _constant} if finite else {}
    parse_float = partial(real, finite=finite)
    return json.loads(text, object_pairs_hook=_distinct, parse_int=_integer, parse_float=parse_float, **hooks)


def _check_nesting(bare: bytes, limits: Limits) -> None:
    """Bound the number of values and their depth; `bare` is the text without its strings."""
    values = sum(bare.count(mark) for mark in b",[{")
    if values > limits.values:
        raise ValueError(
            f"expected at most {limits.values:,} values, got {values:,}: long arrays belong in packed form"
        )
    marks = np.frombuffer(bare, np.uint8)
    opening, closing = (marks == ord("[")) | (marks == ord("{")), (marks == ord("]")) | (marks == ord("}"))
    steps = opening.astype(np.int8) - closing.astype(np.int8)
    depth = int(np.cumsum(steps[steps != 0], dtype=np.int64).max(initial=0))
    if depth > limits.depth:
        raise ValueError(f"expected values nested at most {limits.depth} deep, got {depth}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"expected each key once, got {twice[:64]!r} twice in one object")
    return table


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) >= MAX_WHOLE:
        raise ValueError(f"expected integers below 2**53, got {text[:40]}")
    return int(text)


def real(text: str, finite: bool = True) -> float:
    """The number that a text of digits says.

    Raises:
        ValueError: it is so small that it would become 0, or, if `finite` is asked for, too large.
    """
    value = float(text)
    if finite and not math.isfinite(value):
        raise ValueError(f"expected finite numbers, got {text[:40]}")
    if not value and SOME_DIGIT.match(text):
        raise ValueError(f"expected numbers that are 0 or large enough not to become 0, got {text[:40]}")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"expected finite numbers, got {text}")


def problems_of(error: ValidationError, record: type[BaseModel] | None = None) -> str:
    """All problems of a validation, or the first and how many more, each with its place:
    `layers[2].values.bias: expected ..., got ...; projections: missing ...`.

    Args:
        error: the validation's.
        record: of the whole document, to tell what unknown keys may have meant.
    """
    count = error.error_count()
    if count > MOST_PROBLEMS:
        return f"expected a document of the schema, got {count:,} problems"
    everything = cast(list[dict[str, Any]], error.errors(include_url=False))
    inner = {each["loc"][:length] for each in everything for length in range(len(each["loc"]))}
    found = [
        each for each in everything if each["type"] != UNFILLED and not (each["type"] == SHORT and each["loc"] in inner)
    ]
    placed = ((place_of(each["loc"]), _problem(each, record)) for each in found[:SHOWN])
    return in_one_sentence([f"{place}: {words}" if place else words for place, words in placed], len(found))


def in_one_sentence(problems: Iterable[str], count: int = 0) -> str:
    """Problems side by side, as many as people read, and how many more there are; `count` is of all, where it is more.

    What is no printable character is escaped.
    """
    problems = list(problems)
    shown = problems[:1]
    for problem in problems[1:SHOWN]:
        if sum(map(len, (*shown, problem))) > LONGEST:
            break
        shown.append(problem)
    rest = max(count, len(problems)) - len(shown)
    text = "; ".join(shown) + (f" (and {rest:,} more)" if rest else "")
    return text if text.isprintable() else ascii(text)[1:-1]


def _first(error: ValidationError) -> dict[str, Any]:
    return cast(dict[str, Any], error.errors(include_url=False)[0])


def _problem(first: dict[str, Any], record: type[BaseModel] | None) -> str:
    if first["type"] == UNKNOWN:
        return unknown_key(record, first["loc"])
    if first["type"] == "missing":
        return "missing (expected a value, got none)"
    if first["type"] == "union_tag_not_found":
        return f"expected an object with a key {first['ctx']['discriminator']}, got none"
    reason = first.get("ctx", {}).get("error")
    if isinstance(reason, Exception):
        return str(reason)
    message, given = str(first["msg"])[:400], first["input"]
    if first["type"] == "json_invalid":
        return message
    got = repr(given[:40]) if isinstance(given, str) else quoted(given) if isinstance(given, int | float) else None
    return f"{message.replace('Input should be', 'expected', 1)}, got {got or type(given).__name__}"


def place_of(location: tuple[int | str, ...]) -> str:
    """The place of a problem, `layers[2].values`."""
    place = ""
    for step in location:
        if isinstance(step, int):
            place += f"[{step}]"
        else:
            key = step if PLAIN_KEY.fullmatch(step) else repr(step[:40])
            place += f".{key}" if place else key
    return place


def _reason(error: ValidationError) -> BaseException | None:
    """What a validator of ours raised the only problem from."""
    raised = _first(error).get("ctx", {}).get("error") if error.error_count() == 1 else None
    return raised.__cause__ if isinstance(raised, BaseException) else None
