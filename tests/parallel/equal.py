"""A step, evidence and plans of several processes, beside those of one that has every batch; all in float64."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.data import minibatch
from nestgraph.data.minibatch import Minibatch
from nestgraph.data.share import WHOLE
from nestgraph.loop import factors
from nestgraph.loop.evidence import gather
from nestgraph.loop.proposing import ASKED
from nestgraph.loop.stepping import Steps, optimizers
from nestgraph.loop.training import step
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.ranks import ALONE
from nestgraph.policies import AreaPruning, ConnectionGrowth, MagnitudePruning, MapGrowth, NeuronGrowth, UnitPruning
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import lenet_5, mlp

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.random((23, 1, 28, 28)), RNG.integers(0, 10, 23)
WEIGHTS = RNG.random(23) + 0.1


def weighted(outputs, targets, weights):
    each = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return (each * weights).sum() / weights.sum()


def batches(share=WHOLE, flat=False):
    """Three batches, of 9, 7 and 7 samples with weights, of which a process has its share."""
    for places in np.array_split(np.arange(23), [9, 16]):
        own = share.of(torch.tensor(places))
        images = torch.tensor(IMAGES)[own]
        yield Minibatch(
            (images.flatten(1) if flat else images,), (torch.tensor(LABELS)[own], torch.tensor(WEIGHTS)[own])
        )


def in_double():
    """In here evidence is gathered, and benches are made, in float64."""
    patch = pytest.MonkeyPatch()
    lower = ng.lower
    patch.setattr(minibatch, "_on", lambda given, device: given.to(device))
    for module in ("nestgraph.loop.evidence", "nestgraph.lowering.workbench"):
        patch.setattr(f"{module}.lower", lambda *given, **named: lower(*given, **named).double())
    return patch


NETWORKS = {
    "perceptron": lambda: mlp((784, 30, 20, 10), 0.2, 0, "tanh", batch_norm=True),
    "lenet": lambda: lenet_5(0.5, 0.3, batch_norm=True),
}
KINDS = {
    "perceptron": ["gradients", "bridges", "activity", "saliency"],
    "lenet": ["gradients", "bridges", "activity", "saliency", "responses"],
}
POLICIES = {
    "perceptron": [
        ConnectionGrowth(fraction=0.1),
        NeuronGrowth(units=2),
        MagnitudePruning(fraction=0.1),
        UnitPruning(),
    ],
    "lenet": [ConnectionGrowth(fraction=0.1), AreaPruning(quantile=0.05), MapGrowth(), UnitPruning()],
}


def far(one, other):
    """How far arrays are apart, as a share of the largest number."""
    one, other = (np.asarray(each, np.float64) for each in (one, other))
    return float(np.abs(one - other).max() / (np.abs(other).max() or 1.0))


def one_and_several(ranks, _):
    """How far apart they are, as shares of the largest number, and the plans of both."""
    with_it, answer = in_double(), {}
    for name, make in NETWORKS.items():
        network, flat = make(), name == "perceptron"
        told = _steps(ranks, network, flat) | _evidence(ranks, network, flat, KINDS[name])
        told["plans"] = [_plans(many, network, flat, POLICIES[name]) for many in (ALONE, ranks)]
        answer |= {f"{name}, {what}": value for what, value in told.items()}
    with_it.undo()
    return answer


def _steps(ranks, network, flat):
    (alone, loss), (several, mean) = (_step(many, network, flat) for many in (ALONE, ranks))
    parameters, buffers = dict(alone.named_parameters()), dict(alone.named_buffers())
    gradients = [far(one.grad, parameters[name].grad) for name, one in several.named_parameters()]
    statistics = [far(one, buffers[name]) for name, one in several.named_buffers() if name.endswith(("_mean", "_var"))]
    return {"loss": far(mean, loss), "gradients": max(gradients), "statistics": max(statistics)}


def _step(ranks, network, flat):
    options = TrainingOptions(optimizer="sgd", learning_rate=0.1, accumulate=3)
    bench = Workbench(network, partial(optimizers, options), "cpu", "masked")
    bench.module.train()
    steps, module = Steps(bench, options, torch.device("cpu")), ranks.wrapped(bench.module)
    steps.begin(1.0, 0.0)
    return bench.module, ranks.mean(step(module, steps, list(batches(ranks.share, flat)), weighted, ranks).item())


def _evidence(ranks, network, flat, kinds):
    told = {}
    for form, share in (("factors", 0.01), ("arrays", 2**40)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(factors, "SHARE", share)
            one, several = (measured(many, flat, network, kinds) for many in (ALONE, ranks))
        assert one.samples == several.samples == len(LABELS)
        pairs = [(getattr(several, kind), getattr(one, kind)) for kind in kinds]
        told[f"evidence by {form}"] = max(far(new[name], values) for new, old in pairs for name, values in old.items())
    return told


def measured(ranks, flat, network, needs):
    return gather(network, batches(ranks.share, flat), weighted, needs, ranks=ranks)


def _plans(ranks, network, flat, policies):
    """What is proposed and where, without the last digits of new weights."""
    asked = ASKED["in_turn"]([(one, 1.0) for one in policies], network, partial(measured, ranks, flat), 5, ranks)
    return [[one.policy, one.edit.title, [_place(edit) for edit in one.edit.edits]] for one in asked]


def _place(edit):
    parts = (getattr(edit, name) for name in ("entries", "active", "ids", "area") if hasattr(edit, name))
    return [edit.kind, *(np.asarray(part).tolist() for part in parts)]
