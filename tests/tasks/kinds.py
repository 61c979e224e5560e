"""Tasks of every kind with outputs and targets for them, and what scikit-learn says of these."""

import numpy as np
import torch
from sklearn import metrics as sk

from nestgraph.spec.facts import UNTOLD, Facts
from nestgraph.tasks.classes import Binary, Classification, MultiLabel
from nestgraph.tasks.numbers import Reconstruction, Regression
from nestgraph.tasks.places import Places

FACTS = Facts(inputs=((2, 3),), classes=3, width=2)
TASKS = {
    "classification": Classification(metrics=("accuracy", "balanced_accuracy", "f1", "auroc")),
    "smoothed": Classification(label_smoothing=0.2, class_weights=(1.0, 2.5, 0.5)),
    "balanced": Classification(class_weights="balanced", goal="balanced_accuracy"),
    "binary": Binary(metrics=("accuracy", "balanced_accuracy", "f1", "auroc"), goal="auroc"),
    "weighted binary": Binary(class_weights=(1.0, 3.0), goal="f1"),
    "labels": MultiLabel(metrics=("f1", "accuracy", "auroc")),
    "weighted labels": MultiLabel(class_weights=(1.0, 3.0), goal="accuracy"),
    "places": Places(metrics=("accuracy", "balanced_accuracy", "f1", "perplexity")),
    "places of pictures": Places(class_weights=(1.0, 2.5, 0.5), axis=1, goal="-perplexity"),
    "regression": Regression(metrics=("r2", "mae", "rmse")),
    "huber": Regression(loss="huber", delta=0.7, goal="-mae"),
    "quantile": Regression(loss="quantile", quantiles=(0.2, 0.5, 0.9)),
    "gaussian": Regression(loss="gaussian", goal="-rmse"),
    "reconstruction": Reconstruction(metrics=("r2", "mae", "rmse")),
}


def samples(name, count=40, seed=0):
    """(task, outputs, targets, weights): as networks give them and as tasks take them."""
    task, rng = TASKS[name], np.random.default_rng(seed)
    outputs = rng.standard_normal((count, task.outputs(FACTS))).astype(np.float32)
    if task.reads_inputs:
        targets = rng.standard_normal((count, 2, 3)).astype(np.float32)
    elif task.kind == "places":
        shape = (count, 5) if task.axis == -1 else (count, 2, 2)
        targets = np.where(rng.random(shape) < 0.3, UNTOLD, rng.integers(0, 3, shape))
        outputs = rng.standard_normal((*shape, 3) if task.axis == -1 else (count, 3, 2, 2)).astype(np.float32)
    elif task.kind == "classification":
        targets = rng.integers(0, 3, count)
    elif task.kind == "binary":
        targets = rng.integers(0, 2, count)
    elif task.kind == "multi_label":
        targets = rng.integers(0, 2, (count, 2))
    else:
        targets = (5 + 2 * rng.standard_normal((count, 2))).astype(np.float32)
    prepared = targets if task.reads_inputs else task.prepared(targets, FACTS)
    task = task if task.reads_inputs else task.fitted(prepared, FACTS)
    return task, torch.from_numpy(outputs), torch.from_numpy(prepared), torch.from_numpy(rng.integers(1, 4, count))


def expected(task, name, outputs, targets, weights):
    """A metric by scikit-learn."""
    found, true = outputs.double().numpy(), targets.numpy()
    if task.kind == "places":
        return of_places(task, name, found, true, weights)
    if task.kind == "classification":
        named = found.argmax(1)
        if name == "auroc":
            chances = np.exp(found) / np.exp(found).sum(1, keepdims=True)
            return float(
                np.mean([sk.roc_auc_score(true == c, chances[:, c], sample_weight=weights) for c in np.unique(true)])
            )
        return of_classes(name, true, named, weights, average="macro")
    if task.kind == "binary":
        if name == "auroc":
            return sk.roc_auc_score(true, found[:, 0], sample_weight=weights)
        return of_classes(name, true, (found[:, 0] > 0).astype(int), weights, average="binary")
    if task.kind == "multi_label":
        if name == "auroc":
            return sk.roc_auc_score(true, found, sample_weight=weights, average="macro")
        if name == "f1":
            return sk.f1_score(true, found > 0, sample_weight=weights, average="macro", zero_division=0)
        return float(np.average(((found > 0) == true).mean(1), weights=weights))
    true = true.reshape(len(true), -1)
    predicted = {"quantile": found[:, 2:4], "gaussian": found[:, :2]}.get(task.loss_name, found)
    if name == "r2":
        average = "variance_weighted" if task.reads_inputs else "uniform_average"
        return sk.r2_score(true, predicted, sample_weight=weights, multioutput=average)
    score = {"mae": sk.mean_absolute_error, "rmse": sk.root_mean_squared_error}[name]
    return score(true, predicted, sample_weight=weights)


def of_places(task, name, found, true, weights):
    told = true != UNTOLD
    weights = np.broadcast_to((1 if weights is None else weights.reshape(-1, *[1] * (true.ndim - 1))), true.shape)
    found, true, weights = np.moveaxis(found, task.axis, -1)[told], true[told], weights[told]
    if name == "perplexity":
        chances = np.exp(found) / np.exp(found).sum(1, keepdims=True)
        return float(np.exp(sk.log_loss(true, chances, sample_weight=weights, labels=[0, 1, 2])))
    return of_classes(name, true, found.argmax(1), weights, average="macro")


def of_classes(name, true, named, weights, average):
    if name == "f1":
        return sk.f1_score(true, named, sample_weight=weights, average=average, zero_division=0)
    score = {"accuracy": sk.accuracy_score, "balanced_accuracy": sk.balanced_accuracy_score}[name]
    return score(true, named, sample_weight=weights)
