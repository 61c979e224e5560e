"""Several outputs, each with a task: losses add up by their shares, metrics are those of the parts."""

import numpy as np
import pytest
import torch

import nestgraph as ng
from nestgraph.errors import RecordError, TrainingError
from nestgraph.tasks.several import Several
from nestgraph.tasks.sums import added
from tests.tasks.kinds import samples

NAMES = {"kind_of": "classification", "size": "regression"}
PARTS = {name: samples(kind) for name, kind in NAMES.items()}
OUTPUTS = {name: part[1] for name, part in PARTS.items()}
TARGETS = {name: part[2] for name, part in PARTS.items()}
TASK = Several(tasks={name: part[0] for name, part in PARTS.items()}, shares={"size": 0.5}, goal="size.r2")


def test_the_loss_is_the_sum_by_shares_and_metrics_are_those_of_the_parts():
    apart = {name: added([part[0].scores(OUTPUTS[name], TARGETS[name])]) for name, part in PARTS.items()}
    lots = [({n: o[at] for n, o in OUTPUTS.items()}, {n: t[at] for n, t in TARGETS.items()}) for at in HALVES]
    found = added([TASK.scores(*lot) for lot in lots])
    total = apart["kind_of"]["loss"] + 0.5 * apart["size"]["loss"]
    assert next(iter(found)) == "size.r2"
    assert found == pytest.approx(
        {f"{name}.{score}": value for name, scores in apart.items() for score, value in scores.items()}
        | {"loss": total}
    )
    assert float(TASK.loss(OUTPUTS, TARGETS)) == pytest.approx(total, rel=1e-6)
    assert torch.equal(TASK.loss((*OUTPUTS.values(),), (*TARGETS.values(),)), TASK.loss(OUTPUTS, TARGETS))


HALVES = (slice(0, 15), slice(15, 40))


def test_the_floor_is_that_of_the_goal():
    targets = {name: np.asarray(each) for name, each in TARGETS.items()}
    assert TASK.floor(targets) == 0.0
    accuracy = TASK.model_copy(update={"goal": "kind_of.accuracy"})
    assert accuracy.floor(targets) == np.bincount(targets["kind_of"]).max() / 40
    apart = [Several(tasks={n: t}, goal="-loss").floor({n: targets[n]}) for n, t in TASK.tasks.items()]
    assert TASK.model_copy(update={"goal": "-loss"}).floor(targets) == pytest.approx(apart[0] + 0.5 * apart[1])


def test_what_is_no_part_is_refused():
    with pytest.raises(TrainingError, match="expected 2 targets, by name or in their order, got 1"):
        TASK.loss(OUTPUTS, (TARGETS["size"],))
    with pytest.raises(TrainingError, match="expected outputs kind_of, size, got size"):
        TASK.loss({"size": OUTPUTS["size"]}, TARGETS)
    for fields, words in (({"goal": "size.rmse"}, "write '-size.rmse'"), ({"shares": {"age": 1.0}}, "got 'age'")):
        with pytest.raises(RecordError, match=words):
            Several(tasks=TASK.tasks, **fields)


def test_evidence_is_gathered_of_two_outputs():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.common, self.one, self.other = (torch.nn.Linear(a, b) for a, b in ((4, 5), (5, 3), (5, 2)))

        def forward(self, x):
            common = self.common(x).relu()
            return self.one(common), self.other(common)

    torch.manual_seed(0)
    network = ng.import_module(Two(), torch.randn(3, 4))
    batches = [(torch.randn(40, 4), (*TARGETS.values(),))]
    found = ng.gather(network, batches, TASK, ["gradients"])
    assert set(found.gradients) == set(network.projection_names)
    assert all(np.isfinite(each).all() and each.any() for each in found.gradients.values())
