"""IDX files: whatever of them is there is read as it was written, and no more of them than their header says."""

import gzip
import re

import numpy as np
import pytest

from nestgraph.data.idx import FASHION, IdxOptions, read_idx
from nestgraph.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = {"train": RNG.integers(0, 256, (24, 5, 4), np.uint8), "t10k": RNG.integers(0, 256, (6, 5, 4), np.uint8)}
LABELS = {"train": (np.arange(24) % 3 * 2 + 1).astype(np.uint8), "t10k": np.array([1, 3, 5, 5, 3, 1], np.uint8)}


def idx(array):
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def write(folder, part="", packed=False, test="t10k"):
    for split, name in (("train", "train"), ("t10k", test)):
        for array, what in ((IMAGES[split], "images-idx3"), (LABELS[split], "labels-idx1")):
            content = idx(array)
            path = folder / f"{part}{name}-{what}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("part", "test"), [("", "t10k"), ("emnist-letters-", "test")])
def test_what_was_written_is_read(tmp_path, packed, part, test):
    data = IdxOptions(kind="idx", path=str(write(tmp_path, part, packed, test)), holdout=0.25).load(1)
    assert (data.classes, data.names, data.facts.inputs) == (3, ("1", "3", "5"), ((1, 5, 4),))
    assert [len(each) for each in data.splits.values()] == [18, 6, 6]
    rows = {image.tobytes(): label for image, label in zip(IMAGES["train"], LABELS["train"], strict=True)}
    for part_read in (data.train, data.validation):
        for image, target in zip(part_read.inputs, part_read.targets, strict=True):
            assert rows[np.rint(image[0] * 255).astype(np.uint8).tobytes()] == (1, 3, 5)[target]
    assert np.array_equal(np.rint(data.test.inputs[:, 0] * 255), IMAGES["t10k"])
    assert np.bincount(data.validation.targets).tolist() == [2, 2, 2]


def test_sets_side_by_side_are_told_apart(tmp_path):
    write(write(tmp_path, "emnist-letters-"), "emnist-digits-")
    with pytest.raises(
        DataError, match="expected one set of IDX files, got 'emnist-digits', 'emnist-letters': name one"
    ):
        IdxOptions(kind="idx", path=str(tmp_path)).load(0)
    with pytest.raises(DataError, match="begin with 'kmnist', got"):
        IdxOptions(kind="idx", path=str(tmp_path), part="kmnist").load(0)
    upright = IdxOptions(kind="idx", path=str(tmp_path), part="emnist-letters", transposed=True).load(0)
    assert upright.facts.inputs == ((1, 4, 5),)
    assert np.array_equal(np.rint(upright.test.inputs[:, 0] * 255), IMAGES["t10k"].swapaxes(1, 2))


def _without(name):
    return lambda folder: (folder / name).unlink()


def _other(name, content):
    return lambda folder: (folder / name).write_bytes(content)


BAD = {
    "no folder": (
        lambda f: [p.unlink() for p in f.iterdir()] and f.rmdir(),
        "a folder of IDX files, got: no such file",
    ),
    "nothing": (
        lambda f: [p.unlink() for p in f.iterdir()],
        "expected files such as train-images-idx3-ubyte.gz, got none",
    ),
    "a file missing": (_without("t10k-labels-idx1-ubyte"), "expected a file t10k-labels, got none"),
    "cut": (
        _other("train-images-idx3-ubyte", idx(IMAGES["train"])[:-3]),
        "expected 480 bytes after the header .* got 477",
    ),
    "too long": (_other("train-images-idx3-ubyte", idx(IMAGES["train"]) + b"x"), "got 481"),
    "another file": (_other("train-images-idx3-ubyte", b"<html>"), "expected an IDX header of 16 bytes"),
    "huge": (_other("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12), "at most 2,147,483,648 bytes"),
    "counts": (_other("train-labels-idx1-ubyte", idx(LABELS["t10k"])), "got 24 images, 6 labels"),
    "other labels": (
        _other("t10k-labels-idx1-ubyte", idx(LABELS["t10k"] + 1)),
        "expected labels as in training, got 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_damaged_is_refused_in_a_sentence(tmp_path, case):
    damage, sentence = BAD[case]
    folder = tmp_path / "set"
    folder.mkdir()
    damage(write(folder))
    with pytest.raises(DataError, match=sentence):
        IdxOptions(kind="idx", path=str(folder)).load(0)


def test_compressed_files_are_read_as_far_as_their_header_says(tmp_path):
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(idx(LABELS["t10k"]) + bytes(2**26)))
    with pytest.raises(DataError, match=r"expected 6 bytes after the header .* got 7"):
        read_idx(bomb, 1)
    bomb.write_bytes(gzip.compress(idx(LABELS["t10k"]))[:-9])
    with pytest.raises(DataError, match="cut"):
        read_idx(bomb, 1)


@pytest.mark.skipif(FASHION.is_dir(), reason="Fashion-MNIST is here")
def test_fashion_mnist_that_is_not_here_is_told_how_to_get():
    with pytest.raises(DataError, match=re.escape("install dataset-fashion-mnist, or name a folder with path")):
        IdxOptions(kind="idx").load(0)


@pytest.mark.slow
@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_of_the_system_is_read():
    data = IdxOptions(kind="idx").load(0)
    assert [len(each) for each in data.splits.values()] == [50_000, 10_000, 10_000]
    assert (data.classes, data.facts.inputs) == (10, ((1, 28, 28),))
    assert all(np.bincount(each.targets).min() >= 990 for each in data.splits.values())
