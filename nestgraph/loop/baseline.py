"""What a plain model does on the same split, to hold a synthesized network against."""

from importlib import import_module

from nestgraph.loop.trainer import Trainer
from nestgraph.runs.run import BaselineResult


def logistic_regression(trainer: Trainer) -> BaselineResult:
    """Multinomial logistic regression of scikit-learn with its default regularisation, on all inputs."""
    linear = import_module("sklearn.linear_model")  # lazy, as it is slow to import
    model = linear.LogisticRegression(max_iter=5000).fit(*trainer.arrays("train"))
    accuracy = float(model.score(*trainer.arrays("test")))
    return BaselineResult(name="logistic regression", weights=model.coef_.size, test_accuracy=accuracy)
