"""The verb that joins what two sides made of one network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from nestgraph.cli.options import Json, Overwrite, Theme, View, check_picture
from nestgraph.cli.output import NO, facts, say, suggest

if TYPE_CHECKING:
    from nestgraph.edits import Conflict

MERGE_EXAMPLE = "nestgraph merge base.json ours.json theirs.json --out merged.json"


def merge_networks(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The snapshot that both sides come from.")],
    ours: Annotated[Path, typer.Argument(metavar="OURS", help="What one side made of it.")],
    theirs: Annotated[Path, typer.Argument(metavar="THEIRS", help="What the other side made of it.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The snapshot to write.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--draw", metavar="PICTURE", help="Draw what OURS gains, or how both differ if they clash."),
    ] = None,
    view: View = None,
    theme: Theme = "light",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Join what two sides made of one network.

    Units are matched by id, and what only one side changed is taken from it. What both changed otherwise, such as two
    trainings of one layer, is a conflict: each is listed with its units, the exit code is 1, and nothing is written.
    """
    if picture is not None:
        check_picture(picture, "--draw")
    import nestgraph as ng
    from nestgraph.cli.edit_files import change_facts, change_table
    from nestgraph.errors import ConflictError
    from nestgraph.render import draw_difference

    before, mine, other = (ng.load(path) for path in (base, ours, theirs))
    try:
        merged = ng.edits.merge(before, mine, other).apply(mine).network
    except ConflictError as error:
        listed = [vars(conflict) for conflict in error.conflicts]
        words = "\n".join(
            conflict.told(str(theirs), str(ours)) for conflict in cast("tuple[Conflict, ...]", error.conflicts)
        )
        facts({"merged": False, "conflicts": listed}, words, as_json)
        if picture is not None:
            say(f"drawn: {draw_difference(mine, other, picture, view, theme=theme, overwrite=overwrite)}")
        suggest("diff", ours, theirs)
        raise typer.Exit(NO) from None
    if out is not None:
        ng.save(merged, out, overwrite=overwrite)
    if picture is not None:
        say(f"drawn: {draw_difference(mine, merged, picture, view, theme=theme, overwrite=overwrite)}")
    change = change_facts(mine, merged)
    content = {"merged": True, "snapshot": None if out is None else str(out), "digest": merged.digest, **change}
    facts(content, f"{out or 'merged'}: {merged!r}\n{change_table(change)}", as_json)
    suggest(*(("merge", base, ours, theirs, "--out", "FILE") if out is None else ("diff", ours, out)))
