"""Verbs that read: their facts as text and as JSON, and what they say of files that are no networks."""

import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.cli.differences import HEADINGS, difference_rows
from nestgraph.data.datasets import load_dataset
from nestgraph.edits import EDIT
from nestgraph.errors import EditError
from nestgraph.graph import Network
from nestgraph.graph.columns import Links
from nestgraph.graph.reference import forward
from nestgraph.spec import Dense, OneToOne
from tests.cli.golden import VERBS
from tests.cli.running import after, before, run
from tests.data.pictures_on_disk import CLASSES, write_pictures
from tests.laws import quick
from tests.strategies import EDIT_CASES, edits_for, networks

READING = {
    "summary": ("summary", "before.json"),
    "verify": ("verify", "before.json"),
    "verify, invalid": ("verify", "island.json"),
    "diff": ("diff", "before.json", "after.json"),
    "diff, equal": ("diff", "before.json", "before.json"),
    "edit": ("edit", "before.json", "edit.json", "--out", "new.json"),
    "edit, preview": ("edit", "before.json", "edit.json", "--preview"),
    "edit, refused": ("edit", "after.json", "edit.json", "--preview"),
    "evaluate": ("evaluate", "digits.json", "--data", "digits"),
    "data": ("data",),
    "schema": ("schema",),
    "schema NAME": ("schema", "edit"),
}


@pytest.fixture
def digits(snapshots):
    """A network for the digits, in digits.json."""
    network = ng.seeds.mlp((64, 12, 10), density=0.2, seed=1)
    ng.save(network, snapshots / "digits.json")
    return network


@pytest.mark.parametrize("words", READING.values(), ids=READING)
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.usefixtures("digits")
def test_json_is_alone_on_stdout_and_quiet_silences_the_rest(words, where):
    spoken, silent = (
        run(*words, "--json"),
        run(*(("-q", *words) if where == "before" else (*words, "--quiet")), "--json"),
    )
    json.loads(spoken.stdout)
    assert spoken.stderr.startswith("next: nestgraph ")
    assert (silent.stdout, silent.stderr, silent.exit_code) == (spoken.stdout, "", spoken.exit_code)


@pytest.mark.usefixtures("digits")
def test_every_verb_names_a_verb_that_exists():
    for words in (*READING.values(), ("draw", "before.json", "a.svg")):
        assert run(*words).stderr.removeprefix("next: nestgraph ").split()[0] in VERBS


@pytest.mark.usefixtures("snapshots")
def test_the_next_verb_can_be_copied_into_a_shell():
    name = "it's a network; ls.json"
    ng.save(before(), name)
    assert run("verify", name).stderr == "next: nestgraph summary 'it'\"'\"'s a network; ls.json'\n"


@pytest.mark.usefixtures("snapshots")
def test_summary_counts_what_the_graph_holds():
    facts, graph = json.loads(run("summary", "before.json", "--json").stdout), before().graph
    assert facts["total"]["connections"] == graph.number_of_edges()
    assert facts["total"]["units"] == graph.number_of_nodes()
    assert facts["total"]["flops"] == 2 * graph.number_of_edges()
    assert facts["layers"]["fc1"]["parameters"] == 6 + 3  # and a bias each
    assert facts["digest"] == before().digest


@pytest.mark.usefixtures("snapshots")
def test_verify_names_the_isolated_neuron():
    facts = json.loads(run("verify", "island.json", "--json").stdout)
    place = {"law": "islands", "place": ["fc1", 1], "problem": "is an island: no path to an output"}
    assert facts["violations"] == [place]
    assert facts["valid"] is False


