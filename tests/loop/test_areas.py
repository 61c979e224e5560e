"""Partial areas in training: responses are what a slow sum gives, and only kept positions compute and learn."""

import numpy as np
import pytest
import torch
from hypothesis import given

from nestgraph.data.datasets import load_dataset
from nestgraph.edits import SetArea
from nestgraph.graph.reference import forward
from nestgraph.loop import evidence
from nestgraph.loop.trainer import Trainer
from nestgraph.lowering import lower, slots
from nestgraph.policies import AreaPruning
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.spec import Conv
from tests.laws import quick
from tests.loop.areas import conv_net, responses_of
from tests.loop.tasks import conv_network, images_for, toy, toy_trainer
from tests.lowering.running import tensors
from tests.strategies import SEEDS, inputs_for, networks


@pytest.mark.parametrize("limit", [1, 2**24])
@pytest.mark.parametrize("form", [None, "map", "pair"])
def test_responses_are_a_slow_sums(monkeypatch, limit, form):
    monkeypatch.setattr(evidence, "RESPONSES", limit)
    network, data = conv_network(), toy(13)
    if form:
        area = np.random.default_rng(0).random((3, 1, 4, 4)) < 0.5
        network = SetArea(projection="input_to_conv", area=area).apply(network).network
    found = toy_trainer(data).evidence(network, ["responses"], None, 0)
    assert set(found.responses) == {"input_to_conv"}
    outputs = forward(network, images_for(network, data.train.inputs))
    expected = responses_of(network, network.projection("input_to_conv"), outputs["input"])
    np.testing.assert_allclose(found.responses["input_to_conv"], expected, rtol=1e-4, atol=1e-6)


@given(networks(("conv",)), SEEDS)
@quick(40)
def test_responses_of_every_form_of_convolution(network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    module = lower(network, masked=False).eval()
    recorder = evidence.Recorder(module)
    recorder.run(*tensors(network, inputs))
    outputs = forward(network, inputs)
    for name, mean in evidence.MEASURES["responses"](network, recorder):
        projection = network.projection(name)
        expected = responses_of(network, projection, outputs[projection.source])
        np.testing.assert_allclose(mean, expected, rtol=1e-3, atol=1e-5 * max(1.0, expected.max(initial=0)))


def convolved(projection, source, weight):
    """What PyTorch makes of maps by kernels (out, in, *kernel)."""
    axes, steps = len(projection.kernel), (projection.stride, projection.padding)
    if projection.transposed:
        convolve, more = getattr(torch.nn.functional, f"conv_transpose{axes}d"), projection.output_padding
        return convolve(source, weight.transpose(0, 1), None, *steps, more or 0, 1, projection.dilation)
    return getattr(torch.nn.functional, f"conv{axes}d")(source, weight, None, *steps, projection.dilation)


@given(networks(("conv",)), SEEDS)
@quick(40)
def test_only_kept_positions_learn(network, seed):
    """The gradient of a weight is the sum over its kept positions, window by window."""
    rng = np.random.default_rng(seed)
    inputs = inputs_for(network, 2, rng)
    module = lower(network).eval()
    recorder = evidence.Recorder(module)
    results = recorder.run(*tensors(network, inputs))
    sum(result.square().sum() for result in (results if isinstance(results, tuple) else (results,))).backward()
    weights = {slot.owner: slot.tensor(module) for slot in slots(network) if slot.is_weight}
    for name, weight in weights.items():
        projection, columns = network.projection(name), network.connection_columns(name)
        if isinstance(projection, Conv):
            slope = recorder.sum_gradient(projection.target).double()[:, :, None]
            kept = 1 if columns.area is None else torch.tensor(columns.area, dtype=torch.float64)
            each = torch.zeros(columns.mask.shape, dtype=torch.float64, requires_grad=True)
            source = recorder.layer_output(projection.source).double()
            by_pair = torch.stack(
                [convolved(projection, source[:, [m]], each[:, [m]]) for m in range(source.shape[1])],
                dim=2,
            )
            expected = torch.autograd.grad((by_pair * kept * slope).sum(), each)[0] * torch.tensor(columns.mask)
            scale = max(1.0, float(expected.abs().max()))
            np.testing.assert_allclose(weight.grad.double(), expected, atol=1e-4 * scale, rtol=1e-3)


def test_a_conv_network_on_digits_loses_little_and_borders_go_first():
    trainer = Trainer(load_dataset("digits"), TrainingOptions(optimizer="adamw", learning_rate=0.01, batch_size=64))
    network = trainer.fit(trainer.bench(conv_net()), 6, "test", 0).network
    before = trainer.measure(network, "validation").goal
    assert before > 0.8
    found = trainer.evidence(network, ["responses"], None, 0)
    edit = AreaPruning(quantile=0.1, granularity="pair").propose(network, found, np.random.default_rng(0))
    pruned = edit.apply(network).network
    assert before - trainer.measure(pruned, "validation").goal < 0.06
    kept = pruned.connection_columns("input_to_conv").area.mean(axis=(0, 1))
    assert kept[:, [0, -1]].mean() < kept[:, 2:4].mean()
