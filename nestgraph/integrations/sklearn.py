"""scikit-learn's estimators: networks that are grown and pruned to a budget of connections, for tables of numbers.

They train on the package's own loop, in memory: a recipe is made of the parameters, and nothing is written to a disk.
"""

# scikit-learn tells few types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
# pyright: reportUnknownParameterType=false
# ruff: noqa: N803  (a matrix is called as scikit-learn calls it)

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight as checked_weights  # pyright: ignore[reportPrivateUsage]
from sklearn.utils.validation import check_is_fitted, validate_data

from nestgraph.data.options import OwnOptions
from nestgraph.data.samples import Dataset, Samples
from nestgraph.data.splitting import split_places
from nestgraph.graph.network import Network
from nestgraph.graph.reference import forward
from nestgraph.loop.in_memory import InMemory, in_memory
from nestgraph.loop.trainer import Trainer
from nestgraph.policies import ConnectionGrowth, MagnitudePruning
from nestgraph.recipes.pruning_options import PruningOptions
from nestgraph.recipes.recipe import GrowthOptions, Recipe, ShiftOptions, TrainingOptions
from nestgraph.recipes.seed_options import SeedOptions
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.wording import quoted
from nestgraph.tasks.classes import Binary, Classification
from nestgraph.tasks.numbers import Regression
from nestgraph.tasks.task import Task

Floats = NDArray[np.float64]
SEED, GROWN = 0.5, 1.3
"""Shares of the budget: the connections of the seed network, and those that growth leads to, to be pruned."""

BORN, PRUNED = 0.2, 0.15
"""What share of the budget a growth step adds, and what share of the connections a pruning step removes."""

FEW = 5
"""So many validation samples are too few to decide by: all training samples then are."""


PARAMETERS = """    Args:
        connections: that the network may have: the budget.
        hidden: the neurons of its hidden layers, of which it connects as few as it needs.
        epochs: of the first training, on half the budget, and of the last.
        step_epochs: of training after each step of growth and pruning.
        batch_size: samples of a batch, 3 at least.
        learning_rate: that each training begins with; it ends at a hundredth, along half a cosine.
        weight_decay: decoupled from the gradient, as AdamW has it.
        validation_fraction: of the samples, by whose loss growth and the last training are kept; with 0, or where that
            is less than 5 samples, the training samples are.
        random_state: from which one number is drawn, the seed of all that is random.
        device: "cpu" or "cuda".

    Attributes:
        network_: the network, a `nestgraph.Network`, to be drawn, edited, saved or exported.
        run_: its recipe, what was measured on the way, and the networks by stage.
        n_features_in_: how many features `fit` saw.
"""


class _Nest(BaseEstimator):
    """What both estimators have in common."""

    run_: InMemory
    n_features_in_: int

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ == __name__:
            cls.__doc__ = f"{cls.__doc__}\n{PARAMETERS}"

    def __init__(
        self,
        connections: int = 200,
        *,
        hidden: Sequence[int] = (16,),
        epochs: int = 30,
        step_epochs: int = 5,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        weight_decay: float = 1.0,
        validation_fraction: float = 0.0,
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self.connections = connections
        self.hidden = hidden
        self.epochs = epochs
        self.step_epochs = step_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device

    @property
    def network_(self) -> Network:
        """The network that was trained."""
        return self.run_.network

    def _read(self, X: Any, y: Any, sample_weight: Any, **checks: bool) -> tuple[Floats, AnyArray, Floats | None]:
        """Inputs, targets and weights of the samples that have weight, as scikit-learn checks them."""
        read = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2, **checks)
        inputs, targets = cast("tuple[Floats, AnyArray]", read)
        if sample_weight is None:
            return inputs, targets, None
        weights = cast(Floats, checked_weights(sample_weight, inputs, ensure_non_negative=True))
        heavy = weights > 0
        if not heavy.any():
            who = type(self).__name__
            raise ValueError(f"{who} expected a sample of a weight above 0, got none: check sample_weight")
        return inputs[heavy], targets[heavy], weights[heavy]

    def _run(self, samples: Samples, task: Task, **facts: Any) -> Self:
        """Train on samples.

        Args:
            samples: all that `fit` was given.
            task: what the outputs mean.
            **facts: what else the dataset is told.
        """
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        train, validation = self._split(samples, seed)
        dataset = Dataset("held", train, validation, validation, **facts)
        recipe = self._recipe(dataset, task)
        run = in_memory(recipe, Trainer(dataset, recipe.training, seed=seed, device=self.device, task=task))
        self._check_budget(run.network.connection_count)
        self.run_ = run
        return self

    def _check_budget(self, needed: int) -> None:
        if needed > self.connections:
            got = f"{self.connections} for one that needs {needed}"
            raise ValueError(
                f"{type(self).__name__} expected a budget of connections that a network of {self.n_features_in_} "
                f"inputs can do with, got {got}: raise connections, or lower hidden"
            )

    def _split(self, samples: Samples, seed: int) -> tuple[Samples, Samples]:
        """What is trained on, and what decisions are made by."""
        share = self.validation_fraction
        if share * len(samples) < FEW:
            return samples, samples
        places = split_places(type(self).__name__, samples.targets, share, 0.0, np.random.default_rng(seed))
        return samples.part(places.train), samples.part(places.validation)

    def _recipe(self, dataset: Dataset, task: Task) -> Recipe:
        """What the parameters ask for: a sparse seed, grown beyond the budget, pruned to it."""
        self._check_budget(len(self.hidden) + task.outputs(dataset.facts))  # one neuron in each hidden layer
        budget = self.connections
        widths = (dataset.facts.values, *self.hidden, task.outputs(dataset.facts))
        possible = sum(before * after for before, after in pairwise(widths))
        fraction = min(1.0, max(1.0, BORN * budget) / possible)
        growth = GrowthOptions(
            policies=(ConnectionGrowth(fraction=fraction, scope="global"),),
            size_limit=max(1, min(possible, round(GROWN * budget))),
            epochs=self.step_epochs,
        )
        pruning = PruningOptions(
            policies=(MagnitudePruning(fraction=PRUNED, scope="global", score="lamp"),),
            target=-np.finfo(np.float64).max,  # the budget is a promise, so each step is kept
            epochs=self.step_epochs,
            size_floor=budget,
        )
        density = min(1.0, SEED * budget / possible)
        training = TrainingOptions(
            optimizer="adamw",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            threads=1,
            retries=2,
            loss_limit=1e12,  # features of any size are trained on, well or not
        )
        return Recipe(
            name="scikit-learn",
            data=OwnOptions(kind="custom", name="held"),
            task=cast(Any, task),
            seed_network=SeedOptions(kind="mlp", widths=widths, density=density, batch_norm=False),
            training=training,
            seed_epochs=self.epochs,
            growth=growth,
            shift=ShiftOptions(epochs=0),
            pruning=pruning,
            finish_epochs=self.epochs,
        )

    def _outputs(self, X: Any) -> Floats:
        """What the network gives, (samples, outputs), in float64: a sample alone gets what it gets in company."""
        check_is_fitted(self)
        inputs = cast(Floats, validate_data(self, X, reset=False, dtype=np.float64))
        (name,) = self.network_.output_names
        return forward(self.network_, inputs)[name]


