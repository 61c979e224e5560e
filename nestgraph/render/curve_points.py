"""The log of a run as its curves need it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

from nestgraph.errors import RenderError
from nestgraph.render.style import plain

NUMBERS = ("step", "connections")


@dataclass(frozen=True)
class Point:
    """One line of the log, as the curves need it."""

    step: float
    phase: str
    connections: float
    score: float


@dataclass(frozen=True)
class Span:
    """Points in a row that share a phase; `end` is where the next phase starts."""

    phase: str
    start: float
    end: float


def points_of(metrics: Sequence[Mapping[str, Any]], score: str) -> tuple[Point, ...]:
    """The points of a log; see `curves`.

    Raises:
        RenderError: the log is empty, or an entry lacks a number.
    """
    if not metrics:
        raise RenderError("curves expected at least one entry of a run's log, got none")
    return tuple(_point(index, entry, score) for index, entry in enumerate(metrics))


def _point(index: int, entry: Mapping[str, Any], score: str) -> Point:
    among: Any = entry.get("scores")
    given: dict[str, Any] = {**entry, **(cast("Mapping[str, Any]", among) if isinstance(among, Mapping) else {})}
    for name in (*NUMBERS, score):
        value: object = given.get(name)
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise RenderError(f"curves: entry {index} expected a finite number as {name!r}, got {str(value)[:40]!r}")
    if entry["connections"] < 1:
        raise RenderError(f"curves: entry {index} expected at least 1 connection, got {entry['connections']}")
    phase = plain(str(entry.get("phase", "")))[:24]
    return Point(float(entry["step"]), phase, float(entry["connections"]), float(given[score]))


def spans_of(points: Sequence[Point]) -> Iterator[Span]:
    """The spans of points, in their order."""
    starts = [index for index, point in enumerate(points) if not index or point.phase != points[index - 1].phase]
    for place, start in enumerate(starts):
        last = place + 1 == len(starts)
        yield Span(points[start].phase, points[start].step, points[-1 if last else starts[place + 1]].step)
