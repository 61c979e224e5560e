"""Random seeds that are none: every door refuses them in the same words, and takes those up to the last one."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

import nestgraph as ng
from nestgraph.cli.app import app
from nestgraph.spec.limits import MAX_WHOLE
from nestgraph.spec.randomness import derived_seed
from tests.loop.test_synthesis import varied

X, Y = np.random.default_rng(0).random((40, 4), np.float32), np.arange(40) % 2
NETWORK = ng.seeds.mlp((4, 3, 2))
RECIPE = varied(growth=None, pruning={"max_edits": 0}, finish_epochs=0)
LAST = 2**63 - 1


def trained(seed):
    """All that a trainer draws."""
    trainer = ng.Trainer(ng.split((X, Y)), RECIPE.training, seed=seed)
    trainer.fit(trainer.bench(NETWORK), 1, "train", 0)
    list(trainer.batches(NETWORK, 1, "\ud800", -1))
    trainer.evidence(NETWORK, {"gradients", "trial"}, 1, -1)


def batches(data):
    return ng.as_batches(data, size=8)


def function(seed):
    return [(X[np.random.default_rng(seed).permutation(40)], Y)]


DOORS = {
    "split": lambda seed, _: ng.split((X, Y), seed=seed),
    "load_dataset": lambda seed, _: ng.load_dataset("digits", seed=seed),
    "load_image_folder": lambda seed, folder: ng.load_image_folder(folder, seed=seed),
    "recipe": lambda seed, _: RECIPE.load(seed),
    "trainer": lambda seed, _: trained(seed),
    "gather": lambda seed, _: ng.gather(NETWORK, [(X, Y)], functional.cross_entropy, {"gradients"}, seed=seed),
    "epoch": lambda seed, _: list(batches((X, Y)).epoch(seed).rest()),
    "drawn": lambda seed, _: list(batches((X, Y)).drawn(seed, 2)),
    "epoch of a function": lambda seed, _: list(batches(function).epoch(seed).rest()),
    "drawn of a function": lambda seed, _: list(batches(function).drawn(seed, 1)),
    "mlp": lambda seed, _: ng.seeds.mlp((4, 2), seed=seed),
    "lenet_300_100": lambda seed, _: ng.seeds.lenet_300_100(0.1, seed=seed),
    "lenet_5": lambda seed, _: ng.seeds.lenet_5(0.1, seed=seed),
    "cnn": lambda seed, _: ng.seeds.cnn((2,), (), seed=seed, size=6),
    "resnet": lambda seed, _: ng.seeds.resnet((2,), (1,), seed=seed),
    "densenet": lambda seed, _: ng.seeds.densenet(2, (1,), seed=seed),
}
"""Each draws by the seed that it is given."""

RUNS = {
    "synthesize": lambda seed, folder: ng.synthesize(RECIPE, folder / "run", seed=seed),
    "sweep": lambda seed, folder: ng.load_sweep(_sweep(seed, folder)),
    "command": lambda seed, folder: _command(seed, folder),
}
"""Those that write the seed down."""


def _sweep(seed, folder):
    place = folder / "sweep.toml"
    name = 'recipe = "digits"\nname = "seeds"\nvariations = [{name = "one", set = {}}]'
    place.write_text(f"{name}\nseeds = [{seed}]")
    return place


def _command(seed, folder):
    done = CliRunner().invoke(app, ["synthesize", "digits", "--seed", str(seed), "--out", str(folder / "run")])
    raise ng.NestgraphError(done.output.replace("\n", " "))


def refused(door, seed, folder):
    with pytest.raises(ng.NestgraphError) as told:
        door(seed, folder)
    return str(told.value)


@pytest.mark.parametrize("door", DOORS)
def test_a_seed_that_generators_do_not_take_is_refused_in_the_same_words(door, tmp_path):
    for seed in (-1, 2**63, -(2**63), 2**64, 10**400):
        expected = "expected seed: a whole number from 0 to 9,223,372,036,854,775,807, got"
        assert expected in refused(DOORS[door], seed, tmp_path)
    for seed in (True, 0.5, "0", None, torch.tensor(3)):
        assert "expected seed: a whole number from 0 to" in refused(DOORS[door], seed, tmp_path)


@pytest.mark.parametrize("door", [door for door in DOORS if door != "load_image_folder"])
@pytest.mark.parametrize("seed", [0, 2**32, LAST, np.uint64(LAST), np.int8(7)])
def test_a_seed_that_they_take_is_taken(door, seed, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    DOORS[door](seed, tmp_path)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize("door", RUNS)
def test_a_run_takes_what_it_can_write_down(door, tmp_path):
    for seed in (-1, MAX_WHOLE):
        told = refused(RUNS[door], seed, tmp_path)
        assert any(words in told.replace(",", "") for words in (str(MAX_WHOLE - 1), str(MAX_WHOLE), "equal to 0"))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("plain")
def test_the_last_seed_of_a_run_is_written_and_read(tmp_path):
    run = ng.synthesize(RECIPE, tmp_path / "run", seed=MAX_WHOLE - 1)
    assert ng.Run.read(run.folder).result.seed == MAX_WHOLE - 1


def test_seeds_are_derived_of_anything():
    assert derived_seed(0, "epoch", 12) == 5019074198841929086
    drawn = [derived_seed(seed, *rest) for seed in (-1, 0, 10**400) for rest in ((), ("\ud800",), (-1,), (-1, "x"))]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= seed < 2**63 for seed in drawn)
