"""Data in recipes: a dataset of the package by its name, or files of the user's own by their kind."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, StringConstraints, TypeAdapter, ValidationInfo, WrapValidator

from nestgraph.data.augmentation import ImageAugmentation, Normalisation
from nestgraph.data.datasets import load_dataset, load_image_folder
from nestgraph.data.distortion import AffineDistortion, distortion_words
from nestgraph.data.idx import IdxOptions
from nestgraph.data.image_folder import FolderOptions
from nestgraph.data.samples import Dataset
from nestgraph.data.stratified import ValidationSplit
from nestgraph.data.tables.options import TableOptions
from nestgraph.data.text import TextOptions
from nestgraph.errors import DataError
from nestgraph.spec.facts import AllWanted
from nestgraph.spec.options import Beside, Options, PathText


def _usual_augmentation(fields: dict[str, Any]) -> ImageAugmentation | None:
    """That of Szegedy et al. 2015 for folders of images, else none."""
    return ImageAugmentation(crop=0.08, flip=True) if fields.get("name") == "image_folder" else None


class DataOptions(FolderOptions):
    """Which data, which of its training images are the validation split, and how training images are varied.

    The fields of `FolderOptions`, `size` and so on, go with the name `image_folder`.

    Attributes:
        name: of the dataset.
        path: a folder: the images of `image_folder`, or the files of `mnist` or `cifar10` if not in the cache. A
            relative one is looked for from where the program runs.
        validation: see `load_dataset`; a folder of images is always stratified.
        distortion: of training images.
        augmentation: of training images in colour, after any distortion; for a folder of images by default random crops
            and flips, for none of it `{}`.
        normalisation: of all images; by default none, they come as values from 0 to 1.
    """

    name: Literal["digits", "mnist", "cifar10", "image_folder"]
    path: PathText | None = None
    validation: ValidationSplit = "stratified"
    distortion: AffineDistortion | None = None
    augmentation: ImageAugmentation | None = Field(default_factory=_usual_augmentation)
    normalisation: Normalisation | None = None

    beside: ClassVar = {
        **{
            option: (Beside.of("name", "image_folder"), *FolderOptions.beside.get(option, ()))
            for option in FolderOptions.model_fields
        },
        "path": (Beside.of("name", "image_folder", "mnist", "cifar10"),),
        "validation": (Beside.of("name", "mnist", "cifar10"),),
        "augmentation": (Beside.of("name", "cifar10", "image_folder"),),
    }
    needed: ClassVar = {"path": Beside.of("name", "image_folder")}

    @property
    def title(self) -> str:
        """What results call the data."""
        return self.name

    @property
    def named(self) -> bool:
        """Whether its name alone tells what it is."""
        return not (self.path or self.normalisation)

    @property
    def story(self) -> str:
        """How its samples are split and varied, in sentences."""
        split = {"stratified": "drawn by the seed, equal shares of each class", "last": "the last training images"}
        validation = f"The validation split is {split[self.validation]}."
        return f"{distortion_words(self.distortion)} {validation}"

    def load(self, seed: int, wanted: AllWanted = None) -> Dataset:
        """The dataset, with the splits of one random seed.

        Args:
            seed: which.
            wanted: nothing else than classes is known of its images.

        Raises:
            DataError: it cannot be had.
        """
        del wanted
        if self.name == "image_folder":
            dataset = load_image_folder(self.path or "", self, seed)
        else:
            dataset = load_dataset(self.name, seed, validation=self.validation, folder=self.path)
        return replace(dataset, normalisation=self.normalisation)


class OwnOptions(Options):
    """Data that Python gives: `synthesize(recipe, data=...)`, and again `resume(run, data=...)`.

    Attributes:
        name: what results call them.
    """

    kind: Literal["custom"]
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")] = "own"

    distortion: ClassVar[None] = None
    augmentation: ClassVar[None] = None

    @property
    def title(self) -> str:
        """What results call the data."""
        return self.name

    @property
    def named(self) -> bool:
        """Whether its name alone tells what it is."""
        return False

    @property
    def story(self) -> str:
        """How its samples are split, in a sentence."""
        return "The splits are those that were given."

    def load(self, seed: int, wanted: AllWanted = None) -> Dataset:
        """Nothing: only who gives them has them.

        Raises:
            DataError: always.
        """
        del seed, wanted
        raise DataError(f"data {self.name!r}: expected the data themselves, got their name: {GIVE}")


GIVE = "give them in Python, as in synthesize(recipe, data=split((X, y))), and again to resume"
KINDS: dict[str, TypeAdapter[Options]] = {
    "csv": TypeAdapter(TableOptions),
    "parquet": TypeAdapter(TableOptions),
    "idx": TypeAdapter(IdxOptions),
    "text": TypeAdapter(TextOptions),
    "custom": TypeAdapter(OwnOptions),
}
"""Who reads what, by kind."""

NAMED: TypeAdapter[Options] = TypeAdapter(DataOptions)


def _by_kind(value: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
    """Options of the kind that is named, so that a message is about these and not about all kinds."""
    if not isinstance(value, dict):
        return handler(value)
    fields = cast("dict[str, Any]", value)
    kind = fields.get("kind")
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        known = ", ".join(map(repr, KINDS))
        raise ValueError(f"expected a kind of {known}, or a name of the package's own, got {str(kind)[:40]!r}")
    adapter = NAMED if kind is None else KINDS[kind]
    if info.mode == "json":  # where a tuple comes as a list
        return adapter.validate_json(json.dumps(fields))
    return adapter.validate_python(fields)


AnyData = Annotated[DataOptions | TableOptions | IdxOptions | TextOptions | OwnOptions, WrapValidator(_by_kind)]
"""The data of a recipe."""
