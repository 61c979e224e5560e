"""A last training that computes with weights as C of int8 holds them, and ends with these."""

import numpy as np
import pytest
import torch
from hypothesis import given

from nestgraph.chip.quantising import quantised
from nestgraph.chip.samples import random_samples
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.terms import Swept
from nestgraph.errors import ExportError, RecipeError
from nestgraph.graph.reference import forward
from nestgraph.loop.rounding import RoundedWeights
from nestgraph.loop.synthesis import synthesize
from nestgraph.lowering.workbench import Workbench
from tests.laws import quick
from tests.loop.tasks import conv_network, dense_network, images_for, toy_trainer
from tests.loop.test_synthesis import varied
from tests.strategies import networks


def bench_of(network, execution="auto"):
    return Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1), execution=execution)


def rounded(network):
    bench = bench_of(network)
    RoundedWeights(bench).settle()
    return bench.network


def written(network):
    """The weights of units that read one layer, and what int8 in C stands for them."""
    program = scheduled(network)
    form = quantised(program, random_samples(program, 8))
    for step in program.steps:
        integers = form.integers.get(step.target.name)
        if integers is not None and integers.real and len(step.terms) == 1 and isinstance(step.terms[0], Swept):
            for own, held in zip(step.terms[0].rows, integers.real.terms[0].rows, strict=True):
                for one, other in zip(own, held, strict=True):
                    yield one.weights, other.weights, max(np.abs(part.weights).max(initial=0) for part in own)


@quick(60)
@given(networks(("dense", "conv", "residual")))
def test_c_holds_rounded_weights_as_they_are(network):
    """Also of normalised layers, whose weights are multiplied by a factor for each unit when they are written."""
    try:
        parts = list(written(rounded(network)))
    except ExportError:  # numbers are too large
        return
    for own, held, largest in parts:
        assert np.abs(own - held).max(initial=0) <= 1e-5 * largest


@pytest.mark.parametrize("execution", ["masked", "sparse"])
def test_a_module_computes_with_rounded_weights_and_has_its_own_again(execution):
    network = dense_network()
    bench, inputs = bench_of(network, execution), np.random.default_rng(0).standard_normal((5, 36))
    given_ = torch.tensor(inputs, dtype=torch.float32)
    with RoundedWeights(bench).held(), torch.no_grad():
        inside = bench.module.eval()(given_).numpy()
    assert bench.network.digest == network.digest
    exact = forward(rounded(network), inputs)[network.output_names[0]]
    assert np.abs(inside - exact).max() <= 1e-5 * np.abs(exact).max()
    assert np.abs(inside - forward(network, inputs)[network.output_names[0]]).max() > 1e-4


@pytest.mark.parametrize("kind", [dense_network, conv_network])
@pytest.mark.parametrize("options", [{}, {"optimizer": "muon", "learning_rate": 0.01}, {"ema": 0.9, "accumulate": 2}])
def test_a_training_ends_with_rounded_weights_and_learns(kind, options):
    trainer, network = toy_trainer(**options), kind()
    bench = trainer.bench(network)
    before = trainer.measure(network, "validation", bench.module).loss
    after = trainer.fit(bench, 6, "finish", 0, int8=True).network
    assert trainer.measure(after, "validation", bench.module).loss < before
    assert rounded(after).digest == after.digest
    for name in network.projection_names:
        columns = after.connection_columns(name)
        assert not columns.weight[~columns.mask].any()
    assert np.isfinite(forward(after, images_for(after, trainer.dataset.test.inputs))[after.output_names[0]]).all()


def test_steps_smaller_than_a_scale_add_up():
    """Each moves what is behind a rounded weight, which itself moves by a whole scale in the end."""
    bench = bench_of(rounded(dense_network()), "masked")
    weights, parameter = RoundedWeights(bench), dict(bench.module.named_parameters())["projection2.weight"]
    scale = parameter.data[0].abs().max() / 127
    sizes = parameter.data[0].abs()
    place = int(torch.where(sizes > 0, sizes, 1e9).argmin())
    first, seen = float(parameter.data[0, place]), []
    for _ in range(12):
        with weights.held():
            seen.append(round((float(parameter.data[0, place]) - first) / float(scale)))
        parameter.data[0, place] += 0.15 * scale
    assert seen == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2]


def test_a_run_ends_with_rounded_weights(tmp_path):
    short = varied(seed_epochs=1, growth={"max_edits": 1}, pruning={"max_edits": 1}, finish_epochs=2)
    run = synthesize(varied(short, finish_int8=True), tmp_path / "run")
    last = run.metrics[-1]
    assert last.phase == "finish"
    assert (rounded(run.network).digest == run.network.digest) == last.accepted
    assert "finish_int8" not in short.text


def test_it_does_nothing_without_a_last_training():
    with pytest.raises(RecipeError, match="finish_int8: does nothing without finish_epochs"):
        varied(finish_int8=True, finish_epochs=0)
