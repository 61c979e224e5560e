"""The recipe: every choice of a run in one frozen record, read from TOML or JSON."""

import copy
import json
from collections.abc import Collection, Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from nestgraph.data.options import AnyData
from nestgraph.data.samples import Dataset
from nestgraph.errors import DataError, RecipeError, SnapshotError
from nestgraph.policies import GrowthPolicy, Policy
from nestgraph.policies.registry import POLICIES
from nestgraph.recipes.budget import Budget
from nestgraph.recipes.own_kinds import recorded
from nestgraph.recipes.past_options import leave_aside
from nestgraph.recipes.proposing import SEVERAL, Proposals
from nestgraph.recipes.pruning_options import PruningOptions, Share
from nestgraph.recipes.seed_options import Positive, SeedOptions
from nestgraph.recipes.step_options import StepOptions, younger
from nestgraph.snapshot import in_one_sentence, options_json, problems_of, read_options
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.spec.limits import MAX_THREADS
from nestgraph.spec.open_kinds import Own, Recorded
from nestgraph.spec.operations import ActivationFunction
from nestgraph.spec.options import Beside, Options, misplaced, usual
from nestgraph.spec.randomness import Seed
from nestgraph.spec.record import Record, Text, absent
from nestgraph.tasks.classes import Classification
from nestgraph.tasks.registry import TASKS
from nestgraph.tasks.several import RecipeTask, Several
from nestgraph.tasks.task import Task

