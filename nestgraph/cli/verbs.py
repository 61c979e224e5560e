"""How verbs are found on the command line, how their help begins, and how every ending becomes an exit code."""

import sys
import warnings
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from nestgraph.cli.output import BUG, NO, SETTINGS, UNREAD, USAGE, complain, follows, say
from nestgraph.errors import NestgraphError, RecipeError

EVERYWHERE = ("-q", "--quiet", "--debug")
"""Options of the program that may also stand after the verb."""


class Verb(TyperCommand):
    """A verb whose help begins with an example, which is its epilog."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the example first."""
        formatter.write(f"Example: {self.epilog}\n\n")
        super().format_help(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write what goes with every verb in the place of the epilog."""
        with formatter.section("With every verb"):
            formatter.write_dl([("-q, --quiet", "No messages and no progress."), ("--debug", "Show tracebacks.")])


class Verbs(TyperGroup):
    """The program: finds the verb, and turns whatever goes wrong into one sentence and an exit code."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the examples first."""
        formatter.write(f"Examples:\n{self.epilog}\n\n")
        super().format_help(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write nothing: the examples came first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options of the program, wherever they stand before a `--`."""
        if not args:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(USAGE)
        if "" in args:
            ctx.fail("expected no empty word, got one: is a variable of the shell not set?")
        end = args.index("--") if "--" in args else len(args)
        ours = [word for word in args[:end] if word in EVERYWHERE]
        others = [word for word in args[:end] if word not in EVERYWHERE]
        return super().parse_args(ctx, ours + others + args[end:])

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the verb and exit. What the library warns of is a message like others."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _warned
                code = super().main(*args, **{**extra, "standalone_mode": False})
        except SystemExit:  # typer's answer to a reader that left early, such as `head`
            code = UNREAD
        except typer.TyperException as error:
            code = _misused(error)
        except Exception as error:
            if SETTINGS.debug:
                raise
            code = _explained(error)
        sys.exit(code)


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    say(str(message))


def _misused(error: typer.TyperException) -> int:
    """Say in one sentence how the command line is wrong; returns the exit code."""
    path = getattr(getattr(error, "ctx", None), "command_path", "nestgraph")
    message = error.format_message().rstrip(".").replace("Value error, ", "")  # pydantic's words
    complain(f"{path}: {message[:1].lower()}{message[1:]} (see {path} --help)")
    return USAGE


def _explained(error: Exception) -> int:
    """Say in one sentence what went wrong; returns the exit code."""
    if isinstance(error, NestgraphError):
        if not (error.agreed and follows()):
            complain(str(error))
        return USAGE if isinstance(error, RecipeError) else NO
    if isinstance(error, OSError):
        from nestgraph.snapshot.disk import refusal

        complain(refusal(error.filename or "a file or the output", "used", error))
        return NO
    complain(f"nestgraph: a bug: {type(error).__name__}: {error} (run again with --debug and report the traceback)")
    return BUG
