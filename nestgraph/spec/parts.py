"""One thing, or several by name or in order: the targets and outputs of samples, and what is known of each."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast


def are_several(given: object) -> bool:
    """Whether these are several things; a list is one, as arrays may come as lists."""
    return isinstance(given, Mapping | tuple)


def each_of(given: Any) -> Iterator[tuple[str, Any]]:
    """The things with their names, or their places as text; one thing alone has none."""
    if isinstance(given, Mapping):
        yield from ((str(name), each) for name, each in cast("Mapping[object, Any]", given).items())
    elif isinstance(given, tuple):
        yield from ((str(place), each) for place, each in enumerate(cast("tuple[Any, ...]", given)))
    else:
        yield "", given


def mapped(function: Callable[[Any], Any], given: Any) -> Any:
    """What a function gives for the thing, or for each of several, in the same form."""
    return named(lambda _, each: function(each), given)


def named(function: Callable[[str, Any], Any], given: Any) -> Any:
    """What a function gives for a name, as `each_of` gives it, and the thing; of several in the same form."""
    found = [function(name, each) for name, each in each_of(given)]
    if isinstance(given, Mapping):
        return dict(zip(cast("Mapping[Any, Any]", given), found, strict=True))
    return tuple(found) if isinstance(given, tuple) else found[0]


def words_of(given: Any) -> str:
    """Several things by name or number, for messages."""
    if isinstance(given, Mapping):
        return ", ".join(str(name)[:64] for name in cast("Mapping[object, Any]", given))[:200]
    return f"{len(cast('tuple[Any, ...]', given))}"