WHOLE = json.dumps({"format": "nestgraph.network"})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (WHOLE[:-5], "bad.json: line 1 column 12: "),
        (b"\x89PNG\r\n", "bad.json: expected UTF-8 text, got byte 0x89 at offset 0"),
        (b"\x89PNG\r\n" + b"[" * 99, "bad.json: expected UTF-8 text, got byte 0x89 at offset 0"),
        ("", "bad.json: line 1 column 1: "),
        (WHOLE, "bad.json: version: missing (expected a value, got none)"),
        ("[" * 10_000, "bad.json: expected values nested at most 32 deep, got 10000"),
        ("[NaN]", "bad.json: expected finite numbers, got NaN"),
        (None, "bad.json: cannot be read (expected a usable file, got: no such file or directory)"),
        ("folder", "bad.json: cannot be read (expected a usable file, got: is a directory)"),
    ],
)
@pytest.mark.parametrize("verb", ["verify", "summary"])
def test_what_is_no_network_gets_one_sentence(verb, content, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if content == "folder":
        (tmp_path / "bad.json").mkdir()
    elif content is not None:
        (tmp_path / "bad.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run("-q", verb, "bad.json")
    text = result.stdout if verb == "verify" else result.stderr
    assert result.exit_code == 1
    assert text.startswith(sentence)
    assert text.count("\n") == 1
    assert result.output == text


@pytest.mark.usefixtures("snapshots")
def test_diff_in_json_is_the_edit_that_leads_from_old_to_new():
    result = run("diff", "before.json", "after.json", "--json")
    assert result.exit_code == 1
    assert EDIT.validate_json(result.stdout).apply(before()).network == after()
    named = ng.diff(before(), after()).model_copy(update={"base": before().digest})
    assert result.stdout == named.model_dump_json() + "\n"
    assert json.loads(run("diff", "after.json", "after.json", "--json").stdout)["edits"] == []


def connections(network: Network) -> dict:
    """The bits of each connection's weight by projection, form, ids and place: in a kernel, or the slot of a head."""
    table = {}
    for name in network.projection_names:
        record, columns = network.projection(name), network.connection_columns(name)
        for entry in np.argwhere(columns.mask):
            if isinstance(columns, Links):
                source, target, *slot = columns.links[entry[0]].tolist()
                place = np.array([*slot, *entry[1:]], int)
            else:
                source, target = network.units(record.source)[entry[1]], network.units(record.target)[entry[0]]
                place = entry[2:]
            form = (record.source, record.target, record.kind, columns.mask.shape[2 - isinstance(columns, Links) :])
            table[name, form, int(source), int(target), *place.tolist()] = columns.weight[tuple(entry)].tobytes()
    return table


def values(network: Network) -> dict:
    return {
        (layer, column, int(unit)): value.tobytes()
        for layer in network.layer_names
        for column, array in network.unit_columns(layer).values.items()
        for unit, value in zip(network.units(layer), array, strict=True)
    }


@pytest.mark.parametrize("kind", EDIT_CASES)
@given(st.data())
@quick(12)
def test_diff_counts_what_a_comparison_entry_by_entry_counts(kind, data):
    old = data.draw(networks())
    try:
        new = data.draw(edits_for(old, (kind,))).apply(old).network
    except EditError:
        reject()
    if data.draw(st.booleans()):
        old, new = new, old
    total = difference_rows(ng.difference(old, new))[-1]
    links, other = connections(old), connections(new)
    nodes, later = set(old.graph), set(new.graph)
    state, new_state = values(old), values(new)
    changed = sum(links[key] != other[key] for key in links.keys() & other.keys())
    changed += sum(state[key] != new_state[key] for key in state.keys() & new_state.keys())
    counted = [int(total[column].replace(",", "")) for column in (2, 3, 5, 6, 7)]
    assert counted == [
        len(later - nodes),
        len(nodes - later),
        len(other.keys() - links.keys()),
        len(links.keys() - other.keys()),
        changed,
    ]
    assert total[4].split(" -> ")[-1] == f"{len(other):,}"


def linked(kind: type, *pairs: tuple[int, int]) -> Network:
    """Two inputs, two neurons that read both, and two outputs that read neurons by pairs (neuron, output)."""
    graph = nx.DiGraph()
    graph.add_edges_from(((("x", source), ("a", unit)) for source in (0, 1) for unit in (0, 1)), weight=1.0)
    graph.add_edges_from(((("a", source), ("y", unit)) for source, unit in pairs), weight=1.0)
    return Network.from_graph(graph, projections=[Dense(source="x", target="a"), kind(source="a", target="y")])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (linked(OneToOne, (0, 0), (1, 1)), linked(OneToOne, (1, 0), (0, 1))),  # the same targets read other sources
        (linked(OneToOne, (0, 0), (1, 1)), linked(Dense, (0, 0), (1, 1))),
        (linked(Dense, (0, 0), (1, 1)), linked(OneToOne, (0, 0), (1, 1))),
    ],
)
def test_connections_of_another_make_count_as_removed_and_added(old, new):
    other = "a_to_y" if old.projection("a_to_y") != new.projection("a_to_y") else ""
    assert difference_rows(ng.difference(old, new))[-2] == ("y", "2", "0", "0", "2", "2", "2", "0", other)


