"""Folders of images with a folder for each class, as ImageNet comes: what lies there, and what is refused.

Either FOLDER/train/CLASS/... and, if there is one, FOLDER/val/CLASS/..., or a flat FOLDER/CLASS/... Images are told by
their content and not by their names; files whose names begin with a dot and loose files beside the class folders are no
images and are passed over.
"""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from nestgraph.errors import DataError
from nestgraph.spec.record import Record
from nestgraph.train.image_files import ImageFiles

NAMED = 5
"""How many unreadable files a message names."""


class FolderOptions(Record):
    """How a folder of images is read.

    Attributes:
        size: side of the square that a network sees, pixels.
        resize: what the shorter side of an image is scaled to before its middle square of `size` is cut out; by default
            8/7 of `size`, as 256 to 224. Training crops are taken from the middle square of this side.
        holdout: share of the training images that are the validation split, drawn from each class alike; without
            FOLDER/val as many again are the test split.
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

    @property
    def side(self) -> int:
        """What the shorter side of an image is scaled to, pixels."""
        return self.resize or round(self.size * 8 / 7)


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The images of a folder.

    Attributes:
        classes: names of the class folders, sorted; a label is an index into them.
        files: all images, those of FOLDER/val last.
        labels: int64, (files,).
        held_out: which of them lie in FOLDER/val, (files,).
        parts: folders of class folders: FOLDER alone, or FOLDER/train and maybe FOLDER/val.
        left_out: how many files could not be decoded.
    """

    classes: tuple[str, ...]
    files: ImageFiles
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    parts: tuple[Path, ...]
    left_out: int = 0


def read_image_folder(folder: Path, options: FolderOptions) -> ImageFolder:
    """List a folder of images and, if asked for, decode each once.

    Raises:
        DataError: there is no such folder, it has no classes or one without images, a link leads out of it, val has
            other classes than train, or more files than allowed cannot be decoded.
    """
    if options.side < options.size:
        raise DataError(f"image_folder: expected resize to be at least the size {options.size}, got {options.side}")
    root = Path(os.path.realpath(folder.expanduser()))
    if not root.is_dir():
        raise DataError(f"image_folder: expected a folder, got {str(folder)!r}")
    try:
        found = _listed(root, options)
    except OSError as error:
        raise DataError(f"image_folder: cannot read {error.filename!r}: {error.strerror}") from error
    _refuse_empty(found)
    if options.check:
        found = _checked(found, root, options)
        _refuse_empty(found)
    return found


def _listed(root: Path, options: FolderOptions) -> ImageFolder:
    parts = _parts(root)
    classes, paths, labels, places = _classes(parts[0], root), list[str](), list[int](), list[int]()
    for place, part in enumerate(parts):
        if got := {*_classes(part, root)} ^ {*classes}:
            name = min(got)
            raise DataError(f"image_folder: expected the classes of train and val to be the same, one lacks {name!r}")
        for label, name in enumerate(classes):
            files = sorted(_files(part / name, root))
            paths += files
            labels += [label] * len(files)
            places += [place] * len(files)
    files = ImageFiles(tuple(paths), options.side, options.workers, options.memory_mb * 10**6)
    return ImageFolder(classes, files, np.array(labels, np.int64), np.array(places, bool), parts)


def _parts(root: Path) -> tuple[Path, ...]:
    """The folders that hold class folders."""
    train, val = root / "train", root / "val"
    for part in (train, val):
        if part.is_symlink():
            _check_link(str(part), root)
    if val.is_dir() and not train.is_dir():
        raise DataError(f"image_folder: {str(root)!r} has a folder val: expected a folder train beside it")
    if train.is_dir():
        return (train, val) if val.is_dir() else (train,)
    return (root,)


def _classes(part: Path, root: Path) -> tuple[str, ...]:
    entries = [entry for entry in os.scandir(part) if not entry.name.startswith(".")]
    for entry in entries:
        if entry.is_symlink():
            _check_link(entry.path, root)
    names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    if len(names) < 2:
        raise DataError(
            f"image_folder: expected a folder for each of two or more classes in {str(part)!r}, got {names}"
        )
    return tuple(names)


def _files(folder: Path, root: Path) -> Iterator[str]:
    """The files below a class folder, in no particular order."""
    for entry in os.scandir(folder):
        if entry.is_symlink():
            _check_link(entry.path, root)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), root)
        else:
            yield entry.path


def _check_link(path: str, root: Path) -> None:
    """Links to files inside the folder are files like others; one to a folder would be read twice, or without end."""
    target = os.path.realpath(path)
    if os.path.commonpath([target, root]) != str(root) or not os.path.isfile(target):
        raise DataError(
            f"image_folder: expected links to files inside {str(root)!r}, got one from {path!r} to {target!r}"
        )


def _checked(found: ImageFolder, root: Path, options: FolderOptions) -> ImageFolder:
    problems = found.files.problems()
    if not problems:
        return found
    shown = [f"{os.path.relpath(found.files.paths[place], root)!r} ({why})" for place, why in problems.items()]
    more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
    listed = f"{', '.join(shown[:NAMED])}{more}"
    if len(problems) > options.skip_files:
        raise DataError(
            f"image_folder: expected images in {str(root)!r}, got {len(problems)} files that cannot be read: {listed}. "
            f"Repair or remove them, or leave them out with skip_files = {len(problems)}"
        )
    warnings.warn(f"image_folder: {len(problems)} files of {str(root)!r} are left out: {listed}", stacklevel=2)
    good = np.setdiff1d(np.arange(len(found.labels)), list(problems))
    files = found.files.part(good)
    labels, held_out = found.labels[good], found.held_out[good]
    return replace(found, files=files, labels=labels, held_out=held_out, left_out=len(problems))


def _refuse_empty(found: ImageFolder) -> None:
    for place, part in enumerate(found.parts):
        counts = np.bincount(found.labels[found.held_out == bool(place)], minlength=len(found.classes))
        if not counts.all():
            empty = part / found.classes[int(counts.argmin())]
            raise DataError(f"image_folder: expected images in each class folder, got none in {str(empty)!r}")
