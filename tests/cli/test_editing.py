"""The verb `edit`: what `diff` prints leads to the same network, journals are done again, and nothing else is taken."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import nestgraph as ng
from nestgraph.edits import EDIT, RemoveUnits, SetValues
from nestgraph.snapshot import JournalWriter
from tests.cli.running import after, before, run

PAGE = Path(__file__).parent.parent.parent / "docs" / "editing.md"


def residual(seed: int) -> ng.Network:
    return ng.seeds.resnet((4,), (1,), seed=seed, channels=1, classes=3, size=8)


def fewer_units(network: ng.Network) -> ng.Network:
    layer = next(name for name in network.layer_names if network.layer(name).kind != "input")
    return ng.edits.remove_units(network, layer, network.units(layer)[1:2]).apply(network).network


def more_units(network: ng.Network) -> ng.Network:
    layer = next(name for name in network.layer_names if network.layer(name).kind != "input")
    return ng.edits.widen(network, layer, 2, np.random.default_rng(0)).apply(network).network


def pruned(network: ng.Network) -> ng.Network:
    editor = ng.Editor(network)
    editor.select_connections().smallest(0.2).prune()
    return editor.network


def write_edit(name: str, edit: ng.edits.AnyEdit) -> None:
    Path(name).write_bytes(EDIT.dump_json(edit))


@pytest.fixture
def journal(snapshots):
    """The path of a journal that begins with before.json, and the network that it leads to."""
    editor, path = ng.Editor(before()), snapshots / "journal.jsonl"
    steps = ng.diff(before(), after()), SetValues(units={"output": {"bias": np.array([0.5, 0.25], np.float32)}})
    with JournalWriter(path) as writer:
        for step in steps:
            editor.apply(step)
            writer.append("apply", editor.network.digest, step)
        for _ in steps:
            writer.append("undo", editor.undo().digest)
        writer.append("redo", editor.redo().digest)
    return path, editor.network


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize(
    "start", [ng.seeds.mlp((12, 6, 5, 3), 0.5, seed=1), residual(2)], ids=["perceptron", "residual"]
)
@pytest.mark.parametrize("change", [fewer_units, more_units, pruned, lambda net: more_units(fewer_units(net))])
def test_what_diff_prints_leads_from_one_network_to_the_other(start, change):
    networks = {"old.json": start, "new.json": change(start)}
    for name, network in networks.items():
        ng.save(network, name)
    for old, new in (("old.json", "new.json"), ("new.json", "old.json")):
        Path("edit.json").write_text(run("diff", old, new, "--json").stdout)
        result = run("edit", old, "edit.json", "--out", "made.json", "--json")
        assert (result.exit_code, json.loads(result.stdout)["digest"]) == (0, networks[new].digest)
        assert ng.load("made.json") == networks[new]


def test_a_network_may_take_the_place_of_the_old_one(snapshots):
    assert run("edit", "before.json", "edit.json", "--out", "before.json").exit_code == 0
    assert ng.load("before.json") == after()
    assert not list(snapshots.glob(".nestgraph-*"))


@pytest.mark.usefixtures("snapshots")
def test_the_answer_is_the_cost_before_and_after():
    facts = json.loads(run("edit", "before.json", "edit.json", "--out", "new.json", "--json").stdout)
    for name, network in (("before", before()), ("after", after())):
        assert facts[name] == json.loads(json.dumps(vars(ng.cost(network).total)))
    assert facts["change"]["connections"] == after().connection_count - before().connection_count
    assert facts["snapshot"] == "new.json"


def test_a_journal_is_done_again(journal):
    path, last = journal
    result = run("edit", "before.json", path, "--out", "new.json")
    assert result.exit_code == 0
    assert ng.load("new.json") == last
    facts = json.loads(run("edit", "before.json", path, "--preview", "--json").stdout)
    assert (facts["legal"], facts["words"]) == (True, "journal of 5 steps")
    assert facts["change"]["connections"] == last.connection_count - before().connection_count
    assert (facts["gone"], facts["born"]) == ({"input": [0], "fc1": [0]}, {"fc1": [3]})


def test_a_journal_of_another_network_is_refused_at_its_first_step(journal):
    path, _ = journal
    result = run("edit", "after.json", path.name, "--out", "new.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("journal.jsonl: journal entry 1: ")
    assert not Path("new.json").exists()
    result = run("edit", "after.json", path.name, "--preview")
    assert (result.exit_code, result.stderr) == (1, "next: nestgraph summary after.json\n")
    assert result.stdout.startswith("cannot be: journal entry 1: RemoveUnits on layer 'input': ")


def test_a_journal_that_was_cut_short_counts_up_to_its_last_whole_line(journal):
    path, _ = journal
    path.write_bytes(path.read_bytes()[:-10])
    result = run("edit", "before.json", path.name, "--out", "new.json")
    assert result.exit_code == 0
    assert ng.load("new.json") == before()  # all was undone, and the redo is lost
    assert result.stderr.startswith("journal.jsonl: dropped line 5, the last, which was cut short while written\n")


@pytest.mark.usefixtures("snapshots")
def test_a_preview_of_a_legal_edit_writes_nothing_and_says_what_the_editor_says():
    files = set(Path().iterdir())
    edit = ng.diff(before(), after())
    result = run("edit", "before.json", "edit.json", "--preview")
    assert (result.exit_code, result.stdout) == (0, f"{ng.Editor(before()).preview(edit)}\n")
    assert set(Path().iterdir()) == files


@pytest.mark.usefixtures("snapshots")
def test_a_preview_says_why_an_edit_cannot_be():
    write_edit("edit.json", RemoveUnits(layer="fc1", units=[0, 1, 2]))
    result = run("edit", "before.json", "edit.json", "--preview")
    assert (result.exit_code, result.stderr) == (1, "next: nestgraph summary before.json\n")
    assert result.stdout.startswith("cannot be: RemoveUnits on layer 'fc1': expected a network without broken laws")
    facts = json.loads(run("edit", "before.json", "edit.json", "--preview", "--json").stdout)
    assert facts["legal"] is False
    assert facts["reason"] in result.stdout


@pytest.mark.usefixtures("snapshots")
def test_a_preview_names_the_units_that_stay_though_they_are_coupled_to_some_that_go():
    network = residual(0)
    ng.save(network, "net.json")
    write_edit("one.json", RemoveUnits(layer="stem", units=[1]))
    write_edit("all.json", ng.edits.remove_units(network, "stem", [1]))
    result = run("edit", "net.json", "one.json", "--preview")
    assert result.stdout.splitlines()[-1] == "coupled, but kept: block1_1_conv2 1; block1_1 1"
    facts = json.loads(run("edit", "net.json", "one.json", "--preview", "--json").stdout)
    assert facts["coupled_but_kept"] == {"block1_1_conv2": [1], "block1_1": [1]}
    facts = json.loads(run("edit", "net.json", "all.json", "--preview", "--json").stdout)
    assert facts["gone"] == {"stem": [1], "block1_1_conv2": [1], "block1_1": [1]}
    assert facts["coupled_but_kept"] == {}


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize(
    "edit",
    [
        RemoveUnits(layer="gone", units=[0]),
        RemoveUnits(layer="fc1", units=[7]),
        SetValues(units={"fc1": {"bias": np.zeros(9, np.float32)}}),
        ng.diff(after(), before()),
        ng.diff(residual(0), fewer_units(residual(0))),
    ],
    ids=["layer", "unit", "column", "backwards", "another network"],
)
def test_an_edit_of_another_network_is_refused_in_one_sentence(edit):
    write_edit("edit.json", edit)
    result = run("--quiet", "edit", "before.json", "edit.json", "--out", "new.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("edit.json: ")
    assert result.stderr.count("\n") == 1
    assert not Path("new.json").exists()
    told = run("--quiet", "edit", "before.json", "edit.json", "--preview")
    assert (told.exit_code, told.stdout) == (1, f"cannot be: {result.stderr.removeprefix('edit.json: ')}")


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("bad.json", '{"kind": "remove_units", "layer"', "bad.json: line 1 column 33: "),
        ("bad.json", '{"kind": "remove_units", "layer": "a", "layer": "b"}', "bad.json: expected each key once"),
        ("bad.json", '{"kind": "remove_units", "layer": "a", "units": [NaN]}', "bad.json: expected finite numbers"),
        ("bad.json", '{"kind": "remove_units", "layer": "a"}', "bad.json: remove_units.units: missing"),
        ("bad.json", '{"kind": "os.system"}', "bad.json: Input tag 'os.system' found using 'kind'"),
        ("bad.json", '{"layer": "a"}', "bad.json: expected an object with a key 'kind', got none"),
        ("bad.json", "[" * 10_000, "bad.json: expected values nested at most 32 deep"),
        ("bad.json", None, "bad.json: cannot be read (expected a usable file, got: no such file or directory)"),
        ("bad.jsonl", '{"sequence": 1}\n', "bad.jsonl: line 1: "),
        ("bad.jsonl", None, "bad.jsonl: cannot be read"),
    ],
)
@pytest.mark.parametrize("option", [("--out", "new.json"), ("--preview",)], ids=["out", "preview"])
def test_what_is_no_edit_gets_one_sentence(name, content, sentence, option):
    if content is not None:
        Path(name).write_text(content)
    result = run("edit", "before.json", name, *option)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
    assert not Path("new.json").exists()


@pytest.mark.usefixtures("snapshots")
def test_a_file_that_is_too_large_is_not_read(monkeypatch):
    limits = ng.Limits(document_bytes=100)
    monkeypatch.setattr("nestgraph.cli.edit_files.LIMITS", limits)
    result = run("edit", "before.json", "edit.json", "--preview")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("edit.json: too large (expected at most 100 bytes")


def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    """Those in docs/editing.md, on the networks that its Python makes."""
    monkeypatch.chdir(tmp_path)
    section = PAGE.read_text().partition("## From the command line")[2]
    lines = re.findall(r"^\$ nestgraph (.*)", section.partition("\n## ")[0], re.MULTILINE)
    network = ng.seeds.mlp((64, 24, 16, 10), density=0.3, seed=0)
    ng.save(network, "old.json")
    ng.save(more_units(network), "new.json")
    for line in lines:
        words, _, target = line.partition("#")[0].partition(">")
        result = run(*shlex.split(words))
        assert result.exit_code == (words.split()[0] == "diff"), line
        if target.strip():
            Path(target.strip()).write_text(result.stdout)
    assert len(lines) == 3
    assert ng.load("made.json") == ng.load("new.json")
