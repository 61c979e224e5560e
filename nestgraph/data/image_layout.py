"""How a folder of images is laid out: which of its folders are splits and which are classes. What may be read in two
ways is refused, and nothing that lies there is passed over but hidden and loose files.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nestgraph.errors import DataError

Split = Literal["train", "validation", "test"]
SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""What folders of splits are called, in any case."""

ORDER: tuple[Split, ...] = ("train", "validation", "test")
DEEPEST, MOST_FILES, SHOWN = 32, 2**24, 5


@dataclass(frozen=True)
class Layout:
    """The folders that hold class folders, by the split that their images are for, and the classes of each of them."""

    root: Path
    parts: Mapping[Split, Path]
    classes: tuple[str, ...]

    def files(self, split: Split, name: str) -> list[str]:
        """The files of a class, sorted.

        Raises:
            DataError: a link leads out of the folder, or there is too much in it.
        """
        return sorted(_files(self.parts[split] / name, self.root))


def layout_of(root: Path) -> Layout:
    """Find out how a folder is laid out.

    Raises:
        DataError: it is neither FOLDER/SPLIT/CLASS nor FOLDER/CLASS, splits have different classes, or a link leads out
            of it.
    """
    names = _folders(root, root)
    found: dict[Split, list[str]] = defaultdict(list)
    for name in names:
        if name.lower() in SPLITS:
            found[SPLITS[name.lower()]].append(name)
    others = [name for name in names if name.lower() not in SPLITS]
    if not found:
        return Layout(root, dict.fromkeys(ORDER[:1], root), _classes(root, root))
    first = min(min(found.values()))
    if others:
        raise DataError(
            f"image_folder: expected folders of splits (train, val, test) or folders of classes in {str(root)!r}, got "
            f"both, {first!r} beside {listed(others)}: move or rename one kind"
        )
    twice = next((same for same in found.values() if len(same) > 1), None)
    if twice:
        raise DataError(f"image_folder: expected one folder for each split in {str(root)!r}, got {listed(twice)}")
    if "train" not in found:
        raise DataError(f"image_folder: {str(root)!r} has a folder {first}: expected a folder train beside it")
    parts: dict[Split, Path] = {split: root / found[split][0] for split in ORDER if split in found}
    classes = {split: _classes(part, root) for split, part in parts.items()}
    everything = sorted({name for names in classes.values() for name in names})
    lacking = {part.name: [name for name in everything if name not in classes[split]] for split, part in parts.items()}
    if words := [f"no {listed(missing)} in {part!r}" for part, missing in lacking.items() if missing]:
        raise DataError(f"image_folder: expected the classes of all splits to be the same, got {', '.join(words)}")
    return Layout(root, parts, tuple(everything))


def listed(names: list[str]) -> str:
    """Names for a message, the first of them where there are many."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(_brief, names[:SHOWN])) + more


def _brief(name: str) -> str:
    """A name in quotes; of a long one, such as a path, its two ends."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:20]}...{text[-57:]}"


def _folders(folder: Path, root: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones excepted, sorted."""
    entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    for entry in entries:
        if entry.is_symlink():
            _check_link(entry.path, root)
    return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _classes(part: Path, root: Path) -> tuple[str, ...]:
    names = _folders(part, root)
    if len(names) < 2:
        raise DataError(
            f"image_folder: expected a folder for each of two or more classes in {str(part)!r}, got {names}: name the "
            "folder that holds these, or one with the four files of an IDX set"
        )
    for name in names:
        inner = [each for each in _folders(part / name, root) if each.lower() in SPLITS]
        if inner:
            raise DataError(
                f"image_folder: expected splits outside of classes, FOLDER/{inner[0]}/{name}, got {name!r} with a "
                f"folder {inner[0]!r} in it: move or rename it"
            )
    return tuple(names)


def _files(folder: Path, root: Path) -> Iterator[str]:
    """The files below a class folder, in no particular order."""
    waiting, count = [(str(folder), 1)], 0
    while waiting:
        place, depth = waiting.pop()
        if depth > DEEPEST:
            raise DataError(
                f"image_folder: expected folders nested at most {DEEPEST} deep in {str(folder)!r}, got more: move the "
                "images up"
            )
        for entry in os.scandir(place):
            if entry.is_symlink():
                _check_link(entry.path, root)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, depth + 1))
                continue
            count += 1
            if count > MOST_FILES:
                raise DataError(f"image_folder: expected at most {MOST_FILES:,} files in {str(folder)!r}, got more")
            yield entry.path


def _check_link(path: str, root: Path) -> None:
    """Links to files inside the folder are files like others; one to a folder would be read twice, or without end."""
    target = os.path.realpath(path)
    if os.path.commonpath([target, root]) != str(root) or not os.path.isfile(target):
        raise DataError(
            f"image_folder: expected links to files inside {str(root)!r}, got one from {path!r} to {target!r}"
        )
