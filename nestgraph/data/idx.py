"""Images and labels in IDX files, compressed or not: MNIST's format, and that of the datasets that take its place."""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from nestgraph.data.augmentation import Normalisation
from nestgraph.data.distortion import AffineDistortion, distortion_words
from nestgraph.data.files import opened
from nestgraph.data.samples import Dataset, Samples
from nestgraph.data.stratified import ValidationSplit, held_out
from nestgraph.errors import DataError
from nestgraph.snapshot.disk import shown
from nestgraph.snapshot.places import expanded
from nestgraph.spec.facts import AllWanted
from nestgraph.spec.options import Options, PathText

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

NAME = re.compile(r"(?P<part>.*?)(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx[13]-ubyte(\.gz)?")
MOST_VALUES = 2**31
Bytes = NDArray[np.uint8]


class IdxOptions(Options):
    """A folder with four IDX files: images and labels to train and to test with, such as Fashion-MNIST, KMNIST, EMNIST.

    Attributes:
        path: the folder; by default where Debian's package dataset-fashion-mnist puts Fashion-MNIST.
        part: what the names of the files begin with, where a folder holds several sets, such as `emnist-letters`.
        transposed: whether images lie on their side, as those of EMNIST do.
        validation: whether the images that decisions are made by are drawn, of each class its share, or the last.
        holdout: share of the training images that these are.
        distortion: of training images.
        normalisation: of all images; by default none, they come as values from 0 to 1.
    """

    kind: Literal["idx"]
    path: PathText | None = None
    part: Annotated[str, StringConstraints(max_length=64)] | None = None
    transposed: bool = False
    validation: ValidationSplit = "stratified"
    holdout: Annotated[float, Field(gt=0, lt=0.5)] = 1 / 6
    distortion: AffineDistortion | None = None
    normalisation: Normalisation | None = None

    augmentation: ClassVar[None] = None

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return FASHION if self.path is None else expanded(Path(self.path))

    @property
    def title(self) -> str:
        """What results call the data."""
        return self.part or self.folder.name

    @property
    def named(self) -> bool:
        """Whether its name alone tells what it is."""
        return False

    @property
    def story(self) -> str:
        """How its samples are split and varied, in sentences."""
        how = {"stratified": "drawn by the seed, equal shares of each class", "last": "the last of them"}
        return f"{distortion_words(self.distortion)} {self.holdout:.0%} of them validate, {how[self.validation]}."

    def load(self, seed: int, wanted: AllWanted = None) -> Dataset:
        """The splits of one random seed.

        Args:
            seed: which.
            wanted: nothing else than classes is known of its images.

        Raises:
            DataError: a file is missing, cut or no IDX file, or they do not belong together.
        """
        del wanted
        images, labels, test, test_labels = read_idx_folder(self.folder, self.part)
        if self.transposed:
            images, test = (each.swapaxes(1, 2) for each in (images, test))
        names, classes = np.unique(labels, return_inverse=True)
        strange = np.setdiff1d(test_labels, names)
        if len(strange):
            raise DataError(f"{shown(self.folder)}: expected labels as in training, got {strange[0]} to test with")
        size = round(self.holdout * len(labels))
        rng = np.random.default_rng(seed)
        held = held_out(classes, size, rng, self.validation)
        splits = [(images[~held], classes[~held]), (images[held], classes[held])]
        splits.append((test, np.searchsorted(names, test_labels)))
        return Dataset(
            self.title,
            *(_samples(*each) for each in splits),
            classes=len(names),
            normalisation=self.normalisation,
            names=tuple(str(name) for name in names),
        )


def holds_idx(folder: Path) -> bool:
    """Whether a folder has IDX files."""
    try:
        return any(NAME.fullmatch(path.name) for path in folder.iterdir())
    except OSError:
        return False


