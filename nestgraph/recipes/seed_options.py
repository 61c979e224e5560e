"""The network that a recipe starts from: made by a function of `nestgraph.seeds`, or read."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt

from nestgraph.data.samples import Dataset
from nestgraph.errors import RecipeError
from nestgraph.graph.network import Network
from nestgraph.seeds import (
    NEST_ALEXNET,
    NEST_VGG_16,
    alexnet,
    cnn,
    joint_mlp,
    lenet_5,
    lenet_300_100,
    mlp,
    resnet18,
    vgg16,
)
from nestgraph.snapshot import load
from nestgraph.snapshot.document import Digest
from nestgraph.spec.options import Beside, Options, PathText

SEEDS = ("mlp", "lenet_300_100", "lenet_5", "cnn", "alexnet", "vgg16", "resnet18")
HIDDEN = (32,)
"""Neurons of an `mlp` for which nothing else is said."""

MADE = Beside("kind", SEEDS, "a seed that is made, not read")
Positive = Annotated[float, Field(gt=0)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=64)]


class SeedOptions(Options):
    """The network that a run starts from: a small sparse one (method.md section 6), or any from a file.

    Attributes:
        kind: its form, a function of `nestgraph.seeds`. Those for images of any size take size, channels and number of
            classes from the dataset. A `snapshot` is a network that was imported or saved before.
        widths: of an `mlp`, with inputs and outputs, in the place of `neurons`; of the hidden layers of `alexnet` and
            `vgg16`, by default those of NeST's seeds.
        maps: of the convolutions of a `cnn`.
        neurons: of the hidden layers of a `cnn` after them, or of an `mlp` whose inputs and outputs, one or several,
            are the data's, by default one layer of 32.
        width: multiplies the widths of all kinds but `mlp` and `cnn`.
        density: share of the possible connections that are active.
        batch_norm: whether hidden layers are normalised.
        path: of a `snapshot`: its file, in a recipe from a file relative to that.
        digest: of a `snapshot`: of its network, so that another one is refused; `load_recipe` fills it in.
    """

    kind: Literal["mlp", "lenet_300_100", "lenet_5", "cnn", "alexnet", "vgg16", "resnet18", "snapshot"]
    widths: Widths | None = None
    maps: Annotated[tuple[PositiveInt, ...], Field(max_length=64)] | None = None
    neurons: Annotated[tuple[PositiveInt, ...], Field(max_length=64)] | None = None
    width: Positive = 1.0
    density: Annotated[float, Field(gt=0, le=1)] = 0.1
    batch_norm: bool = True
    path: PathText | None = None
    digest: Digest | None = None

    beside: ClassVar = {
        "widths": (Beside.of("kind", "mlp", "alexnet", "vgg16"),),
        "maps": (Beside.of("kind", "cnn"),),
        "neurons": (
            Beside.of("kind", "mlp", "cnn"),
            Beside("widths", (None,), "inputs and outputs that are the data's"),
        ),
        "width": (Beside.of("kind", "lenet_300_100", "lenet_5", "alexnet", "vgg16", "resnet18"),),
        "density": (MADE,),
        "batch_norm": (MADE,),
        "path": (Beside.of("kind", "snapshot"),),
        "digest": (Beside.of("kind", "snapshot"),),
    }
    needed: ClassVar = {"path": Beside.of("kind", "snapshot")}

    def build(self, seed: int, dataset: Dataset | None = None, outputs: Mapping[str, int] | None = None) -> Network:
        """The seed network of one random seed, for the inputs and targets of a dataset.

        Args:
            seed: which.
            dataset: what it is to read.
            outputs: how many units the task asks for, by the name of the output; by default an output with one for
                each class or number.

        Raises:
            RecipeError: the snapshot holds another network than when the recipe was read.
            SnapshotError: the snapshot cannot be read.
            StructureError: there is no such network.
        """
        norm, common = self.batch_norm, (self.width, self.density, seed)
        channels, *size = (dataset.facts.image if dataset else None) or (3, 224, 224)
        task: dict[str, Any] = {"size": size, "classes": 1000}
        if dataset is not None:
            outputs = outputs or {"output": dataset.classes or dataset.facts.width}
            task["classes"] = next(iter(outputs.values()))
            self._check_one(dataset, outputs)
        match self.kind:
            case "mlp":
                return self._mlp(dataset, outputs, seed)
            case "lenet_300_100":
                return lenet_300_100(*common, batch_norm=norm)
            case "lenet_5":
                return lenet_5(*common, batch_norm=norm)
            case "cnn":
                given = {"maps": self.maps, "neurons": self.neurons}
                task |= {name: counts for name, counts in given.items() if counts is not None}
                return cnn(density=self.density, seed=seed, batch_norm=norm, channels=channels, **task)
            case "alexnet":
                return alexnet(*common, batch_norm=norm, widths=self.widths or NEST_ALEXNET, groups=1, **task)
            case "vgg16":
                return vgg16(*common, batch_norm=norm, widths=self.widths or NEST_VGG_16, **task)
            case "resnet18":
                return resnet18(*common, batch_norm=norm, **task)
            case "snapshot":
                return self._load()

    def _check_one(self, dataset: Dataset, outputs: Mapping[str, int]) -> None:
        """Whether what is made has as many inputs and outputs as data and task ask for."""
        joined = self.kind == "snapshot" or (self.kind == "mlp" and self.widths is None)
        inputs = len(dataset.facts.inputs)
        if not joined and (inputs > 1 or len(outputs) > 1):
            remedy = "kind 'mlp' with neurons in the place of widths, or a snapshot"
            got = f"data with {inputs} and a task with {len(outputs)}: use {remedy}"
            raise RecipeError(f"seed_network: {self.kind!r} expected one input and one output, got {got}")

    def _mlp(self, dataset: Dataset | None, outputs: Mapping[str, int] | None, seed: int) -> Network:
        """An `mlp` with the inputs and outputs that data have and ask for, unless widths are given."""
        if self.widths is not None:
            return mlp(self.widths, self.density, seed, batch_norm=self.batch_norm)
        if dataset is None or outputs is None:
            raise RecipeError("seed_network: expected data whose inputs and outputs to fit, got none: give widths")
        inputs, hidden = [prod(shape) for shape in dataset.facts.inputs], self.neurons
        hidden = HIDDEN if hidden is None else hidden
        if len(inputs) == len(outputs) == 1:
            return mlp((*inputs, *hidden, *outputs.values()), self.density, seed, batch_norm=self.batch_norm)
        return joint_mlp(inputs, hidden, outputs, self.density, seed, batch_norm=self.batch_norm)

    def resolved(self, folder: Path) -> Self:
        """The same with the path of a snapshot in full, from `folder`, and with the digest of what is there now.

        A digest that is known already is left to `build`: the recipe of an old run can be read without its snapshot.

        Raises:
            SnapshotError: the snapshot cannot be read.
        """
        if self.path is None:
            return self
        placed = self.model_copy(update={"path": str(Path(folder, self.path).resolve())})
        return placed if self.digest else placed.model_copy(update={"digest": placed._load().digest})

    def _load(self) -> Network:
        network = load(self.path or "")
        if self.digest not in (None, network.digest):
            expected, got = f"the network {self.digest:.8} that the recipe began with", f"{network.digest:.8}"
            raise RecipeError(f"{self.path}: expected {expected}, got {got}: bring it back, or begin another run")
        return network
