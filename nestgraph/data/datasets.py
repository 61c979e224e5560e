"""Datasets: labelled images, in memory or in files, split into training, validation and test samples.

Inputs are scaled to [0, 1] and not centred. So the empty border of an image is exactly zero: an input there gets no
gradient and is not grown, and images distorted with zero padding keep their background.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nestgraph.data import cifar, mnist
from nestgraph.data.augmentation import Normalisation
from nestgraph.data.folder_splits import split_places
from nestgraph.data.image_files import ImageFiles
from nestgraph.data.image_folder import FolderOptions, expanded, read_image_folder
from nestgraph.data.stratified import stratified
from nestgraph.errors import DataError
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.spec.limits import MAX_WHOLE
from nestgraph.spec.wording import quoted

ValidationSplit = Literal["stratified", "last"]
Image = tuple[int, int, int]
LOG = logging.getLogger("nestgraph")
NOWHERE = "nowhere, as there is no home: set NESTGRAPH_DATA"
MOST_NAMED = 12
"""Classes that a dataset's text names."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Labelled images.

    Attributes:
        inputs: float32, (samples, channels, height, width), finite.
        labels: int64, (samples,).

    Raises:
        DataError: the arrays have other shapes or dtypes, or do not belong together.
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        inputs, labels = self.inputs, self.labels
        if not (isinstance(inputs, np.ndarray) and isinstance(labels, np.ndarray)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError(f"Samples: expected NumPy arrays, got {quoted(inputs)} and {quoted(labels)}")
        if (inputs.dtype, inputs.ndim, labels.dtype, labels.ndim) != (np.float32, 4, np.int64, 1):
            raise DataError(
                "Samples: expected float32 inputs (samples, channels, height, width) and int64 labels (samples,), "
                f"got {inputs.dtype} {inputs.shape} and {labels.dtype} {labels.shape}"
            )
        if len(inputs) != len(labels) or not len(labels):
            raise DataError(f"Samples: expected one label an image, got {len(inputs)} images and {len(labels)} labels")
        if not np.isfinite(inputs).all():
            raise DataError("Samples: expected finite inputs, got NaN or infinity")
        for name in ("inputs", "labels"):  # torch takes no other strides
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image(self) -> Image:
        """(channels, height, width) of every input."""
        return self.inputs.shape[1], self.inputs.shape[2], self.inputs.shape[3]


@dataclass(frozen=True, eq=False)
class StreamedSamples:
    """Labelled image files, decoded as they are read.

    Attributes:
        files: of this split and maybe of others, so that they share what is remembered.
        places: of this split's images among the files, int64, (samples,).
        labels: int64, (samples,).
        size: of the middle square that a network sees.
    """

    files: ImageFiles
    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image(self) -> Image:
        """(channels, height, width) of every input."""
        return 3, self.size, self.size

    def stream(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
        """The images at the places of each batch within this split, (len(batch), 3, side, side), bytes.

        They are the files' squares, of which a network sees a part.

        Raises:
            DataError: a file cannot be decoded.
        """
        return self.files.stream([self.places[batch] for batch in batches])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification task. Decisions read `validation`; `test` is read once, at the end.

    Attributes:
        classes: labels are 0 to classes - 1.
        image: (channels, height, width) of every input.
        normalisation: what a trainer does to inputs before a network sees them.
        left_out: files that could not be read.
        names: of the classes, where they have some.

    Raises:
        DataError: a split has images of another shape, or labels of other classes.
    """

    name: str
    train: Samples | StreamedSamples
    validation: Samples | StreamedSamples
    test: Samples | StreamedSamples
    classes: int
    image: Image
    normalisation: Normalisation | None = None
    left_out: int = 0
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Its splits and classes in one line: what was made of a folder of images."""
        splits = {"to train": self.train, "to validate": self.validation, "to test": self.test}
        counts = [np.bincount(samples.labels, minlength=self.classes) for samples in splits.values()]
        parts = ", ".join(f"{len(samples):,} {use}" for use, samples in splits.items())
        shown = zip(self.names[:MOST_NAMED], *(each.tolist() for each in counts), strict=False)
        words = [f"{name[:40]} {' + '.join(map(str, of_class))}" for name, *of_class in shown]
        words += [f"{self.classes - MOST_NAMED} more"] if self.names and self.classes > MOST_NAMED else []
        listed = f" ({', '.join(words)})" if words else ""
        left_out = f"; {self.left_out:,} files left out" if self.left_out else ""
        return f"{self.name}: {parts}; {self.classes} classes{listed}{left_out}"

    def __post_init__(self) -> None:
        for split, samples in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            low, high = int(samples.labels.min()), int(samples.labels.max())
            if samples.image != self.image or low < 0 or high >= self.classes:
                raise DataError(
                    f"dataset {self.name!r}, {split}: expected images {self.image} with labels below {self.classes}, "
                    f"got {samples.image} with labels {low} to {high}"
                )
        if self.normalisation and len(self.normalisation.mean) != self.image[0]:
            got = len(self.normalisation.mean)
            raise DataError(f"dataset {self.name!r}: expected to normalise {self.image[0]} channels, got {got}")


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
    seed: int = 0,
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
    _check_seed(f"load_dataset {name!r}", seed)
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
def load_image_folder(folder: PathLike, options: FolderOptions | None = None, seed: int = 0) -> Dataset:
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
    _check_seed("image_folder", seed)
    found = read_image_folder(Path(folder), options)
    splits = split_places(found, options, np.random.default_rng(seed))
    samples = [StreamedSamples(found.files, split, found.labels[split], options.size) for split in splits]
    dataset = Dataset(
        "image_folder",
        *samples,
        classes=len(found.classes),
        image=(3, options.size, options.size),
        left_out=found.left_out,
        names=found.classes,
    )
    LOG.info("%s", dataset)
    return dataset


def _check_seed(who: str, seed: int) -> None:
    """Refuse a seed that a run could not write down, or that no generator takes."""
    if not 0 <= seed < MAX_WHOLE:
        raise DataError(f"{who}: expected a seed from 0 to {MAX_WHOLE - 1:,}, got {quoted(seed)}")


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


def cache_folder(cache: PathLike | None = None) -> Path:
    """Return the folder of downloaded files: the argument, else `$NESTGRAPH_DATA`, else `~/.cache/nestgraph`.

    Raises:
        DataError: it is in a home that there is not.
    """
    return expanded(Path(cache or os.environ.get("NESTGRAPH_DATA") or "~/.cache/nestgraph"))


def _load_digits(rng: np.random.Generator, _folder: Path, _validation: ValidationSplit) -> Dataset:
    images, labels = _bundled_digits()
    fifth = round(len(labels) / 5)
    test = stratified(labels, fifth, rng)
    rest = np.flatnonzero(~test)
    validation = np.zeros(len(labels), bool)
    validation[rest[stratified(labels[rest], fifth, rng)]] = True
    splits = (_samples(images[part, None], labels[part], 16) for part in (~test & ~validation, validation, test))
    return Dataset("digits", *splits, classes=10, image=(1, 8, 8))


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
    held = _held_out(labels, len(labels) // 6, rng, validation)
    train, held_out = (_samples(images[part, None], labels[part], 255) for part in (~held, held))
    test = _samples(test_images[:, None], test_labels, 255)
    return Dataset("mnist", train, held_out, test, classes=10, image=(1, 28, 28))


def _load_cifar10(rng: np.random.Generator, folder: Path, validation: ValidationSplit) -> Dataset:
    images, labels, test_images, test_labels = cifar.read_cifar10(folder)
    held = _held_out(labels, len(labels) // 10, rng, validation)
    train, held_out = (_samples(images[part], labels[part], 255) for part in (~held, held))
    test = _samples(test_images, test_labels, 255)
    return Dataset("cifar10", train, held_out, test, classes=cifar.CLASSES, image=cifar.IMAGE)


def _held_out(
    labels: NDArray[np.uint8], size: int, rng: np.random.Generator, validation: ValidationSplit
) -> NDArray[np.bool_]:
    last = np.arange(len(labels)) >= len(labels) - size
    return last if validation == "last" else stratified(labels, size, rng)


def _samples(images: NDArray[np.uint8], labels: NDArray[Any], white: int) -> Samples:
    """Scale images (samples, channels, height, width) from 0..white to [0, 1]."""
    return Samples(np.divide(images, white, dtype=np.float32), labels.astype(np.int64))


_LOADERS: dict[str, Callable[[np.random.Generator, Path, ValidationSplit], Dataset]] = {
    "digits": _load_digits,
    "mnist": _load_mnist,
    "cifar10": _load_cifar10,
}
_FOLDERS = {"mnist": "mnist", "cifar10": "cifar-10-batches-bin"}
