"""Every public function that takes a path takes text, a pathlib.Path and any os.PathLike."""

import os
import shutil
from pathlib import Path

import pytest

import nestgraph as ng
from nestgraph.data.datasets import cache_folder, datasets, load_dataset, load_image_folder
from nestgraph.interop.edge_list import from_edges, write_edges
from nestgraph.render import curves, draw, draw_difference, input_heat_map
from nestgraph.render.interchange import write_interchange
from nestgraph.reporting import LiveReport
from nestgraph.runs import run_folder
from nestgraph.runs.run import read_faults, read_metrics, read_result, read_timing
from nestgraph.seeds import cnn, mlp
from nestgraph.snapshot import JournalWriter, read_journal, write_schemas
from nestgraph.studies.results_files import write_results
from nestgraph.studies.sections import read_sections
from nestgraph.studies.sweep import load_sweep
from tests.runs.test_run_folders import SHORT

NET = mlp((4, 3, 2), 1.0, 0, batch_norm=False)
RECIPE, SWEEP = SHORT.text, '{"name": "s", "recipe": "recipe.json", "variations": [{"name": "a"}]}'
ROW = {"step": 0, "phase": "grow", "connections": 1, "accuracy": 0.5}


class Place:
    """Neither text nor a pathlib.Path."""

    def __init__(self, path):
        self._path = os.fspath(path)

    def __fspath__(self):
        return self._path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths") / "run"
    with pytest.MonkeyPatch.context() as patch:
        for picture in ("draw_stage", "draw_run"):
            patch.setattr(run_folder, picture, lambda *_: None)
        ng.synthesize(SHORT, Place(folder), seed=3)
    return folder


@pytest.mark.parametrize("form", [str, Path, Place])
def test_paths_of_any_form(tmp_path, run, form, monkeypatch):
    def at(name):
        return form(tmp_path / name)

    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "recipe.json").write_text(RECIPE)
    (tmp_path / "sweep.json").write_text(SWEEP)
    ng.save(NET, at("net.json"))
    assert ng.load(at("net.json")) == NET
    ng.draw(NET, at("net.svg"))
    ng.draw(NET, at("net.dot"), "layers")
    draw_difference(NET, NET, at("difference.svg"), "matrix")
    input_heat_map({"a": NET}, at("inputs.svg"))
    draw(cnn(maps=(2,), neurons=(3,), size=(8, 8), channels=1, classes=2), at("areas.svg"), "areas")
    curves([ROW, {**ROW, "step": 1}], at("curves.svg"))
    write_interchange(NET, at("net.graphml"), "graphml")
    ng.export(NET, at("net.py"))
    write_edges(NET, at("edges.csv"), at("nodes.csv"))
    assert from_edges(at("edges.csv"), at("nodes.csv")).connection_count == NET.connection_count
    write_schemas(at("schemas"))
    with JournalWriter(at("journal.jsonl")):
        pass
    assert read_journal(at("journal.jsonl")) == []
    assert ng.Run.read(at("run")).recipe == ng.resume(at("run")).recipe == ng.load_recipe(at("recipe.json"))
    assert load_sweep(at("sweep.json")).name == "s"
    assert read_metrics(at("run"))
    assert read_result(at("run")).seed == 3
    assert (read_faults(at("run")), bool(read_timing(at("run")))) == ([], True)
    ng.report(at("run"), at("report.html"))
    LiveReport(at("run"), at("live.html"))
    monkeypatch.setattr("nestgraph.studies.results_files.draw_run", lambda *_: None)
    write_results(read_sections([at("run")]), at("docs"))
    assert cache_folder(at("cache")) == tmp_path / "cache"
    assert len(datasets(at("cache"))) == 3
    for read in (lambda: load_dataset("cifar10", folder=at("none")), lambda: load_image_folder(at("none"))):
        with pytest.raises(ng.NestgraphError, match="none"):
            read()


def test_without_a_home_what_needs_none_works_and_the_rest_says_so(monkeypatch):
    monkeypatch.delenv("NESTGRAPH_DATA", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where nobody knows whose home it is
    assert [entry.available for entry in datasets()] == [True, False, False]
    assert len(load_dataset("digits").train)
    for read in (lambda: load_dataset("mnist"), lambda: load_image_folder("~nobody-of-that-name/images")):
        with pytest.raises(ng.errors.DataError, match="expected a home folder for ~, got none: "):
            read()
