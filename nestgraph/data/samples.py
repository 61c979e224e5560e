"""Samples with what they are to be told as: in memory or in files, and the three splits of a task's data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nestgraph.data.augmentation import Normalisation
from nestgraph.data.image_files import ImageFiles
from nestgraph.data.tables.preparation import Preparation
from nestgraph.errors import DataError
from nestgraph.spec.facts import UNTOLD, Facts, Shape
from nestgraph.spec.parts import are_several, each_of, mapped, words_of
from nestgraph.spec.wording import quoted

Image = tuple[int, int, int]
Targets = NDArray[np.int64] | NDArray[np.float32]
"""Classes, int64, (samples,) or of places (samples, ...), or numbers, float32, (samples,) or (samples, width)."""

AllTargets = Targets | Mapping[str, Targets] | tuple[Targets, ...]
"""Targets of one output, or of several by name or in order."""

MOST_NAMED = 12
"""Classes that a dataset's text names."""


class Split(Protocol):
    """What is known of the samples of a split without reading them.

    Attributes:
        targets: of all samples, or of the first of a stream; several by name or in a tuple.
        weights: how much each of these counts, (samples,), where they have some.
        shapes: of a sample of each input.
    """

    @property
    def targets(self) -> Any: ...  # noqa: D102
    @property
    def weights(self) -> NDArray[Any] | None: ...  # noqa: D102
    @property
    def shapes(self) -> tuple[Shape, ...]: ...  # noqa: D102
    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples that lie in memory.

    Attributes:
        inputs: float32, (samples, ...), finite; a tuple of such arrays where a network has several inputs.
        targets: int64, (samples,), classes, or of each place (samples, ...), `UNTOLD` where nothing is told; or
            float32, (samples,) or (samples, width), numbers, finite. For several outputs a mapping or a tuple of such.
        weights: how much each sample counts, float32, (samples,), at least 0; None for all alike.

    Raises:
        DataError: the arrays have other shapes or dtypes, or do not belong together.
    """

    inputs: NDArray[np.float32] | tuple[NDArray[np.float32], ...]
    targets: AllTargets
    weights: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        parts, targets, weights = self.parts, self.told, self.weights
        arrays = (*parts, *targets, *(() if weights is None else (weights,)))
        if not parts or not targets or not all(isinstance(array, np.ndarray) for array in arrays):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError(f"Samples: expected NumPy arrays, got {', '.join(map(quoted, arrays))}")
        kinds = {np.dtype(np.int64): range(1, 9), np.dtype(np.float32): (1, 2)}
        if any(part.dtype != np.float32 or part.ndim < 2 for part in parts) or any(
            each.ndim not in kinds.get(each.dtype, ()) for each in targets
        ):
            raise DataError(
                "Samples: expected float32 inputs (samples, ...) and targets of int64 (samples, ...) or of float32 "
                f"(samples,) or (samples, width), got {', '.join(f'{a.dtype} {a.shape}' for a in (*parts, *targets))}"
            )
        counts = {len(array) for array in arrays}
        if len(counts) != 1 or 0 in counts:
            got = ", ".join(f"{len(array)}" for array in arrays)
            expected = "at least one sample, and a target for each"
            raise DataError(f"Samples: expected {expected}, got {got}: give as many of both")
        if not all(np.isfinite(array).all() for array in arrays):
            remedy = "leave such samples out, or fill them in"
            raise DataError(f"Samples: expected finite numbers, got NaN or infinity: {remedy}")
        if weights is not None and (weights.dtype != np.float32 or weights.ndim != 1 or weights.min() < 0):
            got = f"{weights.dtype} {weights.shape} from {weights.min()} on"
            raise DataError(f"Samples: expected float32 weights (samples,) of at least 0, got {got}")
        held = tuple(map(np.ascontiguousarray, parts))  # torch takes no other strides
        object.__setattr__(self, "inputs", held if isinstance(self.inputs, tuple) else held[0])
        object.__setattr__(self, "targets", mapped(np.ascontiguousarray, self.targets))

    def __len__(self) -> int:
        return len(self.told[0])

    @property
    def told(self) -> tuple[Targets, ...]:
        """The targets, one array for each output."""
        return tuple(each for _, each in each_of(self.targets))

    @property
    def parts(self) -> tuple[NDArray[np.float32], ...]:
        """The inputs, one array each."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    def part(self, places: NDArray[np.int64]) -> "Samples":
        """The samples at some places."""
        inputs = tuple(part[places] for part in self.parts)
        weights = None if self.weights is None else self.weights[places]
        targets = mapped(lambda each: each[places], self.targets)
        return Samples(inputs if isinstance(self.inputs, tuple) else inputs[0], targets, weights)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of a sample of each input."""
        return tuple(part.shape[1:] for part in self.parts)


@dataclass(frozen=True, eq=False)
class StreamedSamples:
    """Labelled image files, decoded as they are read.

    Attributes:
        files: of this split and maybe of others, so that they share what is remembered.
        places: of this split's images among the files, int64, (samples,).
        targets: their classes, int64, (samples,).
        size: of the middle square that a network sees.
    """

    files: ImageFiles
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def weights(self) -> None:
        """Images count alike."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """(channels, height, width) of every image."""
        return ((3, self.size, self.size),)

    def stream(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
        """The images at the places of each batch within this split, (len(batch), 3, side, side), bytes.

        They are the files' squares, of which a network sees a part.

        Raises:
            DataError: a file cannot be decoded.
        """
        return self.files.stream([self.places[batch] for batch in batches])


@dataclass(frozen=True, eq=False)
class Dataset:
    """The data of a task. Decisions read `validation`; `test` is read once, at the end.

    Attributes:
        classes: targets are 0 to classes - 1; 0 where they are numbers.
        normalisation: what a trainer does to images before a network sees them.
        left_out: files that could not be read, or rows of a table without a target.
        names: of the classes, else of the columns of the targets, where they have some.
        features: of the numbers of the inputs, where they have some.
        scales: see `Facts`.
        preparation: what was done to the rows of a table.
        parts: of several targets what is known of each, by name or in order; what they show where nothing is said.

    Raises:
        DataError: splits have inputs of other shapes, or targets of other classes, widths or names.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int = 0
    normalisation: Normalisation | None = None
    left_out: int = 0
    names: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    preparation: Preparation | None = None
    parts: dict[str, Facts] | tuple[Facts, ...] = ()

    @property
    def splits(self) -> dict[str, Split]:
        """The three by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def facts(self) -> Facts:
        """The form of the samples."""
        targets = self.train.targets
        return Facts(
            inputs=self.train.shapes,
            classes=self.classes,
            width=1 if are_several(targets) else _width(targets),
            names=self.names,
            features=self.features,
            scales=self.scales,
            parts=self.parts,
        )

    def __str__(self) -> str:
        """Its splits and classes in one line: what was made of files."""
        uses = zip(("to train", "to validate", "to test"), self.splits.values(), strict=True)
        parts = ", ".join(f"{len(samples):,} {use}" for use, samples in uses)
        left_out = f"; {self.left_out:,} files left out" if self.left_out else ""
        return f"{self.name}: {parts}; {self._targets_in_words()}{left_out}"

    def _targets_in_words(self) -> str:
        if self.parts:
            each = (f"{name}: {_form(facts)}" for name, facts in each_of(self.parts))
            return f"several targets ({', '.join(each)})"
        if not self.classes:
            named = f" ({', '.join(name[:40] for name in self.names[:MOST_NAMED])})" if self.names else ""
            return f"targets of {self.facts.width} numbers{named}"
        counts = [_counts(samples.targets, self.classes) for samples in self.splits.values()]
        shown = zip(self.names[:MOST_NAMED], *counts, strict=False)
        words = [f"{name[:40]} {' + '.join(map(str, of_class))}" for name, *of_class in shown]
        words += [f"{self.classes - MOST_NAMED} more"] if self.names and self.classes > MOST_NAMED else []
        return f"{self.classes} classes" + (f" ({', '.join(words)})" if words else "")

    def __post_init__(self) -> None:
        if are_several(self.train.targets) and not self.parts:
            object.__setattr__(self, "parts", self._shown())
        for split, samples in self.splits.items():
            self._check_targets(split, samples.targets)
            if samples.shapes != self.train.shapes:
                got = f"{_listed(samples.shapes)}"
                raise DataError(f"dataset {self.name!r}, {split}: expected {_listed(self.train.shapes)}, got {got}")
        if self.normalisation and len(self.normalisation.mean) != (self.facts.image or (0,))[0]:
            got, image = len(self.normalisation.mean), self.facts.image
            raise DataError(f"dataset {self.name!r}: expected to normalise {(image or (0,))[0]} channels, got {got}")

    def _shown(self) -> Any:
        """What several targets show of themselves: numbers have a width, and whole ones are classes."""
        splits = [dict(each_of(samples.targets)) for samples in self.splits.values()]
        parts = {name: self._part([each[name] for each in splits if name in each]) for name in splits[0]}
        return parts if isinstance(self.train.targets, Mapping) else tuple(parts.values())

    def _part(self, told: Sequence[NDArray[Any]]) -> Facts:
        """Of one target, in all splits."""
        classes = max(int(each.max()) + 1 for each in told) if told[0].dtype == np.int64 else 0
        return Facts(inputs=self.train.shapes, classes=classes, width=_width(told[0]))

    def _check_targets(self, split: str, targets: Any) -> None:
        place, like = f"dataset {self.name!r}, {split}", self.train.targets
        if dict(each_of(targets)).keys() != dict(each_of(like)).keys():
            expected, got = (words_of(one) if are_several(one) else "one" for one in (like, targets))
            raise DataError(f"{place}: expected targets as in train, {expected}, got {got}: give all splits the same")
        for name, told in each_of(targets):
            at = f"{place}, {name}" if name else place
            facts = dict(each_of(self.parts))[name] if name else None
            _check_target(at, told, dict(each_of(like))[name], facts.classes if facts else self.classes)


def _check_target(place: str, targets: NDArray[Any], like: NDArray[Any], classes: int) -> None:
    """Whether the targets of an output are of the kind that those to train with are.

    Raises:
        DataError: they are not.
    """
    if (targets.dtype, targets.shape[1:]) != (like.dtype, like.shape[1:]) or bool(classes) != (
        targets.dtype == np.int64
    ):
        kind = f"classes below {classes}" if classes else "numbers"
        expected = f"targets that are {kind}, alike in all splits"
        raise DataError(f"{place}: expected {expected}, got {targets.dtype} {targets.shape}")
    told = targets if targets.ndim == 1 else targets[targets != UNTOLD]
    if classes and told.size and (told.min() < 0 or told.max() >= classes):
        got = f"{told.min()} to {told.max()}"
        raise DataError(f"{place}: expected labels below {classes}, got labels {got}")


def _width(targets: NDArray[Any]) -> int:
    return int(np.prod(targets.shape[1:]))


def _form(facts: Facts) -> str:
    return f"{facts.classes} classes" if facts.classes else f"{facts.width} numbers"


def _counts(targets: NDArray[Any], classes: int) -> list[int]:
    return np.bincount(targets[targets != UNTOLD], minlength=classes).tolist()


def _listed(shapes: Sequence[Shape]) -> str:
    return f"inputs of {' and '.join(map(str, shapes))}"
