"""Datasets: labelled images, in memory or in files, split into training, validation and test samples.

Inputs are scaled to [0, 1] and not centred. So the empty border of an image is exactly zero: an input there gets no
gradient and is not grown, and images distorted with zero padding keep their background.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestgraph.data import cifar, mnist
from nestgraph.data.folder_splits import folder_places
from nestgraph.data.image_folder import FolderOptions, read_image_folder
from nestgraph.data.samples import Dataset, Image, Samples, StreamedSamples
from nestgraph.data.splitting import split_places
from nestgraph.data.stratified import ValidationSplit, held_out
from nestgraph.errors import DataError
from nestgraph.snapshot.disk import PathLike
from nestgraph.snapshot.places import cache_folder, expanded
from nestgraph.spec.arguments import checked
from nestgraph.spec.randomness import Seed

LOG = logging.getLogger("nestgraph")
NOWHERE = "nowhere, as there is no home: set NESTGRAPH_DATA"


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset before it is loaded; `train`, `validation` and `test` count samples."""

    name: str
    train: int
    validation: int
    test: int
    classes: int
    image: Image
    location: str
    available: bool


@checked(DataError)
def load_dataset(
    name: str,
    seed: Seed = 0,
    cache: PathLike | None = None,
    validation: ValidationSplit = "stratified",
    folder: PathLike | None = None,
) -> Dataset:
    """Load a dataset by name; the same name, seed and validation give the same splits.

    Args:
        name: `digits` (scikit-learn's 1,797 images of 8 x 8, split 60/20/20), `mnist` (LeCun et al. 1998, images of
            28 x 28: 50,000 + 10,000 of the official training images, and the official test images) or `cifar10`
            (Krizhevsky 2009, images of 32 x 32 in colour: 45,000 + 5,000, and the official test images).
        seed: which split is drawn.
        cache: folder of downloaded files; by default `$NESTGRAPH_DATA`, else `~/.cache/nestgraph`.
        validation: `stratified` draws the validation images with equal shares of each class; `last` takes the last
            training images of MNIST or CIFAR-10, whatever the seed.
        folder: where the files of MNIST or CIFAR-10 lie, if not in their own folder in the cache.

    Raises:
        DataError: the dataset is unknown, or its files are missing or altered.
    """
    if name not in _LOADERS:
        raise DataError(f"load_dataset: expected one of {', '.join(_LOADERS)}, got {name!r}")
    if validation not in ("stratified", "last") or (name == "digits" and validation == "last"):
        choices = "'stratified'" if name == "digits" else "'stratified' or 'last'"
        raise DataError(f"load_dataset {name!r}: expected validation to be {choices}, got {validation!r}")
    if name == "digits" and folder is not None:
        raise DataError(f"load_dataset 'digits': expected no folder, as it has no files, got {str(folder)!r}")
    if folder is None:  # what has no files asks for no home
        place = cache_folder(cache) / _FOLDERS[name] if name in _FOLDERS else Path()
    else:
        place = expanded(Path(folder))
    return _LOADERS[name](np.random.default_rng(seed), place, validation)


@checked(DataError)
def load_image_folder(folder: PathLike, options: FolderOptions | None = None, seed: Seed = 0) -> Dataset:
    """Load a folder with a folder of images for each class; the images themselves are read when they are wanted.

    The test split is FOLDER/test or else FOLDER/val if there is one, else drawn as the validation split is; with both,
    the validation split is FOLDER/val. What was understood is the dataset's text, and logged.

    Args:
        folder: see `image_folder`.
        options: how it is read.
        seed: which splits are drawn.

    Raises:
        DataError: the folder is none of that kind, or has too few images to draw splits from.
    """
    options = options or FolderOptions()
    found = read_image_folder(Path(folder), options)
    splits = folder_places(found, options, np.random.default_rng(seed))
    samples = [StreamedSamples(found.files, split, found.labels[split], options.size) for split in splits]
    dataset = Dataset(
        "image_folder",
        *samples,
        classes=len(found.classes),
        left_out=found.left_out,
        names=found.classes,
    )
    LOG.info("%s", dataset)
    return dataset


def datasets(cache: PathLike | None = None) -> tuple[DatasetInfo, ...]:
    """Return what `load_dataset` knows by name, and where each dataset lies or would lie."""
    digits, images = (_location(name, cache) for name in ("mnist", "cifar10"))
    here = digits is not None and all((digits / file.name).is_file() for file in mnist.FILES)
    there = images is not None and cifar.present(images)
    return (
        DatasetInfo("digits", 1_079, 359, 359, 10, (1, 8, 8), "inside scikit-learn", True),
        DatasetInfo("mnist", 50_000, 10_000, 10_000, 10, (1, 28, 28), str(digits or NOWHERE), here),
        DatasetInfo("cifar10", 45_000, 5_000, 10_000, 10, cifar.IMAGE, str(images or NOWHERE), there),
    )


def _location(name: str, cache: PathLike | None) -> Path | None:
    """Where a dataset's files belong; None where there is no home for them."""
    try:
        return cache_folder(cache) / _FOLDERS[name]
    except DataError:
        return None


def _load_digits(rng: np.random.Generator, _folder: Path, _validation: ValidationSplit) -> Dataset:
    images, labels = _bundled_digits()
    places = split_places("digits", labels, 1 / 5, 1 / 5, rng)
    splits = (_samples(images[part, None], labels[part], 16) for part in places)
    return Dataset("digits", *splits, classes=10)


@cache
def _bundled_digits() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """All images (samples, 8, 8) and labels, read once; whoever splits them copies."""
    digits = import_module("sklearn.datasets").load_digits()  # lazy: slower to import than all of nestgraph
    images, labels = digits.images.astype(np.uint8), digits.target
    for array in (images, labels):
        array.flags.writeable = False
    return images, labels


def _load_mnist(rng: np.random.Generator, folder: Path, validation: ValidationSplit) -> Dataset:
    images, labels, test_images, test_labels = mnist.read_mnist(folder)
    if len(images) != len(labels):
        raise DataError(f"mnist: expected one label a training image, got {len(images)} images, {len(labels)} labels")
    held = held_out(labels, len(labels) // 6, rng, validation)
    train, kept = (_samples(images[part, None], labels[part], 255) for part in (~held, held))
    test = _samples(test_images[:, None], test_labels, 255)
    return Dataset("mnist", train, kept, test, classes=10)


def _load_cifar10(rng: np.random.Generator, folder: Path, validation: ValidationSplit) -> Dataset:
    images, labels, test_images, test_labels = cifar.read_cifar10(folder)
    held = held_out(labels, len(labels) // 10, rng, validation)
    train, kept = (_samples(images[part], labels[part], 255) for part in (~held, held))
    test = _samples(test_images, test_labels, 255)
    return Dataset("cifar10", train, kept, test, classes=cifar.CLASSES)


def _samples(images: NDArray[np.uint8], labels: NDArray[Any], white: int) -> Samples:
    """Scale images (samples, channels, height, width) from 0..white to [0, 1]."""
    return Samples(np.divide(images, white, dtype=np.float32), labels.astype(np.int64))


_LOADERS: dict[str, Callable[[np.random.Generator, Path, ValidationSplit], Dataset]] = {
    "digits": _load_digits,
    "mnist": _load_mnist,
    "cifar10": _load_cifar10,
}
_FOLDERS = {"mnist": "mnist", "cifar10": "cifar-10-batches-bin"}
