"""Which boxes the layer diagram has, and where: equal runs folded into one box, long diagrams wrapped into rows."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from nestgraph.graph.structure import Structure

SHORTEST_RUN = 3  # two boxes say more than one box "x 2"
LONGEST_ROW = 7
BOX_ASPECT = 1.4  # height over width of the place a box takes, with its gaps
ASPECT = 2.2  # width over height that a wrapped diagram aims at


MOST_BOXES = 240  # of a diagram; a layout of thousands takes minutes


@dataclass(frozen=True)
class Run:
    """Layers drawn as one box, first to last: a chain of equal ones, or of a huge network what lies in its middle."""

    names: tuple[str, ...]
    middle: bool = False

    @property
    def key(self) -> str:
        """The first layer's name, which is the box's DOT id."""
        return self.names[0]


def runs(structure: Structure, apart: Collection[str] = ()) -> tuple[Run, ...]:
    """All layers in order; chains of at least `SHORTEST_RUN` equal layers share a run, but for those kept apart.

    Of more than `MOST_BOXES` boxes those in the middle become one.
    """
    found: list[Run] = []
    placed: set[str] = set()
    for name in structure.layer_names:
        if name in placed:
            continue
        chain = tuple(_chain(structure, name, apart))
        names = chain if len(chain) >= SHORTEST_RUN else (name,)
        placed.update(names)
        found.append(Run(names))
    return tuple(found) if len(found) <= MOST_BOXES else _ends(found)


def _ends(found: Sequence[Run]) -> tuple[Run, ...]:
    """The first and the last boxes, and one for all between them."""
    half = MOST_BOXES // 2
    between = Run(tuple(name for run in found[half:-half] for name in run.names), middle=True)
    return (*found[:half], between, *found[-half:])


def _chain(structure: Structure, name: str, apart: Collection[str]) -> Iterator[str]:
    yield name
    wanted = None if name in apart else _shape(structure, name)
    while len(structure.outgoing(name)) == 1 and not structure.layer(name).output:
        name = structure.outgoing(name)[0].target
        if wanted is None or name in apart or _shape(structure, name) != wanted:
            return
        yield name


def _shape(structure: Structure, name: str) -> tuple[object, ...] | None:
    """What makes layers of a chain equal: all but names and weights; None for inputs and where branches meet."""
    if len(structure.incoming(name)) != 1:
        return None
    projection = structure.incoming(name)[0]
    layer = structure.layer(name).model_copy(update={"name": "layer"})
    shared = projection.model_copy(update={"name": "projection", "source": "source", "target": "target"})
    return layer, shared, structure.connection_columns(projection.name).mask.shape


@dataclass(frozen=True)
class Grid:
    """Rank of every run (its depth from the inputs) and how many ranks a row holds."""

    ranks: dict[str, int]
    row_length: int

    def row(self, key: str) -> int:
        """The row of a run, 0 at the top."""
        return self.ranks[key] // self.row_length

    def column(self, key: str) -> int:
        """The column of a run; every second row runs from right to left, so that wrapped edges stay short."""
        row, place = divmod(self.ranks[key], self.row_length)
        return place if row % 2 == 0 else self.row_length - 1 - place

    @property
    def wrapped(self) -> bool:
        """Whether there is more than one row."""
        return max(self.ranks.values()) >= self.row_length

    def cells(self) -> dict[tuple[int, int], list[str]]:
        """The runs at each (column, row), in order."""
        found: dict[tuple[int, int], list[str]] = {}
        for key in self.ranks:
            found.setdefault((self.column(key), self.row(key)), []).append(key)
        return dict(sorted(found.items()))


def grid(structure: Structure, boxes: tuple[Run, ...]) -> Grid:
    """Place the runs: one row where it is short, else rows whose picture is about `ASPECT` wide."""
    run_of = {name: run.key for run in boxes for name in run.names}
    ranks: dict[str, int] = {}
    for run in boxes:
        inner = set(run.names)
        into = {p.source for name in (run.names if run.middle else run.names[:1]) for p in structure.incoming(name)}
        sources = [ranks[run_of[source]] for source in into - inner]
        ranks[run.key] = 1 + max(sources, default=-1)
    count = 1 + max(ranks.values())
    if count <= LONGEST_ROW:
        return Grid(ranks, count)
    widest = math.ceil(math.sqrt(count * ASPECT * BOX_ASPECT / 2))
    rows = math.ceil(count / max(4, widest))
    return Grid(ranks, math.ceil(count / rows))
