"""How verbs end: exit codes, one sentence for what goes wrong, and nothing on a terminal that came from a file."""

import io
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.cli import main
from nestgraph.cli.output import answer, complain, plain
from tests.cli.running import before, run
from tests.laws import quick

pytestmark = pytest.mark.usefixtures("snapshots")
PROGRAM = [sys.executable, "-m", "nestgraph"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sumary", "before.json"], "nestgraph: no such command 'sumary'. Did you mean 'summary'?"),
        (["--loud"], "nestgraph: no such option: --loud"),
        (["summary"], "nestgraph summary: missing argument 'SNAPSHOT'"),
        (["summary", "before.json", "--loud"], "nestgraph summary: no such option: --loud"),
        (["evaluate", "before.json"], "nestgraph evaluate: missing option '--data'"),
        (
            ["evaluate", "before.json", "--data", "cats"],
            "nestgraph evaluate: invalid value for --data: expected one of",
        ),
        (
            ["evaluate", "before.json", "--data", "digits", "--device", "tpu"],
            "nestgraph evaluate: invalid value for '--device': 'tpu' is not one of",
        ),
        (
            ["draw", "before.json", "a.svg", "--view", "x"],
            "nestgraph draw: invalid value for '--view': 'x' is not one of",
        ),
        (
            ["draw", "before.json", "a.jpg"],
            "nestgraph draw: invalid value for PICTURE: expected .svg, .png, .pdf or .dot",
        ),
        (["edit", "before.json"], "nestgraph edit: missing argument 'EDITS'"),
        (
            ["edit", "before.json", "edit.json"],
            "nestgraph edit: invalid value for --out: expected a file to write, or --preview",
        ),
        (
            ["edit", "before.json", "edit.json", "--preview", "--out", "new.json"],
            "nestgraph edit: invalid value for --out: expected none with --preview",
        ),
        (["schema", "cats"], "nestgraph schema: invalid value for NAME: expected one of costs, edit,"),
        (["schema", "edit", "--out", "new"], "nestgraph schema: invalid value for NAME: expected none with --out"),
        (["summary", ""], "nestgraph: expected no empty word, got one: is a variable of the shell not set?"),
        (["synthesize", "cats"], "expected a recipe name ("),
        (["synthesize", "missing.toml"], "missing.toml: "),
        (["synthesize", "digits", "--seeds", "0"], "nestgraph synthesize: invalid value for '--seeds': "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(words, sentence):
    result = run("--quiet", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1


def test_no_verb_shows_the_help_as_wrong_usage():
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == run("--help").stdout


def test_version():
    assert run("--version").stdout.startswith("nestgraph 0.")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ng.NestgraphError("net.json: bad (expected good, got bad)"), 1, "net.json: bad (expected good, got bad)\n"),
        (
            OSError(28, "No space left on device", "net.json"),
            1,
            "net.json: cannot be used (expected a usable file, got:",
        ),
        (ZeroDivisionError("by zero"), 70, "nestgraph: a bug: ZeroDivisionError: by zero (run again with --debug"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_sentences_and_tracebacks_only_for_debug(error, code, sentence, monkeypatch):
    def load(_path):
        raise error

    monkeypatch.setattr(ng, "load", load)
    result = run("summary", "before.json")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == bool(sentence)
    if code != 130:
        with pytest.raises(type(error)):
            run_raising("summary", "before.json", "--debug")


class Interrupting:
    """Ctrl-C while the command line is imported."""

    def find_spec(self, name, *_):
        if name == "nestgraph.cli.app":
            raise KeyboardInterrupt


def test_ctrl_c_while_the_program_is_loaded_is_silent(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "nestgraph.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ending:
        main()
    assert (ending.value.code, *capsys.readouterr()) == (130, "", "")


def run_raising(*words):
    from typer.testing import CliRunner

    from nestgraph.cli.app import app

    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_words_after_two_dashes_are_no_options():
    ng.save(before(), "--quiet")
    result = run("verify", "--", "--quiet")
    assert result.stdout.startswith("--quiet: valid ")
    assert result.stderr


@pytest.mark.parametrize("words", [["schema", "network"], ["--help"]])
def test_a_reader_that_leaves_early_ends_a_verb_in_silence(words):
    with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()  # long before the first byte is written
        errors = child.stderr.read()
    assert (child.returncode, errors) == (141, b"")


HOSTILE = "a\x1b]0;owned\x07\x1b[31m\u202eb\r\x9b2J"


def test_no_escape_sequence_reaches_the_terminal(snapshots):
    document = json.loads((snapshots / "before.json").read_text())
    document["layers"][1]["layer"]["label"] = HOSTILE
    (snapshots / "label.json").write_text(json.dumps(document))
    document["layers"][1]["layer"] |= {"label": "", "name": HOSTILE}
    (snapshots / "name.json").write_text(json.dumps(document))
    (snapshots / "key.json").write_text(json.dumps({HOSTILE: 1}))
    (snapshots / "recipe.toml").write_text(f"name = {json.dumps(HOSTILE)}")
    (snapshots / HOSTILE).write_bytes((snapshots / "before.json").read_bytes())
    files = ("label.json", "name.json", "key.json", HOSTILE)
    cases = [(verb, file) for verb in ("verify", "summary") for file in files]
    cases += [("synthesize", "recipe.toml"), ("synthesize", HOSTILE), (HOSTILE,), ("draw", "before.json", HOSTILE)]
    cases += [("evaluate", "before.json", "--data", HOSTILE), ("diff", HOSTILE, "after.json"), ("schema", HOSTILE)]
    cases += [("edit", "before.json", file, "--preview") for file in files]
    for words in cases:
        result = run(*words)
        for text in (result.stdout, result.stderr):
            assert all(character.isprintable() or character == "\n" for character in text), words
        assert result.exit_code in (0, 1, 2), words
        assert result.output


def test_a_stream_of_few_characters_gets_the_others_as_json_writes_them(monkeypatch):
    for name, tell in (("stdout", answer), ("stderr", complain)):
        stream = io.TextIOWrapper(io.BytesIO(), "ascii")
        monkeypatch.setattr(sys, name, stream)
        tell("é → \U0001f9e0 a")
        stream.flush()
        assert stream.buffer.getvalue() == rb"\u00e9 \u2192 \ud83e\udde0 a" + b"\n"


@given(st.text())
@quick(100)
def test_plain_text_keeps_what_json_means(text):
    written = plain(json.dumps({"key": text}, ensure_ascii=False))
    assert json.loads(written) == {"key": text}
    assert all(character.isprintable() or character == "\n" for character in plain(text))
