"""What each writer replaces without being told is what it wrote itself; pipes and folders it never does."""

import importlib
import os
from functools import partial

import pytest

from nestgraph.edits import prune_connections
from nestgraph.errors import NestgraphError
from nestgraph.interop.edge_list import write_edges
from nestgraph.interop.export import export
from nestgraph.render import curves, draw, draw_difference, input_heat_map
from nestgraph.render.interchange import write_interchange
from nestgraph.reporting import LiveReport, report
from nestgraph.seeds import mlp
from nestgraph.snapshot import load, save, write_schemas
from nestgraph.studies.results_files import write_results
from nestgraph.studies.sections import read_sections
from tests.reporting.runs import flat_run

ONE = mlp((4, 3, 2), 1.0, 0, batch_norm=False)
OTHER = prune_connections(ONE, {ONE.projection_names[0]: [0]}).apply(ONE).network
ROWS = [{"step": n, "phase": "grow", "connections": 10 + n, "accuracy": 0.5} for n in range(3)]


def pictures(write, *endings):
    return {f"{write.__name__}{ending}": (write, f"net{ending}") for ending in endings}


def drawn(network, path, **told):
    draw(network, path, "neurons", **told)


def layers(network, path, **told):
    draw(network, path, "layers", **told)


def changes(network, path, **told):
    draw_difference(ONE, network, path, **told)


def inputs(network, path, **told):
    input_heat_map({"a": network}, path, **told)


def log(network, path, **told):
    curves([*ROWS, {**ROWS[0], "step": network.connection_count}], path, **told)


def viewer(network, path, **told):
    write_interchange(network, path, "node-link", **told)


def schema(_network, path, **told):
    write_schemas(path.parent, **told)


WRITERS = {
    "save": (save, "net.json"),
    "sidecar": (partial(save, sidecar_above=1), "net.json"),
    **pictures(drawn, ".svg", ".png", ".pdf", ".dot"),
    **pictures(layers, ".svg", ".png", ".dot"),
    **pictures(changes, ".svg"),
    **pictures(inputs, ".svg", ".png", ".pdf"),
    **pictures(log, ".svg", ".pdf"),
    "python": (export, "net.py"),
    "safetensors": (export, "net.safetensors"),
    "c": (export, "net.c"),
    "viewer": (viewer, "net.json"),
    "edges": (write_edges, "net.csv"),
    "schema": (schema, "edit.schema.json"),
}
UNMARKED = ("viewer", "edges")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_others_is_replaced_only_when_told(tmp_path, name):
    write, file = WRITERS[name]
    path = tmp_path / "mine" / file
    path.parent.mkdir()
    path.write_text("by nestgraph, as I said by hand")
    for attempt in range(2):
        with pytest.raises(NestgraphError, match=r"--overwrite \(overwrite=True\)"):
            write(ONE, path)
        assert path.read_text() == "by nestgraph, as I said by hand"
        assert os.listdir(path.parent) == [file]
        if not attempt:
            path.rename(tmp_path / file)
            path.symlink_to(tmp_path / file)
    write(ONE, path, overwrite=True)
    assert not path.is_symlink()
    assert (tmp_path / file).read_text() == "by nestgraph, as I said by hand"
    path.unlink()
    for make in (os.mkfifo, os.mkdir):
        make(path)
        for told in ({}, {"overwrite": True}):
            with pytest.raises(NestgraphError, match="cannot be written"):
                write(ONE, path, **told)
        os.unlink(path) if make is os.mkfifo else os.rmdir(path)


