"""Text becomes windows that tell the next token or masked ones, in parts that share nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.data.text import TextOptions, TextReading, text_dataset
from nestgraph.errors import DataError, RecordError
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.spec.facts import UNTOLD
from tests.laws import quick

TEXTS = st.text("abcd \n\u20ac", min_size=100, max_size=300).filter(lambda text: len(set(text)) > 1)


@quick(30)
@given(TEXTS, st.integers(1, 7), st.integers(1, 9))
def test_windows_lie_in_their_part_and_tell_what_comes_next(text, window, step):
    found = text_dataset(text, TextReading(window=window, step=step, validation=0.2, test=0.2))
    names = sorted(set(text))
    ids = np.array([names.index(each) for each in text])
    tail = round(0.2 * len(text))
    parts = np.split(ids, [len(text) - 2 * tail, len(text) - tail])
    assert found.classes == len(names)
    for part, split in zip(parts, found.splits.values(), strict=True):
        starts = range(0, len(part) - window, step)
        assert split.inputs.tolist() == [part[start : start + window].tolist() for start in starts]
        assert split.targets.tolist() == [part[start + 1 : start + window + 1].tolist() for start in starts]


@quick(30)
@given(TEXTS, st.integers(2, 9), st.integers(0, 9))
def test_masked_places_are_told_and_read_as_a_token_of_their_own(text, window, seed):
    reading = TextReading(window=window, learn="masked", masked=0.3, validation=0.2, test=0.2)
    plain = text_dataset(text, TextReading(window=window, validation=0.2, test=0.2))
    found, again = text_dataset(text, reading, seed), text_dataset(text, reading, seed)
    for name, split in found.splits.items():
        told = split.targets != UNTOLD
        assert (told.sum(1) == max(1, round(0.3 * window))).all()
        assert (told == (split.inputs == found.classes)).all()
        whole, rows = np.where(told, split.targets, split.inputs), len(plain.splits[name])
        assert (whole[:rows] == plain.splits[name].inputs).all()
        assert (split.inputs == again.splits[name].inputs).all()


def test_bytes_are_256_classes(tmp_path):
    (tmp_path / "x").write_bytes(bytes(range(256)) * 4)
    found = TextOptions(kind="text", path=str(tmp_path / "x"), unit="bytes", window=8).load(0)
    assert (found.classes, found.names[10], found.train.inputs[0].tolist()) == (256, "0a", [*range(8)])


REFUSED = {
    "short": (b"abc" * 9, {}, "to train: expected at least 65 characters, got 21: give more text, or a smaller window"),
    "one character": (
        b"a" * 999,
        {},
        "expected a text of several characters, got 'aaaaaaaaaaaaaaaaaaaa': give another",
    ),
    "no text": (b"ab\xff" * 99, {}, "expected text in UTF-8, got another at byte 2: convert it, or read it with unit"),
    "empty": (b"", {}, "expected a text of several characters, got ''"),
    "large": (b"ab" * 200_000, {"window": 9999, "step": 1}, "expected at most 67,108,864 tokens in windows, got 3,"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_text_is_refused_in_one_sentence(name, tmp_path):
    content, options, words = REFUSED[name]
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        TextOptions(kind="text", path=str(tmp_path / "x.txt"), **options).load(0)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_and_bytes_as_characters_are_refused(tmp_path):
    with pytest.raises(DataError, match="none"):
        TextOptions(kind="text", path=str(tmp_path / "none")).load(0)
    with pytest.raises(DataError, match="expected characters, got bytes: decode them"):
        text_dataset(b"abc")
    with pytest.raises(RecordError, match="masked"):
        TextReading(masked=0.2)


class Characters(torch.nn.Module):
    """A table, a hidden layer and outputs, place by place."""

    def __init__(self, tokens, classes):
        super().__init__()
        self.table, self.hidden = torch.nn.Embedding(tokens, 4), torch.nn.Linear(4, 6)
        self.output = torch.nn.Linear(6, classes)

    def forward(self, ids):
        return self.output(torch.relu(self.hidden(self.table(ids))))


RECIPE = """
name = "text"
data = { kind = "text", path = "TEXT", window = 8, learn = "LEARN" }
task = { kind = "places" }
seed_network = { kind = "snapshot", path = "NET" }
training = { batch_size = 16, threads = 1, optimizer = "adam" }
seed_epochs = 1
shift = { epochs = 0 }
pruning = { tolerance = 0.9, max_edits = 1, recovery_epochs = 0, policies = [{ kind = "magnitude_pruning" }] }
"""


def recipe(folder, learn, tokens, classes):
    (folder / "text.txt").write_text("ab cab bac. " * 100)
    ng.save(ng.import_module(Characters(tokens, classes), torch.zeros(2, 8, dtype=torch.long)), folder / "net.json")
    filled = RECIPE.replace("TEXT", str(folder / "text.txt")).replace("NET", str(folder / "net.json"))
    return parse_recipe(filled.replace("LEARN", learn), "text.toml")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("learn", "tokens"), [("next", 5), ("masked", 6)])
def test_recipes_train_and_prune_on_text(learn, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr("nestgraph.runs.run_folder.draw_stage", lambda *_: None)
    run = ng.synthesize(recipe(tmp_path, learn, tokens, 5), tmp_path / "run")
    final = run.result.stages[-1]
    assert list(final.test) == ["accuracy", "perplexity", "loss"]
    assert final.test["perplexity"] == pytest.approx(np.exp(final.test["loss"]), rel=1e-4)


@pytest.mark.usefixtures("plain")
def test_a_network_of_other_outputs_is_refused(tmp_path):
    words = "expected a network with 5 outputs at each of 8 places, at the last axis of a sample, got"
    with pytest.raises(DataError, match=words):
        ng.synthesize(recipe(tmp_path, "next", 5, 4), tmp_path / "run")


def test_a_loader_may_tell_the_places_itself():
    ids = torch.randint(0, 5, (40, 9), generator=torch.Generator().manual_seed(0))
    batches = [(part[:, :-1], part[:, 1:]) for part in ids.split(8)]
    found = ng.dataset(batches, batches)
    assert (found.classes, found.facts.width) == (5, 8)
