"""Layouts of image folders: understood in one way, which is said, or refused by name."""

import json
import logging
import os

import numpy as np
import pytest
from PIL import Image

from nestgraph.data import image_layout
from nestgraph.data.datasets import load_image_folder
from nestgraph.data.image_folder import FolderOptions, read_image_folder
from nestgraph.data.image_layout import ORDER, SPLITS
from nestgraph.errors import DataError
from tests.cli.running import run

SMALL = FolderOptions(size=8, holdout=0.25)


def grown(root, *places, count=6):
    """Folders of images, such as `train/cat`; those without images where the count is 0."""
    for place in places:
        (root / place).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (9, 9)).save(root / place / f"{number}.png")
    return root


def classes(*parts):
    return [f"{part}/{name}" for part in parts for name in ("cat", "dog")]


def sizes(dataset):
    return [len(split.targets) for split in (dataset.train, dataset.validation, dataset.test)]


@pytest.mark.parametrize("change", [str, str.upper, str.title])
@pytest.mark.parametrize("word", [word for word in SPLITS if SPLITS[word] != "train"])
@pytest.mark.parametrize("train", [word for word in SPLITS if SPLITS[word] == "train"])
def test_splits_are_known_by_any_of_their_names_in_any_case(tmp_path, train, word, change):
    grown(tmp_path, *classes(change(train), change(word)))
    found = read_image_folder(tmp_path, SMALL)
    assert found.classes == ("cat", "dog")
    assert (len(found.labels), [*found.parts]) == (24, ["train", SPLITS[word]])
    assert [len(places) for split in ORDER if (places := found.places(split)) is not None] == [12, 12]
    assert sizes(load_image_folder(tmp_path, SMALL)) == [9, 3, 12]  # either is the test split


def test_with_val_and_test_nothing_is_drawn(tmp_path):
    grown(tmp_path, *classes("train"))
    grown(tmp_path, *classes("Valid"), count=2)
    grown(tmp_path, *classes("test"), count=3)
    with pytest.raises(DataError, match="expected no holdout where there are val and test"):
        load_image_folder(tmp_path, SMALL)
    for seed in (0, 1):
        dataset = load_image_folder(tmp_path, FolderOptions(size=8), seed)
        assert sizes(dataset) == [12, 4, 6]
        for samples, part in ((dataset.train, "train"), (dataset.validation, "Valid"), (dataset.test, "test")):
            assert {samples.files.paths[place].split(os.sep)[-3] for place in samples.places} == {part}


REFUSED = {
    "splits beside classes": ((*classes("train"), "bird"), "got both, 'train' beside 'bird': move or rename one kind"),
    "a class called like a split": (("car", "bus", "train"), "got both, 'train' beside 'bus', 'car'"),
    "one split twice": (classes("train", "Train"), "expected one folder for each split in '.*', got 'Train', 'train'"),
    "two words for one": (classes("train", "val", "valid"), "one folder for each split in '.*', got 'val', 'valid'"),
    "no training images": (classes("val", "test"), "has a folder test: expected a folder train beside it"),
    "splits in classes": (
        ("cat/train", "cat/val", "dog/train", "dog/val"),
        "splits outside of classes, FOLDER/train/cat, got 'cat' with a folder 'train' in it",
    ),
    "splits in splits": (classes("train/train"), "expected a folder for each of two or more classes in '.*train'"),
    "images in splits": (("train", "test"), r"two or more classes in '.*train', got \[\]"),
    "other classes": (
        ("train/cat", "train/dog", "val/cat", "val/owl", "test/cat", "test/dog"),
        "the classes of all splits to be the same, got no 'owl' in 'train', no 'dog' in 'val', no 'owl' in 'test'",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_be_understood_in_two_ways_is_refused_by_name(tmp_path, kind):
    places, sentence = REFUSED[kind]
    grown(tmp_path, *places)
    with pytest.raises(DataError, match=sentence):
        read_image_folder(tmp_path, SMALL)


def test_all_empty_classes_are_named(tmp_path):
    grown(tmp_path, "train/cat", "train/dog", "val/cat", "val/dog", count=0)
    with pytest.raises(DataError, match=r"got none in '.*train/cat', '.*train/dog', '.*val/cat', '.*val/dog'"):
        read_image_folder(tmp_path, SMALL)


@pytest.mark.parametrize("few", [1, 2])
def test_a_class_with_too_few_images_is_named_with_their_number(tmp_path, few):
    grown(tmp_path, "cat", "dog", count=30)
    grown(tmp_path, "rare", count=few)
    for seed in range(3):
        with pytest.raises(DataError, match=rf"a share of 0.25 from .*, got too few of 'rare' \({few}\): add"):
            load_image_folder(tmp_path, SMALL, seed)


def test_folders_are_read_only_so_deep(tmp_path, monkeypatch):
    grown(tmp_path, "cat", "dog")
    place = "cat/" + "/".join("d" * (image_layout.DEEPEST - 1))
    grown(tmp_path, place, count=1)
    assert len(read_image_folder(tmp_path, SMALL).labels) == 13
    grown(tmp_path, f"{place}/d", count=1)
    with pytest.raises(DataError, match=r"expected folders nested at most 32 deep in '.*cat', got more") as refusal:
        read_image_folder(tmp_path, SMALL)
    assert len(str(refusal.value)) < 400
    monkeypatch.setattr(image_layout, "MOST_FILES", 5)
    with pytest.raises(DataError, match="expected at most 5 files in"):
        read_image_folder(tmp_path, SMALL)


def test_what_was_understood_is_said(tmp_path, caplog):
    grown(tmp_path, *classes("Train"))
    grown(tmp_path, *classes("Val"), count=2)
    expected = "image_folder: 9 to train, 3 to validate, 4 to test; 2 classes (cat {} + {} + 2, dog {} + {} + 2)"
    with caplog.at_level(logging.INFO, "nestgraph"):
        dataset = load_image_folder(tmp_path, SMALL)
    counts = np.bincount(dataset.train.targets).tolist()
    words = expected.format(*(number for count in counts for number in (count, 6 - count)))
    assert str(dataset) == words
    assert caplog.messages == [words]
    answer = run("data", tmp_path, "--json")
    assert answer.stderr.startswith("image_folder: 11 to train, 1 to validate, 4 to test; 2 classes (cat ")
    assert {name: sum(of.values()) for name, of in json.loads(answer.stdout)["classes"].items()} == {"cat": 8, "dog": 8}
    assert "image_folder" not in run("--quiet", "data", tmp_path).stderr


def test_many_classes_are_named_in_part(tmp_path):
    grown(tmp_path, *(f"class{number:02}" for number in range(14)), count=3)
    assert str(load_image_folder(tmp_path, FolderOptions(size=8, holdout=0.34))).endswith("class11 1 + 1 + 1, 2 more)")
