"""What all verbs say in the same way: facts on stdout, messages on stderr, nothing that a terminal would obey."""

import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

DONE, NO, USAGE, BUG, INTERRUPTED, UNREAD = 0, 1, 2, 70, 130, 141
"""Exit codes; the last two are what a shell reports of programs that Ctrl-C or a closed pipe ended."""


@dataclass
class Settings:
    """The options that go with every verb."""

    quiet: bool = False
    debug: bool = False


SETTINGS = Settings()


def follows() -> int:
    """The number of this process where several were started together, and another is the first; else 0."""
    number = os.environ.get("RANK", "")
    return int(number) if number.isdecimal() and "WORLD_SIZE" in os.environ else 0


def plain(text: str) -> str:
    """Text in which control and invisible characters are escaped as in JSON, so that JSON stays what it is."""
    return "\n".join(line if line.isprintable() else "".join(map(_plain, line)) for line in text.split("\n"))


def _plain(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _print(text: str, err: bool = False) -> None:
    """Print plain text, in which characters that the stream cannot carry are escaped as in JSON."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    carried = text.encode(encoding, "ignore").decode(encoding)
    if carried != text:
        unknown = {ord(character): json.dumps(character)[1:-1] for character in set(text) - set(carried)}
        text = text.translate(unknown)
    typer.echo(text, err=err)


def answer(text: str) -> None:
    """Print on stdout; of several processes the first does."""
    if not follows():
        _print(plain(text))


def facts(content: Any, text: str, as_json: bool) -> None:
    """The answer of a verb: as JSON, or as text."""
    answer(json.dumps(content, indent=2) if as_json else text)


def say(message: str) -> None:
    """A message for people, on stderr; silent with --quiet."""
    if not SETTINGS.quiet:
        complain(message)


def complain(message: str) -> None:
    """One line on stderr, also with --quiet: why there is no answer."""
    number = follows()
    _print(f"process {number}: " * bool(number) + plain(message).replace("\n", " "), err=True)


class Told(logging.Handler):
    """Says what the library notes of its own accord, such as what it made of a folder of images."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        say(record.getMessage())


def tell_notes() -> None:
    """From here on say what the library notes."""
    notes = logging.getLogger("nestgraph")
    notes.setLevel(logging.INFO)
    if not any(isinstance(handler, Told) for handler in notes.handlers):
        notes.addHandler(Told())


def suggest(*words: str | Path) -> None:
    """Name the verb that is useful next, ready to be copied into a shell."""
    say(f"next: nestgraph {shlex.join(map(str, words))}")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text, the first a heading; the first column left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])
