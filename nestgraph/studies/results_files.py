"""Writes docs/results.md and the files that it shows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nestgraph.render import draw
from nestgraph.render.files import MARK as PICTURE_MARK
from nestgraph.runs.pictures import draw_run
from nestgraph.runs.run_files import STAGES
from nestgraph.snapshot import check_own, save, write_own
from nestgraph.snapshot.disk import PathLike, reported
from nestgraph.snapshot.files import MARK as SNAPSHOT_MARK
from nestgraph.studies.results import PICTURES, results_page
from nestgraph.studies.sections import FOLDER, Section
from nestgraph.studies.sweep_table import SWEEP_MARK, SweepTable

MARK = b"Written by `nestgraph results` from run folders."
"""What tells the page from other files."""


def write_results(sections: Sequence[Section | SweepTable], docs: PathLike, overwrite: bool = False) -> Path:
    """Write results.md into a folder, and into its folder `results` the networks and pictures that it shows.

    For each recipe these are NAME.json, NAME-curves.svg and so on, and NAME-recipe.json where the recipe is not one of
    the package; for each sweep sweep-NAME.json. The same runs give the same bytes. What an earlier page has left is
    replaced, what others wrote is not; a recipe of other content, which has no mark, is taken for theirs.

    Args:
        sections: from `read_sections`.
        docs: the folder.
        overwrite: replace files of others, too.

    Raises:
        RenderError: a network cannot be drawn.
        SnapshotError: a run cannot be read, another file is in the place of one, or the folder cannot be written; where
            another file is in the way, nothing was written.
    """
    folder, page = Path(docs) / FOLDER, Path(docs) / "results.md"
    with reported(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
    check_own(page, MARK, overwrite)
    for each in sections:
        _check(each, folder, overwrite)
    shown = [_with_files(each, folder, overwrite) if isinstance(each, Section) else each for each in sections]
    for each in shown:
        if isinstance(each, SweepTable):
            _write(folder / f"sweep-{each.sweep}.json", each.model_dump_json(indent=2), SWEEP_MARK, overwrite)
    return _write(page, results_page(shown), MARK, overwrite)


def _check(section: Section | SweepTable, folder: Path, overwrite: bool) -> None:
    """Refuse to write over what others wrote, before anything is written."""
    if isinstance(section, SweepTable):
        check_own(folder / f"sweep-{section.sweep}.json", SWEEP_MARK, overwrite)
        return
    name = section.name
    check_own(folder / f"{name}.json", SNAPSHOT_MARK, overwrite)
    for kind in PICTURES:
        check_own(folder / f"{name}-{kind}.svg", PICTURE_MARK, overwrite)
    if not section.is_packaged:
        recipe = section.chosen.recipe.text.encode() + b"\n"
        check_own(folder / f"{name}-recipe.json", None, overwrite, recipe)


def _with_files(section: Section, folder: Path, overwrite: bool) -> Section:
    """The section with its network, recipe and pictures written beside the page."""
    run, name = section.chosen, section.name
    paths = {kind: folder / f"{name}-{kind}.svg" for kind in PICTURES}
    with reported(folder, "written"):
        for path in paths.values():
            path.unlink(missing_ok=True)  # those of other runs
    stages = {stage: run.stage(stage) for stage in STAGES}
    save(stages["final"], folder / f"{name}.json", overwrite=overwrite)
    if not section.is_packaged:
        _write(folder / f"{name}-recipe.json", run.recipe.text, None, overwrite)
    kept = [row.model_dump() for row in run.metrics if row.accepted]
    draw_run(stages, kept, folder, f"{name}-", overwrite, run.result.aim.name)
    draw(stages["final"], paths["layers"], view="layers", overwrite=overwrite)
    return replace(section, pictures={kind: path.name for kind, path in paths.items() if path.exists()})


def _write(path: Path, text: str, mark: bytes | None, overwrite: bool) -> Path:
    write_own(path, text.encode() + b"\n", mark, overwrite)
    return path
