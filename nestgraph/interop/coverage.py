"""Which functions and modules of PyTorch an import covers: read off the tables that it reads by."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from nestgraph.interop.modules import MODULES, MOVING_MODULES
from nestgraph.interop.vocabulary import CASTS, FUNCTIONS, MOVES
from nestgraph.lowering.operations import ROOMS, Room


def table() -> str:
    """What is covered as a table in Markdown: a row for each operation, then for what is none."""
    rows = [_row(f"`{room.record.__name__}`", room.functions, room.modules) for room in _named()]
    rows.append(_row("connections, sums and gates", FUNCTIONS.maps[0], MODULES.maps[0]))
    rows.append(_row("moves of elements", MOVES, MOVING_MODULES))
    rows.append(_row("left out, as they compute nothing", CASTS, ()))
    return "\n".join(["| what | functions and methods | modules |", "|---|---|---|", *rows])


def _named() -> Iterable[Room[Any]]:
    """The operations that functions and modules are; others are found in what is read."""
    return (room for room in ROOMS.values() if room.functions or room.modules)


def _row(what: str, functions: Iterable[str], modules: Iterable[type[nn.Module]]) -> str:
    return f"| {what} | {_listed(functions)} | {_listed(map(_name, modules))} |"


def _name(module: type[nn.Module]) -> str:
    return module.__name__


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names, key=str.lower))