def read_idx_folder(folder: Path, part: str | None = None) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Training images (samples, height, width) and labels (samples,), and those for testing.

    Args:
        folder: with the four files.
        part: see `IdxOptions`.

    Raises:
        DataError: see `IdxOptions.load`.
    """
    place = shown(folder)
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        why = str(error.strerror).lower()
        remedy = (
            "install dataset-fashion-mnist, or name a folder with path" if folder == FASHION else "look at its name"
        )
        raise DataError(f"{place}: expected a folder of IDX files, got: {why}: {remedy}") from None
    found = {name: match for name in names if (match := NAME.fullmatch(name))}
    parts = sorted({match["part"] for match in found.values()})
    chosen = [each for each in parts if part is None or each.strip("-_.") == part.strip("-_.")]
    if len(chosen) != 1:
        what = "one set of IDX files" if part is None else f"IDX files that begin with {part!r}"
        got, remedy = ", ".join(repr(each.strip("-_.")) for each in parts), "name one with part"
        if not parts:
            what, got, remedy = "files such as train-images-idx3-ubyte.gz", "none", "look at the folder"
        raise DataError(f"{place}: expected {what}, got {got}: {remedy}")
    arrays: list[Bytes] = []
    for split in (("train",), ("t10k", "test")):
        for what in ("images", "labels"):
            files = [
                name
                for name, match in found.items()
                if match["part"] == chosen[0] and match["split"] in split and match["what"] == what
            ]
            if not files:
                raise DataError(f"{place}: expected a file {chosen[0]}{split[0]}-{what}, got none: bring it there")
            arrays.append(read_idx(folder / files[0], 3 if what == "images" else 1))
    for images, labels in (arrays[:2], arrays[2:]):
        if len(images) != len(labels) or not len(images):
            raise DataError(f"{place}: expected one label an image, got {len(images)} images, {len(labels)} labels")
    return arrays[0], arrays[1], arrays[2], arrays[3]


def read_idx(path: Path, dimensions: int) -> Bytes:
    """The array in an IDX file of unsigned bytes, compressed or not.

    No more is read than its header says, whatever a compressed file would become.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    place = shown(path)
    try:
        with opened(path) as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            header = file.read(4 + 4 * dimensions)
            size = _size(header, place, dimensions)
            return parse_idx(header + file.read(size + 1), place, dimensions)
    except (EOFError, zlib.error) as error:
        raise DataError(f"{place}: expected a compressed file, got one that is cut or damaged: {error}") from None


def parse_idx(data: bytes, name: str, dimensions: int) -> Bytes:
    """Return the array that an IDX file of unsigned bytes holds.

    The format: a big-endian magic number (two zero bytes, 8 for unsigned bytes, the number of dimensions), one
    32-bit size a dimension, the entries in row-major order.

    Args:
        data: the whole file.
        name: what errors call it.
        dimensions: how many the array should have.

    Raises:
        DataError: the header is another one, or the entries are too few or too many.
    """
    start = 4 + 4 * dimensions
    size = _size(data, name, dimensions)
    if len(data) - start != size:
        shape = _shape(data, dimensions)
        raise DataError(f"{name}: expected {size} bytes after the header for shape {shape}, got {len(data) - start}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(_shape(data, dimensions))


def _shape(data: bytes, dimensions: int) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[place : place + 4], "big") for place in range(4, 4 + 4 * dimensions, 4))


def _size(data: bytes, name: str, dimensions: int) -> int:
    """How many bytes a header says that there are.

    Raises:
        DataError: it is none.
    """
    magic, start = bytes([0, 0, 8, dimensions]), 4 + 4 * dimensions
    if data[:4] != magic or len(data) < start:
        raise DataError(
            f"{name}: expected an IDX header of {start} bytes that starts with {magic.hex()} (unsigned bytes, "
            f"{dimensions} dimensions), got {min(len(data), start)} bytes that start with {data[:4].hex() or 'nothing'}"
        )
    size = math.prod(_shape(data, dimensions))
    if size > MOST_VALUES:
        raise DataError(f"{name}: expected at most {MOST_VALUES:,} bytes, got a header of {size:,}: is it damaged?")
    return size


def _samples(images: Bytes, classes: NDArray[np.int64]) -> Samples:
    return Samples(np.divide(images[:, None], 255, dtype=np.float32), classes.astype(np.int64))