def _samples(inputs: Floats, targets: AnyArray, weights: Floats | None) -> Samples:
    """In the precision that networks train in; weights with a mean of 1."""
    told = None if weights is None else np.asarray(weights / weights.mean(), np.float32)
    return Samples(np.asarray(inputs, np.float32), targets, told)


class NestClassifier(ClassifierMixin, _Nest):
    """A classifier: a network that is grown and pruned to a budget of connections.

    Features should be of one size, as a `StandardScaler` makes them. `classes_` are the classes.
    """

    classes_: AnyArray

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow and prune a network.

        Args:
            X: numbers, (samples, features), finite.
            y: classes of any kind, (samples,).
            sample_weight: how much each sample counts, (samples,), at least 0.

        Raises:
            ValueError: the samples are of one class, hold what is no number, or the budget is too small.
            TrainingError: the network does not train.
        """
        inputs, labels, weights = self._read(X, y, sample_weight)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} expected samples of at least 2 classes, got 1 class")
        task = Binary(goal="-loss") if len(self.classes_) == 2 else Classification(goal="-loss")
        return self._run(_samples(inputs, codes.astype(np.int64), weights), task, classes=len(self.classes_))

    def decision_function(self, X: Any) -> Floats:
        """Log odds of the second of two classes, (samples,); of more the logits of each, (samples, classes)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X: Any) -> Floats:
        """The probabilities of the classes, (samples, classes)."""
        outputs = self._outputs(X)
        logits = np.hstack([np.zeros_like(outputs), outputs]) if len(self.classes_) == 2 else outputs
        raised = np.exp(logits - logits.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)

    def predict(self, X: Any) -> AnyArray:
        """The most probable class of each sample, (samples,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]


class NestRegressor(RegressorMixin, _Nest):
    """A regressor of one number or several: a network that is grown and pruned to a budget of connections.

    Targets are standardised; features should be, as by a `StandardScaler`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow and prune a network.

        Args:
            X: numbers, (samples, features), finite.
            y: numbers, (samples,) or (samples, targets), finite.
            sample_weight: how much each sample counts, (samples,), at least 0.

        Raises:
            ValueError: the samples hold what is no number, or the budget is too small.
            DataError: all targets are the same.
            TrainingError: the network does not train.
        """
        if words := [each for each in np.asarray(y).reshape(-1)[:1].tolist() if isinstance(each, str)]:
            expected = f"{type(self).__name__} expected targets that are numbers"
            raise ValueError(f"{expected}, got {quoted(words[0])}: NestClassifier tells classes apart")
        inputs, told, weights = self._read(X, y, sample_weight, multi_output=True, y_numeric=True)
        self._single = told.ndim == 1
        numbers = told.reshape(len(told), -1).astype(np.float64)
        self._mean = np.average(numbers, axis=0, weights=weights)
        deviation = np.sqrt(np.average((numbers - self._mean) ** 2, axis=0, weights=weights))
        self._scale = np.where(deviation > 0, deviation, 1.0)
        targets = ((numbers - self._mean) / self._scale).astype(np.float32)
        scales = tuple(self._scale.tolist())
        return self._run(_samples(inputs, targets, weights), Regression(goal="-loss"), scales=scales)

    def predict(self, X: Any) -> Floats:
        """The numbers of each sample, (samples,) or (samples, targets), as `fit` was given them."""
        told = self._outputs(X) * self._scale + self._mean
        return told[:, 0] if self._single else told

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
