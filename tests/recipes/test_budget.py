"""Budgets: what they limit, what a network takes of them, and runs that end within them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestgraph.chip.boards import BOARDS, sizes_of
from nestgraph.chip.costing import chip_cost
from nestgraph.chip.quantising import quantised
from nestgraph.chip.samples import random_samples
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.text import written
from nestgraph.edits import Batch
from nestgraph.edits.pruning import prune_connections
from nestgraph.errors import RecipeError
from nestgraph.graph import Network, cost
from nestgraph.policies import (
    AreaPruning,
    ConnectionGrowth,
    Evidence,
    ImportancePruning,
    MagnitudePruning,
    MapGrowth,
    NeuronGrowth,
    UnitPruning,
)
from nestgraph.policies.policy import bridged_layers
from nestgraph.policies.pricing import unit_prices
from nestgraph.recipes.budget import Budget
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.runs import run_folder
from nestgraph.runs.run import Run
from nestgraph.seeds import cnn, lenet_5, mlp
from nestgraph.snapshot import load
from tests.chip.trying import missing
from tests.cli.running import TINY, run

BUDGETED = TINY.replace("size_limit = 150\n", "").replace("max_edits = 2\n", "") + "[budget]\n{budget}\n"
NETWORKS = {
    "digits": lambda: mlp((64, 24, 10), density=0.3, seed=0),
    "three layers": lambda: mlp((16, 8, 8, 8, 4), density=0.5, seed=0),
    "lenet-300-100-compact": lambda: load("docs/results/lenet-300-100-compact.json"),
    "lenet-5-compact": lambda: load("docs/results/lenet-5-compact.json"),
    "lenet-5, with its areas": lambda: load("docs/results/lenet-5.json"),
    "lenet-5 of width 0.3": lambda: lenet_5(width=0.3, density=0.2, seed=0),
}


# -- limits ----------------------------------------------------------------------------------------------


BYTES = {"8 KB": 8192, "1.5 kb": 1536, "2 MB": 2**21, "7 B": 7, 900: 900}


@pytest.mark.parametrize(("words", "count"), BYTES.items())
def test_bytes_are_read_from_words(words, count):
    assert Budget(flash=words).limits == {"flash": count}


def test_a_board_is_its_flash_and_ram_where_these_are_not_given():
    assert Budget(board="uno").limits == {"flash": 32256, "ram": 2048}
    assert Budget(board="uno", flash="8 KB", macs=10).limits == {"flash": 8192, "ram": 2048, "macs": 10}


def test_room_is_left_for_the_core_of_a_board():
    flash, ram = BOARDS["uno"].core
    assert Budget(board="uno", arduino=True).limits == {"flash": 32256 - flash, "ram": 2048 - ram}
    assert Budget(board="uno", arduino=True, ram="1 KB").limits["ram"] == 1024


WRONG = {
    "a core of no board": ('flash = "8 KB"\narduino = true', "arduino: does nothing without board"),
    "nothing": ("", "expected a limit: flash, ram, macs, connections or board, got none"),
    "no bytes": ('flash = "8 kilos"', "budget.flash: expected bytes such as 8192 or '8 KB', got '8 kilos'"),
    "none of bytes": ('flash = "-1 KB"', "budget.flash: "),
    "infinite bytes": ('flash = "1e999 KB"', "budget.flash: expected bytes"),
    "an unknown board": ('board = "due"', "budget.board: "),
    "a form of nothing": ('connections = 90\nform = "float"', "form: does nothing without flash, ram or board"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_budget_is_one_sentence(case):
    lines, sentence = WRONG[case]
    with pytest.raises(RecipeError) as caught:
        parse_recipe(BUDGETED.format(edits=2, budget=lines), "recipe.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_growth_needs_a_limit_or_a_budget():
    text = BUDGETED.format(edits=2, budget="connections = 90").split("[budget]")[0]
    with pytest.raises(RecipeError, match=r"growth.size_limit: missing \(it may be left out beside a budget only\)"):
        parse_recipe(text, "recipe.toml")


def test_what_no_chip_holds_is_refused_by_name():
    with pytest.raises(RecipeError, match="that can be written as C: a budget of bytes expected a network of at most"):
        Budget(flash="8 KB").spent(mlp((6000, 2000, 10), density=1.0, seed=0))


# -- what a network takes ----------------------------------------------------------------------------------


@pytest.mark.chip
@missing("arm-none-eabi-gcc")
@missing("avr-gcc")
@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_estimates_are_at_least_what_compilers_make_and_not_much_more(name, int8):
    network = NETWORKS[name]()
    program = scheduled(network)
    form = quantised(program, random_samples(program, 16)) if int8 else None
    text = written(network, program, "net", form)
    for board in ("stm32f4", "uno"):
        measured, told = sizes_of(text, program, BOARDS[board]), chip_cost(network, int8, BOARDS[board])
        if measured.compiler is not None:  # what is too large for a board is not compiled
            assert measured.flash <= told.flash <= 1.35 * measured.flash
            assert measured.ram + measured.handed + measured.stack <= told.ram
            assert told.ram <= measured.ram + measured.handed + measured.stack + 128


@settings(max_examples=20)
@given(st.integers(0, 99), st.booleans(), st.sampled_from(["mlp", "cnn"]))
def test_training_moves_few_bytes_of_each_unit_and_pruning_takes_some(seed, int8, kind):
    rng = np.random.default_rng(seed)
    network = mlp((12, 8, 4), 0.6, seed=seed) if kind == "mlp" else cnn((3,), (6,), 0.6, size=6, classes=3, seed=seed)
    name = network.projection_names[-1]
    columns = network.connection_columns(name)
    weights = np.where(columns.mask, rng.normal(0, 10.0 ** rng.integers(-2, 3), columns.mask.shape), 0)
    trained = Network.of(network.replace(connections={name: columns.with_weight(weights.astype(np.float32))}))
    before, after = chip_cost(network, int8), chip_cost(trained, int8)
    assert (after.ram, after.macs) == (before.ram, before.macs)
    tables = [sum(each.tables.values()) for each in (before, after)]
    assert abs(tables[1] - tables[0]) <= 6 * len(columns.mask)  # biases and multipliers of 16 bits or of 32, and shifts
    entries = np.flatnonzero(columns.mask)[::3]
    pruned = prune_connections(network, {name: entries}).apply(network).network
    less = chip_cost(pruned, int8)
    assert less.macs < before.macs
    assert less.ram <= before.ram


def test_the_dearest_limit_is_the_share_and_gives_the_prices():
    network = lenet_5(width=0.2, density=0.3, seed=0)
    whole = chip_cost(network)
    found = Budget(flash=whole.flash // 2, ram=whole.ram * 2, connections=10**6).spent(network)
    assert found.share == pytest.approx(whole.flash / (whole.flash // 2))
    assert found.amounts == {"flash": whole.flash, "ram": whole.ram, "connections": network.connection_count}
    counts = {name: network.connection_columns(name).active for name in network.projection_names}
    mean = sum(found.prices[name] * counts[name] for name in counts) / sum(counts.values())
    assert mean == pytest.approx(1)
    by_macs = Budget(macs=100).spent(network).prices
    flops = {name: each.flops / counts[name] for name, each in cost(network).by_projection.items()}
    assert by_macs["input_to_conv1"] / by_macs["fc1_to_output"] == pytest.approx(
        flops["input_to_conv1"] / flops["fc1_to_output"]
    )
    assert found.memory == {}
    by_ram = Budget(ram=100).spent(network)
    assert by_ram.prices == {}
    assert set(by_ram.memory) == set(whole.fullest)
    for layer, each in by_ram.memory.items():
        assert each == whole.fullest[layer] / len(network.units(layer))


def test_memory_is_fullest_where_maps_are_largest():
    network = cnn((2, 3), (4,), 1.0, size=16, classes=2, seed=0)
    found = chip_cost(network).fullest
    assert "conv1" in found
    assert not {"fc1", "output"} & found.keys()
    assert sum(chip_cost(network, int8=False).fullest.values()) == 4 * sum(found.values())


def test_prices_move_what_is_pruned_where_projections_compete():
    network = mlp((12, 8, 4), density=1.0, seed=0)
    first, last = network.projection_names
    policy, rng = MagnitudePruning(fraction=0.05, scope="global"), np.random.default_rng(0)

    def taken(prices):
        edit = policy.propose(network, Evidence(prices=prices), rng)
        after = Batch(edits=edit.edits).apply(network).network
        return [
            network.connection_columns(name).active - after.connection_columns(name).active for name in (first, last)
        ]

    assert taken({first: 1e6, last: 1e-6})[1] == 0
    assert taken({first: 1e-6, last: 1e6})[0] == 0
    assert taken({first: 3.0, last: 3.0}) == taken({})


def units_gone(policy, network, evidence):
    after = policy.propose(network, evidence, np.random.default_rng(0)).apply(network).network
    return {name: set(network.units(name)) - set(after.units(name)) for name in network.layer_names}


def test_units_are_weighed_by_what_they_cost():
    """Of two that are as quiet the one with more connections goes, of two layers the one that holds the memory."""
    network = mlp((12, 4, 4, 2), density=1.0, seed=0)
    name = network.projection_names[0]
    columns = network.connection_columns(name)
    mask = columns.mask.copy()
    mask[0, 1:] = False  # the first unit of the first layer reads one input
    thin = Network.of(network.replace(connections={name: columns.with_weight(columns.weight * mask, mask)}))
    layers = thin.layer_names[1:-1]
    activity = {layer: np.array([0.2, 0.2, 1.0, 1.0]) for layer in layers}
    policy = UnitPruning(threshold=0.3, fraction=0.5)
    plain = units_gone(policy, thin, Evidence(activity=activity))
    assert [len(plain[layer]) for layer in layers] == [0, 0]  # 0.2 is a third of the mean
    dear = units_gone(policy, thin, Evidence(activity=activity, prices=dict.fromkeys(thin.projection_names, 1.0)))
    assert [dear[layer] for layer in layers] == [{int(thin.units(layers[0])[1])}, set()]
    full = units_gone(policy, thin, Evidence(activity=activity, memory={layers[1]: 4.0}))
    assert [len(full[layer]) for layer in layers] == [0, 2]


def test_importance_is_weighed_by_what_goes_with_a_unit():
    network = mlp((12, 4, 4, 2), density=1.0, seed=0)
    first, second = network.layer_names[1:-1]
    activity = {layer: np.ones(4) for layer in (first, second)}
    policy = ImportancePruning(measure="activity", fraction=0.2, scope="global")

    def gone(prices):
        left = units_gone(policy, network, Evidence(activity=activity, saliency=activity, prices=prices))
        return len(left[first]), len(left[second])

    names = network.projection_names
    assert gone(dict(zip(names, (9.0, 1.0, 0.1), strict=True))) == (1, 0)
    assert gone(dict(zip(names, (0.1, 1.0, 9.0), strict=True))) == (0, 1)
    assert len(unit_prices(network, Evidence())) == 0
    prices = unit_prices(network, Evidence(prices=dict.fromkeys(names, 3.0)))
    assert np.concatenate(list(prices.values())).mean() == pytest.approx(1)


def test_growth_is_weighed_where_projections_compete():
    network = mlp((12, 8, 4), density=0.5, seed=0)
    first, last = network.projection_names
    gradients = {name: np.ones(network.connection_columns(name).mask.shape) for name in (first, last)}
    policy, rng = ConnectionGrowth(fraction=0.05, scope="global"), np.random.default_rng(0)

    def woken(prices):
        after = policy.propose(network, Evidence(gradients=gradients, prices=prices), rng).apply(network).network
        return [after.connection_columns(n).active - network.connection_columns(n).active for n in (first, last)]

    assert woken({first: 4.0, last: 1.0})[0] == 0
    assert woken({first: 1.0, last: 4.0})[1] == 0


def test_units_grow_where_they_are_cheap():
    network = mlp((6, 4, 4, 4, 2), density=1.0, seed=0)
    layers = network.layer_names[1:-1]
    rng = np.random.default_rng(0)
    ends = bridged_layers(network)
    bridges = {
        name: np.ones((len(network.units(after.target)), len(network.units(before.source))))
        for name, (before, after) in ends.items()
    }
    dear = dict.fromkeys(layers, 9.0)
    for cheap in layers[1:]:  # the first has a larger bridge
        evidence = Evidence(bridges=bridges, memory=dear | {cheap: 1.0})
        edit = NeuronGrowth(scope="global").propose(network, evidence, rng)
        assert [each.layer for each in edit.edits] == [cheap]
    maps = cnn((2, 2), (4,), 1.0, size=8, classes=2, seed=0)
    for cheap in ("conv1", "conv2"):
        prices = {"conv1": 9.0, "conv2": 9.0} | {cheap: 1.0}
        losses = Evidence(memory=prices, loss=lambda each: 1.0 if each is maps else 0.5)
        grown = MapGrowth(scope="global", candidates=2).propose(maps, losses, rng).apply(maps).network
        assert len(grown.units(cheap)) == 3


def test_positions_are_weighed_by_what_they_multiply():
    network = cnn((2, 2), (4,), 1.0, size=6, classes=2, seed=0)
    name = network.projection_names[1]
    columns = network.connection_columns(name)
    mask = columns.mask.copy()
    mask[0].reshape(len(mask[0]), -1)[:, 1:] = False  # pairs into the first map have one weight each
    thin = Network.of(network.replace(connections={name: columns.with_weight(columns.weight * mask, mask)}))
    shape = (*mask.shape[:2], *thin.layer(thin.projection(name).target).size)
    responses = {each: np.ones(_pairs(thin, each)) for each in thin.projection_names if thin.projection(each).areas}
    rng = np.random.default_rng(0)
    edit = AreaPruning(quantile=0.3).propose(thin, Evidence(responses=responses, prices={name: 1.0}), rng)
    area = edit.apply(thin).network.connection_columns(name).area
    lost = ~np.broadcast_to(area, shape)
    assert lost[1:].any()
    assert not lost[0].any()  # where a position saves least


def _pairs(network, name):
    return (*network.connection_columns(name).mask.shape[:2], *network.layer(network.projection(name).target).size)


# -- runs ------------------------------------------------------------------------------------------------


@pytest.fixture
def no_pictures(monkeypatch):
    for picture in ("draw_stage", "draw_run"):
        monkeypatch.setattr(run_folder, picture, lambda *_: None)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_ends_within_its_budget_and_says_what_it_takes(tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(BUDGETED.format(edits=3, budget='flash = "0.75 KB"\nconnections = 10000\novershoot = 1.2'))
    result = run("synthesize", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 0
    done = Run.read(tmp_path / "run")
    final = done.result.stages[-1]
    assert final.spent == {"flash": chip_cost(done.network).flash, "connections": done.network.connection_count}
    assert final.spent["flash"] <= 768
    flash = [row.spent["flash"] for row in done.metrics if row.accepted]
    assert max(flash) > 768  # there was something to prune
    assert sum(each <= 768 for each in flash[len(flash) // 2 :]) == 1 + (done.metrics[-1].phase == "finish")
    heading, *rows = result.stdout.splitlines()
    assert "flash, B" in heading
    assert f"{final.spent['flash']:,}" in rows[-1]
    assert "flash" in result.stderr


@pytest.mark.usefixtures("no_pictures")
def test_a_budget_that_is_missed_ends_with_1(tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(BUDGETED.format(edits=0, budget='ram = "100 B"').replace("tolerance", "max_edits = 1\ntolerance"))
    result = run("synthesize", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "budget missed: expected ram of at most 100, got " in result.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["stages"][-1]["spent"]["ram"] > 100
