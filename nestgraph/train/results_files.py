"""Writes docs/results.md and the files that it shows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nestgraph.render import draw
from nestgraph.snapshot import save, write_atomically
from nestgraph.snapshot.disk import reported
from nestgraph.train.pictures import draw_run
from nestgraph.train.results import PICTURES, results_page
from nestgraph.train.run_files import STAGES
from nestgraph.train.sections import FOLDER, Section
from nestgraph.train.sweep_table import SweepTable


def write_results(sections: Sequence[Section | SweepTable], docs: Path) -> Path:
    """Write results.md into a folder, and into its folder `results` the networks and pictures that it shows.

    For each recipe these are NAME.json, NAME-curves.svg and so on, and NAME-recipe.json where the recipe is not one of
    the package; for each sweep sweep-NAME.json. The same runs give the same bytes.

    Raises:
        RenderError: a network cannot be drawn.
        SnapshotError: a run cannot be read, or the folder cannot be written.
    """
    folder = docs / FOLDER
    with reported(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
    shown = [_with_files(each, folder) if isinstance(each, Section) else each for each in sections]
    for each in shown:
        if isinstance(each, SweepTable):
            _write(folder / f"sweep-{each.sweep}.json", each.model_dump_json(indent=2))
    return _write(docs / "results.md", results_page(shown))


def _with_files(section: Section, folder: Path) -> Section:
    """The section with its network, recipe and pictures written beside the page."""
    run, name = section.chosen, section.name
    paths = {kind: folder / f"{name}-{kind}.svg" for kind in PICTURES}
    with reported(folder, "written"):
        for path in paths.values():
            path.unlink(missing_ok=True)
    stages = {stage: run.stage(stage) for stage in STAGES}
    save(stages["final"], folder / f"{name}.json")
    if not section.is_packaged:
        _write(folder / f"{name}-recipe.json", run.recipe.text)
    draw_run(stages, [row.model_dump() for row in run.metrics if row.accepted], folder, f"{name}-")
    draw(stages["final"], paths["layers"], view="layers")
    return replace(section, pictures={kind: path.name for kind, path in paths.items() if path.exists()})


def _write(path: Path, text: str) -> Path:
    write_atomically(path, text.encode() + b"\n")
    return path
