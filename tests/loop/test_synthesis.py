"""The loop from seed to compact network: every decision is in the journal, and nothing else is in the network."""

import itertools
import json
import re
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nestgraph.data.datasets import load_dataset
from nestgraph.edits import Batch, Editor, SetValues
from nestgraph.errors import DataError, RenderError, SnapshotError, TrainingError
from nestgraph.graph import cost
from nestgraph.loop import engine as runs_engine
from nestgraph.loop.decide import decide, fold, share_done
from nestgraph.loop.decisions import State, Stop
from nestgraph.loop.engine import Engine
from nestgraph.loop.flops import active_flops
from nestgraph.loop.synthesis import synthesize
from nestgraph.loop.trainer import Score, Trainer
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.render import engine
from nestgraph.reporting import report
from nestgraph.runs import pictures, run_files
from nestgraph.runs.records import Records
from nestgraph.runs.run import Run
from nestgraph.runs.run_folder import RunFolder
from nestgraph.snapshot import load, read_journal
from tests.loop.tasks import accuracy_of, but_one, loss_of

TINY = parse_recipe(
    """
name = "tiny"
seed_epochs = 3
finish_epochs = 2
baseline = "logistic_regression"
data = { name = "digits" }
seed_network = { kind = "mlp", widths = [64, 10, 10], density = 0.2 }
training = { learning_rate = 0.05, batch_size = 128, threads = 1 }
shift = { epochs = 1 }

[growth]
size_limit = 300
max_edits = 5
evidence_batches = 2
policies = [{ kind = "connection_growth", fraction = 0.1 }, { kind = "neuron_growth", limit = 12 }]

[pruning]
tolerance = 0.05
recovery_epochs = 1
smallest_step = 0.3
size_floor = 40
max_edits = 12
activity_batches = 2
policies = [{ kind = "magnitude_pruning", fraction = 0.15 }, { kind = "unit_pruning" }]
""",
    "tiny.toml",
)
STAGE_FILES = {f"{stage}{end}" for stage in run_files.STAGES for end in (".json", "-layers.svg", "-neurons.svg")}
CLOSING = {"curves.svg", "inputs.svg", "manifest.json", "result.json"}
FILES = {
    *("recipe.json", "environment.json", "journal.jsonl", "metrics.jsonl", "timing.jsonl"),
    *CLOSING,
    *STAGE_FILES,
}


def varied(recipe=TINY, **changes):
    """The recipe with other options: by section a dict, else a value; without its baseline."""
    document = recipe.model_dump(mode="json") | {"baseline": None}
    for name, value in changes.items():
        document[name] = {**document[name], **value} if isinstance(value, dict) else value
    return parse_recipe(json.dumps(document), "varied.json")


@pytest.fixture(scope="module")
def events():
    """What happened in `run`, in order: journal lines and readings of splits."""
    return []


