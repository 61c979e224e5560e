"""Runs from the command line: tables, progress on terminals and in pipes, and Ctrl-C."""

import importlib.util
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from importlib.metadata import version
from statistics import median

import pytest

import nestgraph as ng
from nestgraph.cli.app import app
from nestgraph.cli.output import SETTINGS
from nestgraph.cli.progress import RunProgress
from nestgraph.runs.run import Measurement
from tests.cli.running import TINY, run

PLAIN = """
from nestgraph.cli import main
from nestgraph.runs import run_folder
run_folder.draw_stage = run_folder.draw_run = lambda *_: None
main()
"""
PROGRAM = [sys.executable, "-c", PLAIN, "synthesize", "tiny.toml", "--out", "here"]
"""A run in a process of its own, without pictures, which take the longest."""


pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with the recipe tiny.toml, and settings that no other test left."""
    monkeypatch.setattr(SETTINGS, "quiet", False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY.format(edits=1))
    return tmp_path


def test_several_seeds_give_medians_and_each_final_network(folder):
    result = run("synthesize", "tiny.toml", "--seed", 3, "--seeds", 2)
    assert result.exit_code == 0, result.stderr
    runs = [json.loads((folder / f"runs/tiny/seed-{seed}/result.json").read_text()) for seed in (3, 4)]
    finals = [entry["stages"][-1] for entry in runs]
    rows = {line.split("  ")[0].strip(): line.split() for line in result.stdout.splitlines()}
    assert rows["final"][1] == f"{median(final['connections'] for final in finals):,.0f}"
    for seed, final in zip((3, 4), finals, strict=True):
        shown = [f"{final[name]:,}" for name in ("connections", "units", "parameters", "flops")]
        assert rows[f"final of seed {seed}"][4:8] == shown
        assert rows[f"final of seed {seed}"][-1] == f"{final['test']['accuracy']:.2%}"

    step = result.stderr.splitlines()[-1].removeprefix("next: nestgraph ").split()
    facts = json.loads(run(*step, "--json").stdout)
    assert facts["accuracy"] == pytest.approx(finals[-1]["test"]["accuracy"])


def test_json_is_the_results_and_a_second_run_is_refused_until_overwritten(folder):
    words = ("synthesize", "tiny.toml", "--out", "here", "--quiet", "--json")
    first = run(*words)
    assert (first.exit_code, first.stderr) == (0, "")
    (told,) = json.loads(first.stdout)
    assert told.pop("seconds") > 0  # what the clock says is in timing.jsonl alone
    assert told == json.loads((folder / "here/result.json").read_text())
    again = run(*words)
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith("here: expected a new or empty folder")
    assert run(*words, "--overwrite").exit_code == 0


def test_a_missed_target_is_the_answer_no(folder):
    (folder / "tiny.toml").write_text(TINY.format(edits=0).replace("tolerance = 0.5", "target_accuracy = 0.99"))
    result = run("synthesize", "tiny.toml", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)
    assert result.stderr.splitlines()[-1].startswith("target missed (expected a validation accuracy of 99.00%, got ")


def test_a_recipe_that_is_wrong_names_its_field(folder):
    (folder / "tiny.toml").write_text(TINY.format(edits=1).replace("density = 0.2", "density = 2.0"))
    result = run("synthesize", "tiny.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("tiny.toml: ")
    assert "density" in result.stderr
    assert result.stderr.count("\n") == 1


def row(step: int, phase: str = "grow") -> Measurement:
    values = {"units": 9, "connections": 1234, "flops": 2468, "loss": 0.5, "accuracy": 0.75, "seconds": step / 10}
    return Measurement(step=step, phase=phase, edit="[red]wake[/red] 3", accepted=step % 2 == 0, **values)


@contextmanager
def terminal(monkeypatch, **environment: str):
    """Put a terminal in the place of stderr; gives what it receives, in pieces, complete when the context ends."""
    for name, value in {"TERM": "xterm", "COLUMNS": "160", **environment}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    received = []

    def read():
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 4096):
                received.append(chunk)  # may end within a character

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as screen, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        yield received
    reader.join()
    os.close(ours)


@pytest.fixture
def prompt(monkeypatch):
    """A live display that is drawn, and drawn over, at each measurement, and not when its thread comes to it."""
    call = RunProgress.__call__

    def drawn(self, row, remaining):
        call(self, row, remaining)
        for _ in range(2 if self._live else 0):
            self._live.refresh()

    monkeypatch.setattr(RunProgress, "__call__", drawn)


def shown_progress(monkeypatch, **environment: str) -> str:
    with terminal(monkeypatch, **environment) as received, RunProgress("tiny seed 0") as progress:
        progress(row(4), 12.0)
    return b"".join(received).decode()


@pytest.mark.usefixtures("prompt")
def test_a_terminal_shows_a_live_display(monkeypatch):
    received = shown_progress(monkeypatch)
    words = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received)
    assert "tiny seed 0  grow  ~12 s left in phase  9 units  loss 0.5000" in words
    for line in (
        r"validation   75.00%  ▁  75.00% to 75.00%",
        r"connections   1,234  ▁  1,234 to 1,234",
        r"step 4  kept  \[red\]wake\[/red\] 3",
    ):
        assert re.search(line, words)
    assert "\r\x1b[2K\x1b[1A" in received  # it moves up, to draw over what was there
    assert "\x1b[3" in received  # a colour


@pytest.mark.usefixtures("prompt")
def test_a_narrow_terminal_wraps_no_line(monkeypatch):
    received = shown_progress(monkeypatch, COLUMNS="60")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 60
    assert any(re.search(r"\d:\d\d:\d\d tiny seed 0  grow  ~12 s left in phase", line) for line in lines)


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("setting", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_terminal_that_is_asked_for_less_gets_plain_lines(monkeypatch, setting):
    received = shown_progress(monkeypatch, **setting)
    assert received.replace("\r\n", "\n").count("\n") == 1
    assert "1,234 connections" in received
    assert not set("\r\x1b") & set(received.replace("\r\n", "\n"))


@pytest.mark.usefixtures("prompt")
def test_a_run_on_a_terminal_is_live_there_and_plain_on_stdout(monkeypatch, capsys):
    with terminal(monkeypatch) as received, pytest.raises(SystemExit) as ended:
        app(["synthesize", "tiny.toml"])
    assert ended.value.code in (None, 0)
    assert b"\r\x1b[2K" in b"".join(received)
    assert b"connections" in b"".join(received)
    table = capsys.readouterr().out
    assert table.startswith("network (seed 0)")
    assert "\x1b" not in table


def test_elsewhere_a_phase_is_a_few_plain_lines(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as many build services have it
    for quiet in (False, True):
        monkeypatch.setattr(SETTINGS, "quiet", quiet)
        with RunProgress("tiny seed 0") as progress:
            for step in range(200):
                progress(row(step, "grow" if step < 100 else "prune"), None)
    lines = capsys.readouterr().err.splitlines(keepends=True)
    assert 2 * 4 < len(lines) < 2 * 12
    assert all(line.isprintable() for line in map(str.rstrip, lines))
    assert "refused" in lines[1]


@pytest.mark.timeout(300)  # a process that loads all of torch
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_leaves_whole_files_and_says_how_to_go_on(folder, number, code):
    (folder / "tiny.toml").write_text(TINY.format(edits=100_000))
    reset = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a shell may have it ignored
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **reset) as child:
        lines = [child.stderr.readline() for _ in range(3)]
        child.send_signal(number)
        table, rest = child.communicate()
    assert (child.returncode, table) == (code, b"")
    assert rest.splitlines()[-1] == b"interrupted: go on with: nestgraph resume here"
    assert b"\r" not in b"".join(lines) + rest
    assert b"Traceback" not in rest

    here = folder / "here"
    assert not (here / "result.json").exists()
    for name in ("recipe.json", "environment.json"):
        json.loads((here / name).read_text())
    for line in (here / "metrics.jsonl").read_text().splitlines(keepends=True):
        assert line.endswith("\n")
        Measurement.model_validate_json(line)
    replayed = ng.replay(ng.load(here / "seed.json"), ng.read_journal(here / "journal.jsonl"))
    assert replayed.history
    assert not [path.name for path in here.rglob("*") if path.suffix == ".part"]


def test_event_files_are_beside_the_run_and_go_with_it(folder):
    words = ("synthesize", "tiny.toml", "--out", "here", "--json")
    assert run(*words).exit_code == 0
    before = {path.name: path.read_bytes() for path in (folder / "here").iterdir() if path.name != "timing.jsonl"}
    told = run(*words, "--overwrite", "--tensorboard")
    assert (told.exit_code, told.stderr.splitlines()[0]) == (0, "--tensorboard is --tracker tensorboard now")
    assert {name: (folder / "here" / name).read_bytes() for name in before} == before
    assert len(list((folder / "here/tensorboard").iterdir())) == 1
    (folder / "here/tensorboard/notes.txt").write_text("mine")
    assert run(*words, "--overwrite").exit_code == 0
    assert [path.name for path in (folder / "here/tensorboard").iterdir()] == ["notes.txt"]


def test_event_files_without_their_package_are_refused_before_the_run(folder, interrupted, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else found(name))
    for words in (["synthesize", "tiny.toml", "--out", "there"], ["resume", "here"]):
        result = run(*words, "--tracker", "tensorboard")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.endswith("got none of that name: pip install 'nestgraph[tensorboard]'\n")
        assert result.stderr.count("\n") == 1
    assert not (folder / "there").exists()
    assert not (interrupted / "result.json").exists()


@pytest.fixture
def interrupted(folder):
    """A run that was interrupted during growth, in the folder `here`."""

    def stop(row, _left):
        if row.phase == "grow":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="resume"):
        ng.synthesize(ng.load_recipe("tiny.toml"), "here", progress=stop)
    return folder / "here"


def test_resume_ends_as_the_run_without_an_interruption(folder, interrupted):
    assert not (interrupted / "result.json").exists()
    resumed = run("resume", "here", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert run("synthesize", "tiny.toml", "--out", "there").exit_code == 0
    there = folder / "there"
    names = {path.name for path in there.iterdir()}
    assert {path.name for path in interrupted.iterdir()} == names
    assert [name for name in names if (interrupted / name).read_bytes() != (there / name).read_bytes()] == [
        "timing.jsonl"
    ]
    assert json.loads(run("resume", "here", "--json").stdout) == json.loads(resumed.stdout)  # done is done


def test_resume_refuses_what_is_no_unfinished_run(folder):
    (folder / "empty").mkdir()
    for words, sentence in ((["missing"], "missing: expected the folder of a run"), (["empty"], "empty: expected an")):
        result = run("resume", *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(sentence)
        assert result.stderr.count("\n") == 1


def test_a_changed_environment_is_said_and_allowed_only_on_demand(interrupted):
    path = interrupted / "state" / "begun.json"
    path.write_text(path.read_text().replace(f'"torch": "{version("torch")}"', '"torch": "1.0"'))
    refused = run("resume", "here")
    assert refused.exit_code == 1
    assert f"libraries.torch (expected 1.0, got {version('torch')})" in refused.stderr
    allowed = run("resume", "here", "--allow-changes")
    assert allowed.exit_code == 0, allowed.stderr
    facts = json.loads((interrupted / "environment.json").read_text())
    assert (facts["libraries"]["torch"], facts["resumed_with"]["libraries"]["torch"]) == ("1.0", version("torch"))