CLASSES = Classification()
"""The task where a recipe names none."""
ROUNDS = 8
"""How often what a recorded recipe is refused for is left aside, each time all that is found."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
_FOLDER = resources.files("nestgraph.recipes").joinpath("packaged")


def usual_task(task: object) -> bool:
    """Whether a recipe need not name its task, as those before there were others."""
    return task == CLASSES


class TrainingOptions(StepOptions):
    """How a network trains between edits.

    Every stage of training starts at `learning_rate` and ends at `final_rate` times that, along a half cosine, unless
    `schedule` says otherwise. The optimizers are those of `torch.optim`; `muon` is for weights of two axes, with the
    step of AdamW, which does the rest. The batches of an epoch are of one size, to within a sample, and of at most
    `batch_size`. `threads` is how many CPU threads the run computes with, on which its exact numbers depend; None
    leaves it to torch. After each training the statistics of batch normalisation are measured anew over
    `recalibration_batches` undistorted training batches: they then belong to the edited network and to images such as
    the tests have; 0 keeps the running averages.

    A training breaks down when a number is not finite or the mean loss of a batch that ends an epoch is beyond
    `loss_limit`, for targets that are numbers a multiple of what the answer 0 costs. It is tried again up to `retries`
    times, each time at `retry_rate` times the learning rate before; then its edit is taken back.
    """

    optimizer: Literal["sgd", "adam", "adamw", "muon", "adafactor", "rmsprop"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0, le=1e6)] = 0.05
    final_rate: Share = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    batch_size: Annotated[int, Field(ge=3)] = 128
    threads: Annotated[int, Field(gt=0, le=MAX_THREADS)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    recalibration_batches: NonNegativeInt = 0
    loss_limit: Positive = 1000.0
    retries: Annotated[int, Field(ge=0, le=16)] = 0
    retry_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    beside: ClassVar = {
        **StepOptions.beside,
        "final_rate": (Beside.of("schedule", "cosine", "one_cycle"),),
        "momentum": (Beside.of("optimizer", "sgd", "muon"),),
        "retry_rate": (Beside("retries", range(1, 17), "retries"),),
    }


class GrowthOptions(Options):
    """Growth: while the network is below `size_limit` connections and its goal below a target on the validation split.

    Attributes:
        size_limit: of connections; without one the recipe has a budget, whose `overshoot` ends growth.
        target_accuracy: where the goal is the accuracy.
        target: of any goal; none by default.
        policies: what grows.
        proposals: `in_turn`, one policy an edit; or `side_by_side`, all of them joined into one edit: see pruning.
        epochs: of training after each edit.
        patience: growth ends after so many refused edits in a row.
        evidence_batches: how many training batches the evidence is averaged over; None for the whole training set.
    """

    policies: Annotated[
        tuple[Annotated[GrowthPolicy, Own(GrowthPolicy, POLICIES)], ...], Field(min_length=1, max_length=16)
    ]
    proposals: Proposals = younger("in_turn")
    size_limit: PositiveInt | None = None
    target_accuracy: Share = 1.0
    target: float | None = Field(default=None, exclude_if=absent)
    epochs: PositiveInt = 1
    max_edits: NonNegativeInt = 100
    patience: PositiveInt = 2
    evidence_batches: PositiveInt | None = None
    beside: ClassVar = {"proposals": SEVERAL}


class ShiftOptions(Record):
    """The shift of activations between growth and pruning, and the training that recovers."""

    function: ActivationFunction = "relu"
    epochs: NonNegativeInt = 1


class Recipe(Record):
    """A whole run: seed, growth, shift, pruning and a last training. Without growth, pruning alone.

    With `finish_int8` the last training computes with weights as a C file of int8 holds them, and ends with these.
    """

    name: Slug
    description: Text = ""
    data: AnyData
    task: Annotated[RecipeTask, Own(RecipeTask, TASKS)] = Field(default=CLASSES, exclude_if=usual_task)
    seed_network: SeedOptions
    training: TrainingOptions = TrainingOptions()
    seed_epochs: PositiveInt = 1
    growth: GrowthOptions | None = None
    shift: ShiftOptions = ShiftOptions()
    pruning: PruningOptions
    finish_epochs: NonNegativeInt = 0
    finish_int8: bool = younger(False)
    baseline: Literal["logistic_regression", "ridge"] | None = None
    budget: Budget | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _check_baseline(self) -> Self:
        if self.baseline and self.data.title == "image_folder":
            raise ValueError("baseline goes with data that lies in memory, not with image_folder")
        if self.baseline and isinstance(self.task, Several):
            raise ValueError("baseline: expected a task with one output beside it, got several: leave it out")
        if self.baseline and (self.task.kind == "classification") != (self.baseline == "logistic_regression"):
            other = "logistic_regression goes with a classification, ridge with a regression"
            raise ValueError(f"baseline: {other}, got {self.baseline} beside a task of kind {self.task.kind!r}")
        return self

    @model_validator(mode="after")
    def _check_finish(self) -> Self:
        if self.finish_int8 and not self.finish_epochs:
            raise misplaced(self, {("finish_int8",): "does nothing without finish_epochs: give these, or leave it out"})
        return self

    @model_validator(mode="after")
    def _check_growth(self) -> Self:
        if self.growth and self.growth.size_limit is None and self.budget is None:
            raise misplaced(self, {("growth", "size_limit"): "missing (it may be left out beside a budget only)"})
        return self

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        """What is for accuracy or for classes does nothing for other goals and tasks."""
        goal, found = self.task.goal, dict[tuple[str | int, ...], str]()
        for name, options in (("growth", self.growth), ("pruning", self.pruning)):
            given = options and options.target_accuracy != usual(type(options), "target_accuracy")
            if given and goal != "accuracy":
                found[name, "target_accuracy"] = f"does nothing with the goal {goal!r}: use target"
        if self.growth and self.growth.target is not None and self.growth.target_accuracy != 1.0:
            found["growth", "target"] = "does nothing beside target_accuracy: leave one of them out"
        if self.training.label_smoothing and self.task.kind != "classification":
            found["training", "label_smoothing"] = "does nothing without task kind 'classification': leave it out"
        if found:
            raise misplaced(self, found)
        return self

    def with_task(self, task: Task | None) -> Self:
        """The same with another task; None leaves that of the recipe, whose code must be there.

        Raises:
            RecordError: other options do not go with it.
            TrainingError: the loss of the task is not of this package, and nobody brought it along.
        """
        if task is None:
            return self.with_code(None)
        fields: dict[str, Any] = {**dict(self), "task": task}
        return type(self)(**fields)

    def with_code(self, task: Task | None) -> Self:
        """The same with the code of its task, where that is not of this package.

        Raises:
            TrainingError: it is none or that of another one.
        """
        return self.model_copy(update={"task": self.task.with_code_of(task)})

    @property
    def growth_target(self) -> float | None:
        """The goal at which growth ends; None where it has none."""
        growth = self.growth
        if growth is None or growth.target is not None or self.task.goal != "accuracy":
            return growth and growth.target
        return growth.target_accuracy

    @property
    def pruning_target(self) -> float | None:
        """The goal that pruning keeps; None for the one before pruning less the tolerance."""
        options = self.pruning
        return options.target if options.target_accuracy is None else options.target_accuracy

    @property
    def text(self) -> str:
        """What recipe.json holds of it."""
        return self.model_dump_json(indent=2, warnings=False)

    @property
    def document(self) -> dict[str, Any]:
        """All of it as JSON has it, with the fields of policies that are not of this package."""
        return self.model_dump(mode="json", warnings=False)

    @property
    def left_aside(self) -> str:
        """What was refused in it and is not among its fields, in words; nothing but of a recipe that is only read."""
        return ""

    def within(self, seconds: float) -> Self:
        """The same, with another bound on the time of a run, above 0."""
        return self.model_copy(update={"training": self.training.model_copy(update={"seconds": float(seconds)})})

    @checked(DataError)
    def load(self, seed: Seed) -> Dataset:
        """The data, with the splits of one random seed, and targets as the task asks for them.

        Raises:
            DataError: they cannot be had.
        """
        return self.data.load(seed, self.task.wanted)

    def resolved(self, folder: Path) -> Self:
        """The same with the snapshot that it starts from, if it does, found from `folder` and known by its digest.

        Raises:
            SnapshotError: the snapshot cannot be read.
        """
        return self.model_copy(update={"seed_network": self.seed_network.resolved(folder)})


class PastRecipe(Recipe):
    """The recipe of a run that another version did, with options that this one refuses: to be read, not run.

    Its fields are without them; `document` and `text` have them word for word.
    """

    _document: dict[str, Any] = PrivateAttr(default_factory=dict[str, Any])
    _left_aside: str = PrivateAttr(default="")

    @classmethod
    def of(cls, recipe: Recipe, document: dict[str, Any], left_aside: str) -> Self:
        """A recipe with all that its file says, and why some of it was left aside."""
        past = cls(**dict(recipe))
        past._document, past._left_aside = document, left_aside
        return past

    @property
    def text(self) -> str:
        """What recipe.json holds of it."""
        return json.dumps(self._document, indent=2)

    @property
    def document(self) -> dict[str, Any]:
        """All of it as its file has it."""
        return self._document

    @property
    def left_aside(self) -> str:
        """What this version refuses in it, in words."""
        return self._left_aside


RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)
"""Reads recipes from JSON."""


def recipe_names() -> tuple[str, ...]:
    """The names of the recipes inside the package."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir()))