@pytest.fixture(scope="module")
def run(tmp_path_factory, events):
    """A whole run with pictures and baseline."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, told in ((Trainer, "measure", 2), (Trainer, "arrays", 1), (RunFolder, "log", 1)):
            patch.setattr(owner, name, _watched(getattr(owner, name), name, told, events))
        return synthesize(TINY, tmp_path_factory.mktemp("run") / "tiny", seed=1)


def _watched(method, name, told, events):
    def watched(self, *arguments, **options):
        events.append((name, arguments[told - 1]))
        return method(self, *arguments, **options)

    return watched


def phases(run, phase):
    return [row for row in run.metrics if row.phase == phase]


def of_journal(run):
    """What was done to the network."""
    entries = read_journal(run.folder / "journal.jsonl")
    return [entry for entry in entries if entry.applied is not None or entry.action == "undo"]


# -- the journal -----------------------------------------------------------------------------------------


def test_a_run_writes_these_files_and_no_others(run):
    assert {path.name for path in run.folder.iterdir()} == FILES
    for path in run.folder.glob("*.svg"):
        assert path.read_text().rstrip().endswith("</svg>")
    facts = json.loads((run.folder / "environment.json").read_text())
    assert (facts["seed"], facts["device"], facts["threads"]) == (1, "cpu", 1)
    assert set(facts["libraries"]) >= {"torch", "numpy", "nestgraph", "matplotlib", "scipy", "pygraphviz"}
    assert facts["graphviz"] == engine.version() != "none"


def test_the_run_went_through_every_phase(run):
    assert list(dict.fromkeys(row.phase for row in run.metrics)) == ["seed", "grow", "shift", "prune", "finish"]
    assert run.result.refused
    assert phases(run, "grow")[-1].connections > phases(run, "seed")[0].connections > run.network.connection_count


def test_the_journal_leads_from_the_seed_to_the_final_network_and_back(run):
    editor = run.editor()
    assert editor.network == run.network == load(run.folder / "final.json")
    assert editor.network.digest == run.result.stages[-1].digest
    while editor.history:
        editor.undo()
    assert editor.network == run.stage("seed")


def measured_networks(run):
    """The networks that were measured, each with whether it was taken back: the last training of each step."""
    editor, entries, found = Editor(run.stage("seed")), of_journal(run), []
    for entry, after in zip(entries, [*entries[1:], None], strict=True):
        if entry.action == "undo":
            editor.undo()
            continue
        editor.apply(entry.applied)
        goes_on = after and isinstance(after.edit, SetValues) and after.phase == entry.phase
        if isinstance(entry.edit, SetValues) and not goes_on:
            found.append((editor.network, bool(after) and after.action == "undo"))
    return found


def test_metrics_agree_with_the_networks(run):
    validation = load_dataset("digits", seed=1).validation
    networks = measured_networks(run)
    assert len(networks) == len(run.metrics)
    for step, (row, (network, refused)) in enumerate(zip(run.metrics, networks, strict=True)):
        total = cost(network).total
        assert (row.step, row.accepted) == (step, not refused)
        assert (row.units, row.connections, row.flops) == (total.units, total.connections, total.flops)
        assert row.scores["accuracy"] == but_one(accuracy_of(network, validation), validation)
        assert row.loss == pytest.approx(loss_of(network, validation), rel=1e-3)
    assert [row.seconds for row in run.metrics] == sorted(row.seconds for row in run.metrics)


def test_refused_steps_are_taken_back_whole(run):
    editor, standing = Editor(run.stage("seed")), []
    for entry in of_journal(run):
        if entry.action == "undo":
            assert entry.note.startswith("refused: ")
            assert editor.undo() == standing.pop()
        else:
            standing.append(editor.network)
            editor.apply(entry.applied)
    refused = sum(not row.accepted for row in run.metrics if row.phase != "finish")
    assert run.result.refused >= refused > 0
    kept = [edit for edit in run.editor().history if not isinstance(edit, SetValues)]
    assert run.result.edits == len(kept)
    assert all(isinstance(edit, Batch) for edit in kept)


def test_the_outcomes_in_the_journal_fold_to_the_result_and_its_steps_are_the_rows(run):
    entries = read_journal(run.folder / "journal.jsonl")
    outcomes = [entry.outcome for entry in entries if entry.outcome]
    floor = Trainer(load_dataset("digits", seed=1), TINY.training).floor
    state, result = fold(TINY, floor, outcomes), run.result
    last, actions = decide(TINY, floor, state)
    assert isinstance(actions[-1], Stop)
    counts = last.counts
    assert (counts.edits, counts.refused) == (result.edits, result.refused)
    told = result.faults.model_dump(include={"diverged", "collapsed", "retried"})
    assert counts.model_dump(include=set(told)) == told
    assert last.connections == run.network.connection_count
    steps = Records.read(run.folder).steps
    assert [step[0].step for step in steps] == [row.step for row in run.metrics if row.accepted]
    assert [step[-1].digest for step in steps][-1] == run.network.digest
    proposals = [one for entry in entries for one in entry.proposals]
    assert {one.policy for one in proposals} == {p.kind for p in (*TINY.growth.policies, *TINY.pruning.policies)}
    assert all(one.idle or one.edit.reasons for one in proposals if one.policy != "area_pruning")


def test_the_test_split_is_read_after_the_last_decision(events, run):
    assert run.result.stages
    last = max(place for place, (name, _) in enumerate(events) if name == "log")
    reads = [place for place, event in enumerate(events) if event in (("measure", "test"), ("arrays", "test"))]
    assert len(reads) == len(run.result.stages) + 1
    assert min(reads) > last


def test_the_result_says_what_the_networks_are_worth(run):
    data = load_dataset("digits", seed=1)
    trainer = Trainer(data, TINY.training)
    trained_seed = next(network for network, _ in measured_networks(run))
    assert [stage.stage for stage in run.result.stages] == ["seed", "grown", "final"]
    for stage, network in zip(run.result.stages, (trained_seed, run.stage("grown"), run.network), strict=True):
        total = cost(network).total
        assert stage.digest == network.digest
        counts = (total.units, total.connections, total.parameters, total.flops)
        assert (stage.units, stage.connections, stage.parameters, stage.flops) == counts
        assert stage.validation["accuracy"] == but_one(accuracy_of(network, data.validation), data.validation)
        assert stage.test["accuracy"] == but_one(accuracy_of(network, data.test), data.test)
        assert stage.active_flops == active_flops(network, trainer, "test") < stage.flops
    assert run.result.baseline.weights == 640
    assert 0.9 < run.result.baseline.test["accuracy"] < 1


def test_a_run_is_read_back_as_it_was(run):
    again = Run.read(run.folder)
    assert again.result == run.result
    assert again.recipe == run.recipe == TINY
    assert again.metrics == run.metrics


# -- decisions -------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(tmp_path, run):
    again = synthesize(TINY, tmp_path / "again", seed=1)
    assert {path.name for path in again.folder.iterdir()} == FILES
    for name in FILES - {"timing.jsonl"}:  # what the clock said is in this file alone
        assert (again.folder / name).read_bytes() == (run.folder / name).read_bytes(), name
    (again.folder / "timing.jsonl").write_bytes((run.folder / "timing.jsonl").read_bytes())
    first, second = (report(each.folder, tmp_path / "report.html").read_bytes() for each in (run, again))
    assert first == second


@pytest.mark.usefixtures("plain")
def test_another_seed_gives_another_network(tmp_path, run):
    recipe = varied(growth={"max_edits": 0}, pruning={"max_edits": 0})
    assert synthesize(recipe, tmp_path / "run", seed=4).stage("seed") != run.stage("seed")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    "growth", [{"target_accuracy": 0.0}, {"size_limit": 100}, {"max_edits": 0}], ids=["accurate", "large", "no edits"]
)
def test_growth_does_not_begin_where_it_is_done(tmp_path, growth):
    run = synthesize(varied(growth=growth, pruning={"max_edits": 0}, finish_epochs=0), tmp_path / "run")
    assert phases(run, "grow") == []
    assert run.result.stages[0].digest == run.result.stages[1].digest


@pytest.mark.usefixtures("plain")
def test_growth_stops_at_the_accuracy_or_the_size_asked_for(tmp_path):
    free = synthesize(varied(growth={"max_edits": 4, "size_limit": 2000}, pruning={"max_edits": 0}), tmp_path / "free")
    rows = [row for row in free.metrics if row.phase in ("seed", "grow") and row.accepted]
    assert len(rows) > 3
    best = max(rows[:3], key=lambda row: row.scores["accuracy"])
    for growth in ({"target_accuracy": best.scores["accuracy"]}, {"size_limit": rows[2].connections}):
        limited = varied(growth={"max_edits": 4, "size_limit": 2000, **growth}, pruning={"max_edits": 0})
        run = synthesize(limited, tmp_path / next(iter(growth)))
        kept = [row for row in run.metrics if row.phase in ("seed", "grow") and row.accepted]
        last = rows.index(best) if "target_accuracy" in growth else 2
        assert [row.connections for row in kept] == [row.connections for row in rows[: last + 1]]


@pytest.mark.usefixtures("plain")
def test_growth_that_does_not_lower_the_loss_is_refused(tmp_path, monkeypatch):
    losses = iter(np.arange(1.0, 100.0))
    monkeypatch.setattr(Trainer, "measure", lambda *_: Score(float(next(losses)), {"accuracy": 0.5}, 0.5))
    run = synthesize(varied(growth={"patience": 3}, pruning={"max_edits": 0}), tmp_path / "run")
    assert [row.accepted for row in phases(run, "grow")] == [False] * 3
    assert run.result.stages[0].digest == run.result.stages[1].digest
    assert run.result.refused == 3


@pytest.mark.usefixtures("plain")
def test_pruning_keeps_the_accuracy_and_ends_at_the_floor(tmp_path):
    run = synthesize(
        varied(pruning={"target_accuracy": 0.3, "tolerance": 0.0, "max_edits": 100, "size_floor": 150}),
        tmp_path / "run",
    )
    kept = [row for row in phases(run, "prune") if row.accepted]
    assert all(row.scores["accuracy"] >= 0.3 for row in kept)
    sizes = [row.connections for row in kept]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 150 < sizes[-2]


@pytest.mark.usefixtures("plain")
def test_steps_that_cost_too_much_are_halved_until_pruning_ends(tmp_path):
    recipe = varied(
        pruning={"target_accuracy": 1.0, "tolerance": 0.0, "max_edits": 100, "smallest_step": 0.2}, shift={"epochs": 0}
    )
    run = synthesize(recipe, tmp_path / "run")
    rows = phases(run, "prune")
    assert [row.accepted for row in rows] == [False] * 3  # whole, half and quarter steps
    left = phases(run, "shift")[0].connections
    assert left - rows[0].connections > left - rows[1].connections > left - rows[2].connections > 0
    final = run.network
    assert final.connection_count == left
    assert all(final.layer(n).activation.function == "relu" for n in final.layer_names if final.layer(n).activation)


@pytest.mark.usefixtures("plain")
def test_the_step_that_does_most_damage_is_halved_alone_where_asked(tmp_path, monkeypatch):
    damages, damage = [], Engine._damage

    def watched(self, place, scale):
        damages.append((parts[place][0], scale, damage(self, place, scale)))
        return damages[-1][2]

    monkeypatch.setattr(Engine, "_damage", watched)
    parts = [("input_to_fc1", 0.05), ("fc1_to_output", 0.3)]
    policies = [{"kind": "magnitude_pruning", "projections": [name], "fraction": part} for name, part in parts]
    options = {
        "policies": policies,
        "target_accuracy": 1.0,
        "tolerance": 0.0,
        "smallest_step": 0.4,
        "back_off": "worst",
    }
    run = synthesize(varied(pruning=options, growth={"max_edits": 1}, shift={"epochs": 0}), tmp_path / "run")
    assert run.result.refused >= len(phases(run, "prune")) == 4  # whole and half steps of both policies
    scales, columns = dict.fromkeys(dict(parts), 1.0), run.stage("grown").connection_columns
    for row in phases(run, "prune"):
        whole = {name: round(scale * dict(parts)[name] * columns(name).active) for name, scale in scales.items()}
        assert row.edit == ", ".join(f"prune {count} connections" for count in whole.values())
        told = [damages.pop(0) for _ in scales]
        assert {name: scale for name, scale, _ in told} == scales
        worst = max(told, key=lambda each: each[2])[0]
        scales = {name: scale / 2 if name == worst else scale for name, scale in scales.items()}
        scales = {name: scale for name, scale in scales.items() if scale >= 0.4}
    assert not damages
    assert not scales


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("kind", ["rigl", "set"])
def test_connections_that_move_after_pruning_are_part_of_its_steps(tmp_path, kind):
    policies = [{"kind": "magnitude_pruning", "fraction": 0.1}, {"kind": kind, "fraction": 0.1}]
    recipe = varied(
        pruning={"policies": policies, "target_accuracy": 0.3, "tolerance": 0.0, "max_edits": 3},
        growth={"max_edits": 1},
    )
    run = synthesize(recipe, tmp_path / "run")
    rows = phases(run, "prune")
    before = run.stage("grown").connection_count
    assert rows[0].connections == pytest.approx(0.9 * before, abs=4)  # those that a lost unit had
    assert all(re.fullmatch(r"prune \d+ connections, move \d+ connections", row.edit) for row in rows)
    masks = [run.stage("grown"), run.network]
    assert any((~a & b).any() for a, b in _masks_of_living(*masks))


def _masks_of_living(old, new):
    """By projection, both masks of the connections between units that live in both networks."""
    for name in new.projection_names:
        ends = new.projection(name).target, new.projection(name).source
        places = [[np.isin(a.units(end), b.units(end)) for end in ends] for a, b in ((old, new), (new, old))]
        yield tuple(net.connection_columns(name).mask[np.ix_(*at)] for net, at in zip((old, new), places, strict=True))


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("policy", ["skip_growth", "random_growth", "rigl"])
def test_other_ways_to_grow_work_in_a_run(tmp_path, policy):
    growth = {"policies": [{"kind": policy}], "max_edits": 2, "evidence_batches": 2}
    run = synthesize(varied(growth=growth, pruning={"max_edits": 0}), tmp_path / "run")
    first = phases(run, "grow")[0]
    assert first.edit.startswith(("grow", "move"))
    assert (first.connections > phases(run, "seed")[0].connections) == (policy != "rigl")


@pytest.mark.usefixtures("plain")
def test_an_edit_that_kills_training_is_refused_and_the_run_goes_on(tmp_path):
    growth = {"policies": [{"kind": "neuron_growth", "alpha": 1e20}], "patience": 2}
    seed = {"batch_norm": False, "widths": [64, 9, 8, 10]}
    recipe = varied(seed_network=seed, growth=growth, pruning={"max_edits": 1})
    run = synthesize(recipe, tmp_path / "run")
    assert phases(run, "grow") == []  # there was nothing to measure
    undone = [entry for entry in of_journal(run) if entry.phase == "grow" and entry.action == "undo"]
    assert len(undone) == 2
    assert run.result.refused >= 2
    assert run.result.stages[0].digest == run.result.stages[1].digest
    assert run.editor().network == run.network


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("deadly", ["first training", "recovery", "validation"])
def test_a_breakdown_in_any_training_of_a_step_refuses_the_step(tmp_path, monkeypatch, deadly):
    fit, measure, counts = Trainer.fit, Trainer.measure, {"fit": 0}

    def fails(self, bench, epochs, purpose, index, *rest):
        counts["fit"] += purpose == "prune"
        if purpose == "prune" and (counts["fit"] % 2 == 0 if deadly == "recovery" else deadly == "first training"):
            raise TrainingError("expected a finite loss")
        return fit(self, bench, epochs, purpose, index, *rest)

    def infinite(self, network, split, module=None):
        score = measure(self, network, split, module)
        return replace(score, loss=np.inf) if deadly == "validation" and counts["fit"] and module else score

    monkeypatch.setattr(Trainer, "fit", fails)
    monkeypatch.setattr(Trainer, "measure", infinite)
    recipe = varied(growth={"max_edits": 1}, pruning={"target_accuracy": 1.0, "tolerance": 0.0}, finish_epochs=0)
    run = synthesize(recipe, tmp_path / "run")
    assert phases(run, "prune") == []
    assert run.result.refused == 2
    assert run.network.connection_count == phases(run, "shift")[0].connections
    assert run.editor().network == run.network


@pytest.mark.usefixtures("plain")
def test_a_seed_that_does_not_train_ends_the_run_in_a_sentence(tmp_path):
    recipe = varied(seed_network={"batch_norm": False}, training={"learning_rate": 1e6}, seed_epochs=30)
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        synthesize(recipe, tmp_path / "run")


@pytest.mark.usefixtures("plain")
def test_the_time_left_goes_with_the_share_that_is_done(tmp_path, monkeypatch):
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))  # each look is a second, of the engine alone
    monkeypatch.setattr(runs_engine, "time", clock)
    told = []
    recipe = varied(pruning={"target_accuracy": 0.3, "tolerance": 0.0, "max_edits": 100, "size_floor": 150})
    # Points to resume from look at the clock, too, when it is time for one.
    run = synthesize(recipe, tmp_path / "run", progress=lambda row, left: told.append((row, left)), save_every=1e9)
    assert [row.model_dump() for row, _ in told] == [row.model_dump() for row in run.metrics]
    assert all(left is None or left >= 0 for _, left in told)
    assert all(left is None for row, left in told if row.phase in ("seed", "shift", "finish"))
    began, first = phases(run, "shift")[0].seconds, phases(run, "shift")[0].connections
    for row, left in told:
        if row.phase == "prune" and row.accepted and row.connections > 150:
            share = np.log(first / row.connections) / np.log(first / 150)
            passed = row.seconds - (began + 1)  # the phase begins one look after the shift was measured
            assert left == pytest.approx(max(0, passed * (1 - share) / share))
    assert [left for row, left in told if row.phase == "prune" and row.accepted][-1] == 0


def test_without_a_floor_nobody_knows_how_long_pruning_takes():
    state = State(phase="prune", first=100, connections=50)
    shares = {floor: share_done(varied(pruning={"size_floor": floor}), state) for floor in (0, 100, 25)}
    assert shares == {0: None, 100: None, 25: pytest.approx(0.5)}


# -- the folder ------------------------------------------------------------------------------------------

SHORT = varied(growth={"max_edits": 1}, pruning={"max_edits": 1}, finish_epochs=0)


@pytest.mark.usefixtures("plain")
def test_an_interrupted_run_leaves_whole_files(tmp_path):
    writers, folder = [], tmp_path / "run"

    def stop(row, _left):
        if row.phase == "prune":
            raise KeyboardInterrupt

    enter = RunFolder.__enter__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "__enter__", lambda self: writers.append(self) or enter(self))
        with pytest.raises(KeyboardInterrupt):
            synthesize(SHORT, folder, progress=stop)
    assert writers[0]._journal._file.closed
    assert not list(folder.glob(".*"))
    assert not (folder / "result.json").exists()
    with pytest.raises(SnapshotError, match="expected the folder of a finished run"):
        Run.read(folder)
    unfinished = Run(folder, SHORT, None)
    assert unfinished.editor().network.digest == of_journal(unfinished)[-1].digest
    assert [row.phase for row in unfinished.metrics] == ["seed", "grow", "shift", "prune"]
    with pytest.raises(SnapshotError, match="choose another"):
        synthesize(SHORT, folder)
    assert synthesize(SHORT, folder, overwrite=True).editor().history


@pytest.mark.usefixtures("plain")
def test_a_folder_with_files_is_kept_as_it_is(tmp_path):
    for name, content in (("notes.txt", "mine"), ("recipe.json", '{"cake": 3}')):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(content)
        (folder / "final.json").write_text("mine too")
        for overwrite in (False, True):
            with pytest.raises(SnapshotError, match="expected"):
                synthesize(SHORT, folder, overwrite=overwrite)
        assert (folder / name).read_text() == content
        assert {path.name for path in folder.iterdir()} == {name, "final.json"}


@pytest.mark.usefixtures("plain")
def test_overwriting_replaces_what_a_run_wrote_and_nothing_else(tmp_path):
    folder = tmp_path / "run"
    network = synthesize(SHORT, folder, seed=1).network
    (folder / "notes.txt").write_text("mine")
    (folder / "seed-layers.svg").write_text("mine")  # the run drew none
    with pytest.raises(SnapshotError, match=r"expected no seed-layers\.svg, which its run did not write"):
        synthesize(SHORT, folder, seed=2, overwrite=True)
    (folder / "seed-layers.svg").unlink()
    again = synthesize(SHORT, folder, seed=2, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert again.result.seed == 2
    assert again.network != network
    assert again.editor().network == again.network
    assert len(Run.read(folder).metrics) == len(again.metrics)


@pytest.mark.usefixtures("plain")
def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(SnapshotError, match="cannot be written"):
            synthesize(SHORT, folder, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.usefixtures("plain")
def test_a_recipe_that_does_not_fit_its_data_leaves_no_folder(tmp_path):
    for widths in ([49, 10, 10], [64, 10, 9]):
        with pytest.raises(DataError, match="expected a network"):
            synthesize(varied(seed_network={"widths": widths}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_picture_that_fails_is_a_warning(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RenderError("no Graphviz")

    monkeypatch.setattr(pictures, "draw", fails)
    monkeypatch.setattr(pictures, "curves", fails)
    with pytest.warns(UserWarning, match="no Graphviz"):
        run = synthesize(SHORT, tmp_path / "run")
    assert Run.read(run.folder).network == run.network


@pytest.mark.usefixtures("plain")
def test_damaged_folders_are_sentences(tmp_path):
    run = synthesize(SHORT, tmp_path / "run")
    (run.folder / "metrics.jsonl").write_text('{"step": 0}\n')
    with pytest.raises(SnapshotError, match=r"metrics\.jsonl: line 1: phase: missing"):
        Run.read(run.folder).metrics  # noqa: B018
    for name, content in (("recipe.json", "{}"), ("result.json", "[]"), ("result.json", "{")):
        (run.folder / name).write_text(content)
        with pytest.raises(SnapshotError, match="expected the folder of a finished run") as caught:
            Run.read(run.folder)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("plain")
def test_the_default_folder_has_the_recipe_s_name_and_the_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = synthesize(SHORT, seed=5)
    assert run.folder.resolve() == tmp_path / "runs" / "tiny-5"
