"""What a plain model does on the same split, to hold a synthesized network against."""

from importlib import import_module
from typing import Any, Literal

import torch

from nestgraph.loop.trainer import Trainer
from nestgraph.runs.run import BaselineResult
from nestgraph.spec.metrics import LOSS
from nestgraph.tasks.sums import added


def baseline(kind: Literal["logistic_regression", "ridge"], trainer: Trainer) -> BaselineResult:
    """A linear model of scikit-learn with its default regularisation, on all inputs, by the metrics of the task."""
    linear: Any = import_module("sklearn.linear_model")  # lazy, as it is slow to import
    model = linear.LogisticRegression(max_iter=5000) if kind == "logistic_regression" else linear.Ridge()
    model.fit(*trainer.arrays("train"))
    inputs, targets = trainer.arrays("test")
    found = model.decision_function(inputs) if kind == "logistic_regression" else model.predict(inputs)
    outputs = torch.from_numpy(found.reshape(len(inputs), -1)).double()
    if outputs.shape[1] == 1 and kind == "logistic_regression":  # of two classes it gives the log odds of the second
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
    scores = added([trainer.task.scores(outputs, torch.from_numpy(targets))])
    del scores[LOSS]  # of logits that were not made to be compared
    return BaselineResult(name=kind.replace("_", " "), weights=model.coef_.size, test=scores)