@pytest.mark.usefixtures("snapshots")
def test_diff_names_layers_that_came_and_went():
    editor = ng.Editor(after())
    editor.apply(ng.edits.deepen(editor.network, "fc1", "fc2"))
    ng.save(editor.network, "deeper.json")
    for words, note in ((("after.json", "deeper.json"), "new layer"), (("deeper.json", "after.json"), "layer gone")):
        rows = {line.split()[0]: line for line in run("diff", *words).stdout.splitlines()}
        assert rows["fc2"].endswith(note)
        assert rows["layer"].split()[0] == HEADINGS[0]


def test_evaluate_reports_error_and_cost(digits):
    facts = json.loads(run("evaluate", "digits.json", "--data", "digits", "--json").stdout)
    test = load_dataset("digits").test
    outputs = forward(digits, {"input": test.inputs.reshape(len(test), -1)})["output"]
    assert facts["error"] == pytest.approx(1 - np.mean(outputs.argmax(1) == test.targets))
    assert (facts["connections"], facts["flops"]) == (digits.connection_count, 2 * digits.connection_count)
    assert facts["active_flops"] < facts["flops"]
    text = run("evaluate", "digits.json", "--data", "digits").stdout
    assert f"{facts['error']:.2%}" in text
    assert f"{facts['parameters']:,}" in text
    assert f"{facts['active_flops']:,.0f}" in text


def test_evaluate_takes_the_data_of_a_recipe_s_file(tmp_path):
    write_pictures(tmp_path / "pictures", count=10)
    classes, normalisation = len(CLASSES), {"mean": [0.5, 0.5, 0.5], "deviation": [0.2, 0.2, 0.2]}
    ng.save(ng.seeds.cnn((4,), (5,), 0.5, channels=3, size=16, classes=classes), tmp_path / "net.json")
    data = {"name": "image_folder", "path": str(tmp_path / "pictures"), "size": 16, "normalisation": normalisation}
    recipe = ng.load_recipe("digits").model_dump(mode="json", exclude={"baseline"}) | {"data": data}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    result = run("evaluate", tmp_path / "net.json", "--data", tmp_path / "recipe.json", "--split", "train", "--json")
    trainer = ng.Trainer(
        ng.Recipe.model_validate_json(json.dumps(recipe)).data.load(0), ng.load_recipe("digits").training
    )
    score = trainer.measure(ng.load(tmp_path / "net.json"), "train")
    assert json.loads(result.stdout)["loss"] == pytest.approx(score.loss)


@pytest.mark.parametrize(
    ("network", "got"),
    [
        (lambda: ng.seeds.mlp((784, 3, 10), 0.1), "784 to 10"),
        (lambda: ng.seeds.mlp((64, 3, 4), 0.5), "64 to 4"),
        (lambda: ng.seeds.lenet_5(0.1, 0.1), "1x28x28 to 10"),
    ],
)
def test_a_network_of_another_shape_is_refused_in_one_sentence(network, got, tmp_path):
    ng.save(network(), tmp_path / "net.json")
    result = run("evaluate", tmp_path / "net.json", "--data", "digits")
    wanted = "does not fit digits (expected a network of 1x8x8 to 10 or 64 to 10, got"
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{tmp_path / 'net.json'}: {wanted} {got})\n"


def test_data_lists_what_can_be_had_without_fetching_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NESTGRAPH_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr("nestgraph.data.mnist.subprocess.run", lambda *_, **__: pytest.fail("asked the network"))
    entries = {entry["name"]: entry for entry in json.loads(run("data", "--json").stdout)}
    assert entries["digits"]["available"]
    assert not entries["mnist"]["available"]
    assert entries["mnist"]["location"] == str(tmp_path / "nothing" / "mnist")
    assert not (tmp_path / "nothing").exists()
    assert "50,000" in run("data").stdout


def test_schemas_are_written_as_they_are_printed(tmp_path):
    names = run("schema").stdout.split()
    assert {"network", "edit", "recipe"} <= set(names)
    assert run("schema", "--out", tmp_path).exit_code == 0
    for name in names:
        assert json.loads((tmp_path / f"{name}.schema.json").read_text()) == json.loads(run("schema", name).stdout)


@pytest.mark.parametrize("ending", ["svg", "dot"])
def test_draw_writes_a_picture_and_says_where(ending, snapshots):
    result = run("draw", "before.json", f"picture.{ending}")
    assert (result.exit_code, result.stdout) == (0, f"picture.{ending}\n")
    assert "fc1" in (snapshots / f"picture.{ending}").read_text()
