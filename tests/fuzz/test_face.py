"""Two thousand calls of the package's face with strange arguments in the suite, a hundred thousand in `make test-all`.

`python -m tests.fuzz.face` makes any number of them in a process of its own.
"""

import gc
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import nestgraph as ng
from nestgraph.errors import EditError
from tests.fuzz.face import calls, fuzz, main


@pytest.mark.parametrize("seed", range(4))
def test_no_argument_ends_in_a_foreign_exception(seed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # strangers fail while they are thrown away, too
    assert main(["--count", "500", "--seed", str(seed), "--dear", "0.0003"]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["memory"] <= 2**30
    gc.collect()


@pytest.mark.slow
def test_nor_does_one_of_many():
    command = [sys.executable, "-m", "tests.fuzz.face", "--count", "25000", "--seed"]
    for seed in range(1, 5):
        done = subprocess.run([*command, str(seed)], capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr[-4000:]
        assert json.loads(done.stdout)["memory"] <= 2**30


def test_a_foreign_exception_would_be_found(tmp_path, monkeypatch):
    def foreign(network):
        raise KeyError(network)

    def named(network):
        """A verb.

        Raises:
            ValueError: always.
        """
        raise ValueError(network)

    def refusing(network):
        raise EditError(str(network))

    for verb, count in ((foreign, 1), (named, 0), (refusing, 0)):
        monkeypatch.setattr("tests.fuzz.face.calls", lambda *_, verb=verb: ([(verb, {"network": 5})], []))
        assert len(fuzz(0, 5, tmp_path)) == count


def test_every_verb_of_the_face_is_called(tmp_path):
    called = {getattr(verb, "__name__", "") for part in calls(0, tmp_path) for verb, _ in part}
    modules = [ng, ng.edits, ng.seeds, ng.policies, ng.spec]
    verbs = {name for module in modules for name in module.__all__ if inspect.isfunction(getattr(module, name))}
    assert verbs - called == {"run_sweep"}
    kinds = {
        kind
        for module in modules
        for kind in (getattr(module, name) for name in module.__all__)
        if inspect.isclass(kind)
    }
    records = {kind.__name__ for kind in kinds if issubclass(kind, ng.spec.Record) and not inspect.isabstract(kind)}
    assert records - called == {"Operation", "Projection", "Record"}  # what others are kinds of
