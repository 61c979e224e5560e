"""How a value that was got, and what a record was refused for, are told in a message of one line."""

from typing import cast

from pydantic import ValidationError

SHOWN = 8
LONGEST = 60
LONGEST_FOREIGN = 200
MOST_PROBLEMS = 1000
"""Of a record: pydantic lists all or none of them, at a kilobyte each."""


def quoted(value: object) -> str:
    """`value` in a few words, whatever it is: also where its `repr` fails, is long or has no end."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, (str, bytes)):
        text = repr(value[:LONGEST])
        return text if len(value) <= LONGEST else f"{text[:LONGEST]}..."
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    kind = type(value).__name__
    shape = _shape(value)
    return f"{kind} of shape {shape}"[: 2 * LONGEST] if shape is not None else kind


def shape_of(value: object) -> str:
    """The shape of an array or tensor, or what else it is."""
    shape = _shape(value)
    return type(value).__name__ if shape is None else str(tuple(shape))


def _shape(value: object) -> tuple[object, ...] | None:
    try:
        shape = getattr(value, "shape", None)
    except Exception:  # a stranger's, or that of a nested tensor, which has none
        return None
    return cast("tuple[object, ...]", shape) if isinstance(shape, tuple) else None


def foreign(error: object) -> str:
    """What another library says was wrong, on one line and as long as a person reads: it may quote a whole file."""
    text = " ".join(str(error).split())
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= LONGEST_FOREIGN else f"{text[:LONGEST_FOREIGN]}..."


def plain_problem(error: ValidationError) -> str:
    """The problems that a record was refused for, in one line, for the errors of those who build records."""
    if error.error_count() > MOST_PROBLEMS:
        return f"{error.error_count():,} problems"
    found = error.errors(include_url=False, include_context=False)
    found = [one for one in found if one["type"] != "default_factory_not_called"]  # it follows from another problem
    shown = [_told(one["loc"], one["msg"], one["input"]) for one in found[:SHOWN]]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "; ".join((*shown, *more))


def _told(location: tuple[int | str, ...], message: str, given: object) -> str:
    place = ".".join(str(part)[:40] for part in location)
    own = message.removeprefix("Value error, ")
    if own == message:
        problem = f"{message.replace('Input should be', 'expected', 1)[:400]}, got {quoted(given)}"
    else:
        problem = own[:400]
    return f"{place}: {problem}" if place else problem
