"""Files that want to do harm: each is refused with the sentence that `sentences.toml` has for it, and little work."""

import tomllib
import warnings
from pathlib import Path

import pytest

from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.recipes.recipe import load_recipe
from nestgraph.snapshot import load, read_journal
from tests.counting import calls_of

HERE = Path(__file__).parent
SENTENCES = tomllib.loads((HERE / "sentences.toml").read_text("utf-8"))
READERS = {
    "snapshots": load,
    "sidecars": lambda folder: load(folder / "net.json"),
    "journals": read_journal,
    "recipes": load_recipe,
}
MOST = 50_000
"""Calls that a refusal may take."""

CASES = [(kind, name) for kind, table in SENTENCES.items() for name in table]


def test_every_file_has_its_sentence():
    for kind in READERS:
        assert {path.name for path in (HERE / kind).iterdir()} == SENTENCES[kind].keys()


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind}-{name}" for kind, name in CASES])
@pytest.mark.filterwarnings("error")
def test_hostile_files_are_refused_with_their_sentence(kind, name):
    path = HERE / kind / name
    with pytest.raises((SnapshotError, RecipeError)) as caught:
        READERS[kind](path)
    assert calls_of(lambda: READERS[kind](path)) < MOST
    message = str(caught.value)
    assert message.startswith(str(path))
    assert SENTENCES[kind][name] in message
    assert message.isprintable()
    assert len(message) < 1000


def test_what_is_hostile_is_only_what_was_changed():
    """The files that the corpus was made from are read without a word."""
    examples = HERE.parent / "snapshot" / "examples"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("v1-chain.json", "v2-chain.json", "v2-sidecar.json"):
            load(examples / name)
        assert len(read_journal(examples / "v1-journal.jsonl")) == 3
        assert len(read_journal(examples / "v2-journal.jsonl")) == 8
