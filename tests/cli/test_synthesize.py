"""Runs from the command line: tables, progress on terminals and in pipes, and Ctrl-C."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from importlib.metadata import version
from statistics import median

import pytest

import nestgraph as ng
from nestgraph.cli.app import app
from nestgraph.cli.output import SETTINGS
from nestgraph.cli.progress import RunProgress
from nestgraph.train.runs import Measurement
from tests.cli.running import TINY, run

PROGRAM = [sys.executable, "-m", "nestgraph.cli", "synthesize", "tiny.toml", "--out", "here"]


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
        assert rows[f"final of seed {seed}"][-1] == f"{final['test_accuracy']:.2%}"

    step = result.stderr.splitlines()[-1].removeprefix("next: nestgraph ").split()
    facts = json.loads(run(*step, "--json").stdout)
    assert facts["accuracy"] == pytest.approx(finals[-1]["test_accuracy"])


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


def shown_progress(monkeypatch, **environment: str) -> str:
    with terminal(monkeypatch, **environment) as received, RunProgress("tiny seed 0") as progress:
        progress(row(4), 12.0)
        time.sleep(0.2)  # two refreshes
    return b"".join(received).decode()


def test_a_terminal_shows_one_live_line(monkeypatch):
    received = shown_progress(monkeypatch)
    assert "tiny seed 0  grow     1,234 connections     9 units  validation 75.00%" in received
    assert "~12 s left in phase  [red]wake[/red] 3" in received
    assert "\r\x1b[2K" in received
    assert "\x1b[3" in received  # a colour


def test_a_terminal_gets_no_colour_where_there_should_be_none(monkeypatch):
    received = shown_progress(monkeypatch, NO_COLOR="1")
    assert "1,234 connections" in received
    assert "\x1b[3" not in received


def test_a_narrow_terminal_keeps_the_live_line_on_one_line(monkeypatch):
    received = shown_progress(monkeypatch, COLUMNS="60")
    frames = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).rstrip("\n") for frame in received.split("\r")]
    assert received.count("\n") == 1
    assert max(map(len, frames)) <= 60
    assert any("0:00:00 tiny seed 0  grow     1,234 connections" in frame for frame in frames)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch):
    received = shown_progress(monkeypatch, TERM="dumb")
    assert received.replace("\r\n", "\n").count("\n") == 1
    assert "\x1b" not in received


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_whole_files_and_says_how_to_go_on(folder, number, code):
    (folder / "tiny.toml").write_text(TINY.format(edits=100_000))
    reset = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a shell may have it ignored
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **reset) as child:
        lines = [child.stderr.readline() for _ in range(3)]
        child.send_signal(number)
        began = time.monotonic()
        table, rest = child.communicate(timeout=30)
    assert time.monotonic() - began < 10
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
