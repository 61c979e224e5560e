"""Folders of images with a folder for each class, as ImageNet comes: what lies there, and what is refused.

FOLDER/train/CLASS/... and, if there are, FOLDER/val and FOLDER/test, or a flat FOLDER/CLASS/...: see `image_layout`.
Images are told by their content and not by their names; files whose names begin with a dot and loose files beside the
class folders are no images and are passed over.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from nestgraph.data.image_files import ImageFiles
from nestgraph.data.image_layout import Split, layout_of, listed
from nestgraph.errors import DataError
from nestgraph.snapshot.places import expanded
from nestgraph.spec.options import Beside, Options

NAMED = 5
"""How many unreadable files a message names."""


class FolderOptions(Options):
    """How a folder of images is read.

    Attributes:
        size: side of the square that a network sees, pixels.
        resize: what the shorter side of an image is scaled to before its middle square of `size` is cut out; by default
            8/7 of `size`, as 256 to 224. Training crops are taken from the middle square of this side.
        holdout: share of the training images that are the validation split, drawn from each class alike; as many again
            are the test split where there is neither FOLDER/val nor FOLDER/test. With both, nothing is drawn.
        check: decode every file once before the run begins. Without, a file that cannot be decoded ends the run when it
            is first read.
        skip_files: up to so many files that cannot be decoded are left out, with a warning; more are refused.
        workers: processes that decode; the results do not depend on them. 0 decodes in the process of the run.
        memory_mb: megabytes of decoded images to remember; the others are decoded whenever they are read.
    """

    size: Annotated[int, Field(ge=1, le=4096)] = 224
    resize: Annotated[int, Field(ge=1, le=8192)] | None = None
    holdout: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    check: bool = True
    skip_files: NonNegativeInt = 0
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    memory_mb: PositiveInt = 1024
    beside: ClassVar[Mapping[str, tuple[Beside, ...]]] = {"skip_files": (Beside("check", (True,), "check"),)}

    @property
    def side(self) -> int:
        """What the shorter side of an image is scaled to, pixels."""
        return self.resize or round(self.size * 8 / 7)


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The images of a folder.

    Attributes:
        root: the folder.
        classes: names of the class folders, sorted; a label is an index into them.
        files: all images, in the order of the parts.
        labels: int64, (files,).
        parts: folders of class folders, by split: FOLDER alone for `train`, or FOLDER/train and maybe others.
        part: of each image, an index into them, int8, (files,).
        left_out: how many files could not be decoded.
    """

    root: Path
    classes: tuple[str, ...]
    files: ImageFiles
    labels: NDArray[np.int64]
    parts: Mapping[Split, Path]
    part: NDArray[np.int8]
    left_out: int = 0

    def places(self, split: Split) -> NDArray[np.int64] | None:
        """Which images lie in the folder of a split; None where there is none."""
        return np.flatnonzero(self.part == [*self.parts].index(split)) if split in self.parts else None


def read_image_folder(folder: Path, options: FolderOptions) -> ImageFolder:
    """List a folder of images and, if asked for, decode each once.

    Raises:
        DataError: there is no such folder, it has no classes or one without images, a link leads out of it, it may be
            understood in two ways, splits have different classes, or more files than allowed cannot be decoded.
    """
    if options.side < options.size:
        raise DataError(f"image_folder: expected resize to be at least the size {options.size}, got {options.side}")
    root = Path(os.path.realpath(expanded(folder)))
    if not root.is_dir():
        raise DataError(f"image_folder: expected a folder, got {str(folder)!r}")
    try:
        found = _listed(root, options)
    except OSError as error:
        raise DataError(f"image_folder: cannot read {error.filename!r:.200}: {error.strerror}") from error
    _refuse_empty(found)
    if options.check:
        found = _checked(found, root, options)
        _refuse_empty(found)
    return found


def _listed(root: Path, options: FolderOptions) -> ImageFolder:
    layout = layout_of(root)
    paths, labels, places = list[str](), list[int](), list[int]()
    for place, split in enumerate(layout.parts):
        for label, name in enumerate(layout.classes):
            files = layout.files(split, name)
            paths += files
            labels += [label] * len(files)
            places += [place] * len(files)
    files = ImageFiles(tuple(paths), options.side, options.workers, options.memory_mb * 10**6)
    return ImageFolder(root, layout.classes, files, np.array(labels, np.int64), layout.parts, np.array(places, np.int8))


def _checked(found: ImageFolder, root: Path, options: FolderOptions) -> ImageFolder:
    problems = found.files.problems()
    if not problems:
        return found
    unread = [f"{os.path.relpath(found.files.paths[place], root)!r} ({why})" for place, why in problems.items()]
    more = f" and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
    words = f"{', '.join(unread[:NAMED])}{more}"
    if len(problems) > options.skip_files:
        raise DataError(
            f"image_folder: expected images in {str(root)!r}, got {len(problems)} files that cannot be read: {words}. "
            f"Repair or remove them, or leave them out with skip_files = {len(problems)}"
        )
    warnings.warn(f"image_folder: {len(problems)} files of {str(root)!r} are left out: {words}", stacklevel=2)
    good = np.setdiff1d(np.arange(len(found.labels)), list(problems))
    files = found.files.part(good)
    return replace(found, files=files, labels=found.labels[good], part=found.part[good], left_out=len(problems))


def _refuse_empty(found: ImageFolder) -> None:
    empty: list[str] = []
    for place, part in enumerate(found.parts.values()):
        counts = np.bincount(found.labels[found.part == place], minlength=len(found.classes))
        empty += [str(part / found.classes[label]) for label in np.flatnonzero(counts == 0).tolist()]
    if empty:
        raise DataError(f"image_folder: expected images in each class folder, got none in {listed(empty)}")
