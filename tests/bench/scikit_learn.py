"""Prints how the estimators do beside scikit-learn's, over ten folds of four datasets (docs/scikit-learn.md).

    OMP_NUM_THREADS=1 python -m tests.bench.scikit_learn [--seed 0] [diabetes] [wine] ...

Each is fitted behind a `StandardScaler`; the seed is the random_state of folds and estimators. The networks are told a
budget of connections, far below a quarter of the parameters of scikit-learn's perceptron, and nothing else but a wider
hidden layer for the digits.
"""

import argparse
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nestgraph.graph.cost import cost
from nestgraph.sklearn import NestClassifier, NestRegressor

FOLDS = 10
STOPPED = {"early_stopping": True, "max_iter": 2000}
DATA = {
    "diabetes": (load_diabetes, {"connections": 50}),
    "breast": (load_breast_cancer, {"connections": 100}),
    "wine": (load_wine, {"connections": 100}),
    "digits": (load_digits, {"connections": 800, "hidden": (32,)}),
}
"""Datasets, and what the networks are told of them."""


@dataclass(frozen=True)
class Row:
    """Scores over the folds (accuracy or R^2), and the parameters of the largest model, where it has some."""

    name: str
    scores: np.ndarray
    parameters: int | None

    @property
    def median(self) -> float:
        return float(np.median(self.scores))

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(self.scores.std(ddof=1) / np.sqrt(len(self.scores)))

    def __str__(self) -> str:
        size = f"{self.parameters:,}" if self.parameters else ""
        return f"| {self.name} | {self.median:.3f} | {self.mean:.3f} ± {self.error:.3f} | {size} |"


def parameters(model) -> int | None:
    """All numbers that a model learned, or None of one that is no sum of products."""
    if isinstance(model, NestClassifier | NestRegressor):
        return cost(model.network_).total.parameters
    weights = [getattr(model, name) for name in ("coef_", "intercept_") if hasattr(model, name)]
    weights += [*getattr(model, "coefs_", ()), *getattr(model, "intercepts_", ())]
    return sum(np.size(each) for each in weights) or None


def models(numbers: bool, told: dict[str, object], seed: int) -> dict[str, object]:
    """The estimators to compare."""
    nest = NestRegressor if numbers else NestClassifier
    boosting = HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier
    return {
        f"{nest.__name__}({told['connections']})": nest(**told, random_state=seed),
        "MLP": (MLPRegressor if numbers else MLPClassifier)(**STOPPED, random_state=seed),
        "ridge" if numbers else "logistic regression": Ridge() if numbers else LogisticRegression(max_iter=2000),
        "gradient boosting": boosting(random_state=seed),
    }


def rows(name: str, seed: int) -> list[Row]:
    """One for each estimator on a dataset."""
    load, told = DATA[name]
    inputs, targets = load(return_X_y=True)
    numbers = name == "diabetes"
    folds = (KFold if numbers else StratifiedKFold)(FOLDS, shuffle=True, random_state=seed)
    found = []
    for title, model in models(numbers, told, seed).items():
        assert is_classifier(model) != numbers
        pipeline = make_pipeline(StandardScaler(), model)
        done = cross_validate(pipeline, inputs, targets, cv=folds, return_estimator=True, error_score="raise")
        sizes = [parameters(fitted[-1]) for fitted in done["estimator"]]
        found.append(Row(title, done["test_score"], max(sizes) if all(sizes) else None))
    return found


def promises(found: list[Row]) -> dict[str, bool]:
    """What issue 13 asks for, and whether it holds."""
    nest, perceptron, linear, _ = found
    return {
        "at most a quarter of the MLP's parameters": 4 * nest.parameters <= perceptron.parameters,
        "at its median or better": nest.median >= perceptron.median,
        "not more than a standard error below the linear model": nest.mean >= linear.mean - linear.error,
    }


def main() -> None:
    """Print the table, and what does not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*DATA, []])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in asked.names or DATA:
        found = rows(name, asked.seed)
        print(f"\n| {name} | median | mean | parameters |\n|---|---|---|---|")
        print("\n".join(map(str, found)), flush=True)
        for promise, holds in promises(found).items():
            print(f"{'holds' if holds else 'FAILS'}: {promise}", flush=True)


if __name__ == "__main__":
    main()