WORK = {
    "render.chart": ("chart",),
    "render.draw": ("laid_out",),
    "render.scene_file": ("shaded",),
    "interop.exporting": ("compact",),
    "chip.writing": ("scheduled",),
}
"""What draws and lowers, by module."""


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in UNMARKED])
def test_nothing_is_drawn_or_lowered_for_a_file_that_is_refused(tmp_path, monkeypatch, name):
    def work(*_arguments, **_options):
        raise AssertionError("worked before it looked")

    for module, functions in WORK.items():
        for function in functions:
            monkeypatch.setattr(importlib.import_module(f"nestgraph.{module}"), function, work)
    write, file = WRITERS[name]
    (tmp_path / file).write_text("mine")
    with pytest.raises(NestgraphError, match=r"--overwrite \(overwrite=True\)"):
        write(ONE, tmp_path / file)


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_writer_wrote_it_replaces(tmp_path, name):
    write, file = WRITERS[name]
    (tmp_path / file).touch()  # nothing is lost with an empty file
    write(ONE, tmp_path / file)
    first = (tmp_path / file).read_bytes()
    write(ONE, tmp_path / file)
    assert (tmp_path / file).read_bytes() == first
    if name in UNMARKED:
        with pytest.raises(NestgraphError, match="--overwrite"):
            write(OTHER, tmp_path / file)
        assert (tmp_path / file).read_bytes() == first
    else:
        write(OTHER, tmp_path / file)
    write(OTHER, tmp_path / file, overwrite=True)
    assert name == "schema" or (tmp_path / file).read_bytes() != first


def test_the_kinds_are_told_from_each_other(tmp_path):
    for name, (write, file) in WRITERS.items():
        (tmp_path / name).mkdir()
        write(ONE, tmp_path / name / file)
    for one, (_, file) in WRITERS.items():
        for name, (write, other) in WRITERS.items():
            kinds = {write.func if isinstance(write, partial) else write for write, _ in (WRITERS[one], WRITERS[name])}
            pictured = not {"save", "sidecar", "python", "safetensors", "schema", *UNMARKED} & {one, name}
            if len(kinds) == 1 or pictured:
                continue
            path = tmp_path / other
            path.write_bytes((tmp_path / one / file).read_bytes())
            with pytest.raises(NestgraphError, match="--overwrite"):
                write(OTHER, path)
            path.unlink()


def test_weights_of_others_beside_a_source_stay(tmp_path):
    (tmp_path / "net.safetensors").write_text("another model")
    with pytest.raises(NestgraphError, match=r"net\.safetensors: expected .* --overwrite"):
        export(ONE, tmp_path / "net.py")
    assert os.listdir(tmp_path) == ["net.safetensors"]
    export(ONE, tmp_path / "net.py", overwrite=True)


def test_a_report_is_told_from_other_files_of_a_run(tmp_path):
    run = tmp_path / "run"
    flat_run(run)
    before = (run / "recipe.json").read_bytes()
    for name in ("recipe.json", "final.json", "journal.jsonl"):
        with pytest.raises(NestgraphError, match="expected no file that the run is read from"):
            report(run, run / name)
    assert (run / "recipe.json").read_bytes() == before
    report(run)
    report(str(run))
    (run / "report.html").write_text("mine")
    with pytest.raises(NestgraphError, match="--overwrite"):
        LiveReport(run)
    with pytest.raises(NestgraphError, match="--overwrite"):
        report(run)
    report(run, overwrite=True)


def test_a_page_of_results_is_told_from_one_by_hand(tmp_path):
    docs = tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    for name in ("results.md", "results/x.json"):
        (docs / name).write_text("written by hand")
    with pytest.raises(NestgraphError, match="--overwrite"):
        write_results([], docs)
    assert (docs / "results.md").read_text() == "written by hand"
    write_results([], str(docs), overwrite=True)
    write_results([], docs)
    assert (docs / "results/x.json").read_text() == "written by hand"
    with pytest.raises(NestgraphError, match="neither"):
        read_sections([str(docs)])


def test_the_picture_that_is_marked_is_the_picture(tmp_path):
    from PIL import Image

    draw(ONE, tmp_path / "net.png", "neurons")
    with Image.open(tmp_path / "net.png") as image:
        image.load()
        assert image.info["Software"] == "Drawn by nestgraph"
    save(ONE, tmp_path / "net.json")
    assert load(tmp_path / "net.json") == ONE
