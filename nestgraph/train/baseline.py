"""What a plain model does on the same split, to hold a synthesized network against."""

from dataclasses import dataclass

from nestgraph.train.trainer import Trainer


@dataclass(frozen=True)
class Baseline:
    """A baseline's size and its accuracy (a share of 1) on the test split."""

    name: str
    weights: int
    accuracy: float


def logistic_regression(trainer: Trainer) -> Baseline:
    """Multinomial logistic regression of scikit-learn with its default regularisation, on all inputs."""
    from sklearn.linear_model import LogisticRegression

    inputs, labels = trainer.arrays("train")
    model = LogisticRegression(max_iter=5000).fit(inputs, labels)
    return Baseline("logistic regression", model.coef_.size, float(model.score(*trainer.arrays("test"))))
