"""What all verbs say in the same way: facts on stdout, messages on stderr, errors as one sentence."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import typer

DONE, NO, USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass
class Settings:
    """The options that go before every verb."""

    quiet: bool = False
    debug: bool = False


SETTINGS = Settings()


def say(message: str) -> None:
    """A message for people, on stderr; silent with --quiet."""
    if not SETTINGS.quiet:
        typer.echo(message, err=True)


def facts(content: Any, text: str, as_json: bool) -> None:
    """The answer of a verb on stdout: as JSON, or as text."""
    typer.echo(json.dumps(content, indent=2) if as_json else text)


def fail(message: str, code: int) -> NoReturn:
    """End with one sentence on stderr."""
    typer.echo(f"nestgraph: {message}", err=True)
    raise typer.Exit(code)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn the errors that nestgraph raises on purpose, and Ctrl-C, into one sentence and an exit code."""
    from nestgraph.errors import NestgraphError, RecipeError

    try:
        yield
    except NestgraphError as error:
        if SETTINGS.debug:
            raise
        fail(str(error), USAGE if isinstance(error, RecipeError) else NO)
    except OSError as error:
        if SETTINGS.debug:
            raise
        fail(f"{error.filename or 'a file'}: expected to read or write it, got: {error.strerror}", NO)
    except KeyboardInterrupt:
        typer.echo("nestgraph: interrupted; what was written so far is whole", err=True)
        sys.stderr.flush()
        raise typer.Exit(INTERRUPTED) from None


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text, the first a heading; the first column left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