@checked(RecipeError)
def load_recipe(name_or_path: PathLike, recorded: bool = False) -> Recipe:
    """A recipe of the package by name, or one from a TOML or JSON file. The snapshot that it starts from is looked at.

    Args:
        name_or_path: which.
        recorded: it is that of a run, to be read and not run: policies whose code is not known are kept as records,
            and what this version refuses is left aside, other than of the data.

    Raises:
        RecipeError: there is none, or it is not a valid recipe; the message names the field.
    """
    file = f"{name_or_path}.toml"
    if name_or_path in recipe_names():
        return parse_recipe(_FOLDER.joinpath(file).read_text("utf-8"), file)
    path = Path(name_or_path)
    if path.suffix not in (".toml", ".json"):
        known = ", ".join(recipe_names())
        raise RecipeError(f"expected a recipe name ({known}) or a .toml or .json file, got {str(name_or_path)!r}")
    try:
        text = read_options(path)
    except (SnapshotError, ValueError) as error:
        raise RecipeError(str(error)) from None
    try:
        recipe = recorded_recipe(text, str(path), whole=("data",)) if recorded else parse_recipe(text, str(path))
        return recipe.resolved(path.parent)
    except SnapshotError as error:
        raise RecipeError(f"{path}: seed_network.path: {error}") from None


def recorded_recipe(
    text: str, source: str, policies: Iterable[type[Policy]] = (), whole: Collection[str] = ()
) -> Recipe:
    """The recipe that a run was done by, maybe another version's: a `PastRecipe` where this one refuses some of it.

    Policies whose code is not known, or whose options are refused, are kept as records of their fields.

    Args:
        text: in JSON.
        source: the file's name.
        policies: classes of policies that are not of this package.
        whole: sections of which nothing may be left aside.

    Raises:
        RecipeError: it is not a valid recipe.
    """
    try:
        document: Any = json.loads(options_json(text, source))
        original = copy.deepcopy(document)
        recipe, left_aside = _without_refused(document, recorded(policies), source, whole)
    except ValueError as error:
        raise RecipeError(f"{source}: {error}") from None
    except RecipeError as error:
        raise error if str(error).startswith(source) else RecipeError(f"{source}: {error}") from None
    return PastRecipe.of(recipe, original, left_aside) if left_aside else recipe


def _without_refused(document: Any, read: Recorded, source: str, whole: Collection[str]) -> tuple[Recipe, str]:
    """The recipe in a document without what is refused in it, and what that is; policies with it stay records."""
    told: list[str] = []
    for _ in range(ROUNDS):
        try:
            return RECIPE.validate_json(json.dumps(document), context=read), in_one_sentence(dict.fromkeys(told))
        except ValidationError as error:
            told.append(problems_of(error, Recipe))
            sections, policies = leave_aside(document, error)
            found = [document[section]["policies"][number] for section, number in policies]
            refused = [each for each in found if each not in read.refused]  # else it cannot even be kept as a record
            given = any(
                isinstance(each, dict) and str(cast("dict[str, Any]", each).get("kind")) in read.classes
                for each in refused
            )
            if not (sections or refused) or sections & set(whole) or given:
                break
            read.refused.extend(refused)
    raise RecipeError(f"{source}: {in_one_sentence(dict.fromkeys(told))}")


def parse_recipe(text: str, source: str) -> Recipe:
    """The recipe in a TOML or JSON text; `source` is the file's name, whose suffix tells which.

    Raises:
        RecipeError: it is not a valid recipe.
    """
    try:
        return RECIPE.validate_json(options_json(text, source))
    except ValidationError as error:
        raise RecipeError(f"{source}: {problems_of(error, Recipe)}") from None
    except ValueError as error:
        raise RecipeError(f"{source}: {error}") from None
