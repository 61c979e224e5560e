"""A network that trains in shards over several processes, and follows edits as in one; one case is in test_ranks."""

import numpy as np
import pytest
import torch
from hypothesis import given

from nestgraph import seeds
from nestgraph.lowering import lower
from nestgraph.lowering.collect import trained_values
from nestgraph.lowering.parameters import parameters_of
from nestgraph.parallel.readers import WeightReader, read_in_parts
from tests.laws import quick
from tests.lowering.running import tensors, without_dropout
from tests.parallel.launching import found
from tests.strategies import SEEDS, inputs_for, networks


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        "maps_go_and_come",
        "groups_of_parameters",
        "parts_of_a_batch",
        "statistics",
        "apart",
        "others",
        "bytes_of_an_edit",
    ],
)
@pytest.mark.timeout(200)
def test_two_processes(case, tmp_path):
    found(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["a_unit_goes_and_units_come", "maps_go_and_come", "parts_of_a_batch", "bytes_of_an_edit"]
)
@pytest.mark.timeout(300)
def test_four_processes(case, tmp_path):
    found(case, tmp_path, 4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_networks_of_every_form_follow_edits_that_fit(tmp_path):
    found("anything", tmp_path)


@quick(10)
@given(network=networks(), seed=SEEDS)
def test_weights_that_lie_with_what_reads_them_compute_the_same(network, seed):
    inputs = tensors(network, inputs_for(network, 3, np.random.default_rng(seed)))
    plain, parts = (without_dropout(lower(network, masked=False, execution="masked")) for _ in range(2))
    made = read_in_parts(parts)
    assert all(isinstance(part, WeightReader) for part in made)
    assert parameters_of(network, parts).keys() == parameters_of(network, plain).keys()
    results = []
    for module in (plain, parts):
        outputs = module(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        trained = {key: p for key, p in parameters_of(network, module).items() if p.requires_grad}
        gradients = torch.autograd.grad(sum(out.sum() for out in outputs), list(trained.values()), allow_unused=True)
        results.append((outputs, gradients))
    for one, other in zip(results[0][0] + results[0][1], results[1][0] + results[1][1], strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    assert trained_values(network, parts) == trained_values(network, plain)


def test_each_weight_of_a_chain_lies_with_what_reads_it():
    for network in (seeds.mlp((6, 5, 3)), seeds.cnn((3, 4), (5,), size=8), seeds.resnet((4, 4), (1, 1), size=8)):
        module = lower(network, masked=False, execution="masked")
        weights = {path for path, p in module.named_parameters() if p.ndim > 1}
        read_in_parts(module)
        assert {f"{path}.weight" for path, part in module.named_modules() if isinstance(part, WeightReader)} == weights
