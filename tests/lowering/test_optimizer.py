"""Optimizer state follows units and links by id through any edit."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import AddLayer, AddProjection, Batch, Block, RemoveProjection, RemoveUnits, prune_connections
from nestgraph.errors import EditError, LoweringError
from nestgraph.lowering import carry_optimizer, collect, lower, slots
from nestgraph.spec import Dense, Layer
from tests.laws import quick
from tests.lowering.running import train, trained, without_dropout
from tests.lowering.test_collect import OPTIMIZERS
from tests.lowering.test_masked import two_maps
from tests.strategies import SEEDS, edits_for, inputs_for, networks

IMAGES = {"x": np.random.default_rng(1).standard_normal((4, 2, 4, 4)).astype(np.float32)}


def entries(network, slot, values):
    """State by what it belongs to: a plain dict from (owner, column, ids, place in the block) to a number."""
    if not slot.is_weight:
        ids = [(int(unit),) for unit in network.units(slot.owner)]
        make = network.layer(slot.owner).name
    else:
        projection = network.projection(slot.owner)
        make = (projection, network.connection_columns(slot.owner).inner)
        links = network.connection_columns(slot.owner).parts.get("links")
        if links is not None:
            ids = [(int(target), int(source)) for source, target in links]
        else:
            targets, sources = network.units(projection.target), network.units(projection.source)
            ids = [(int(target), int(source)) for target in targets for source in sources]
    blocks = slot.spread(values.detach(), network).numpy().reshape(len(ids), -1)
    return {
        (make, slot.column, unit, place): block[place]
        for unit, block in zip(ids, blocks, strict=True)
        for place in range(len(block))
    }


def states(optimizer, network, module, name):
    found = {}
    for slot in slots(network):
        state = optimizer.state.get(slot.tensor(module), {})
        if isinstance(state.get(name), torch.Tensor):
            found |= entries(network, slot, state[name])
    return found


def live(network):
    found = {}
    for slot in slots(network):
        if slot.is_weight:
            found |= entries(network, slot, torch.tensor(network.connection_columns(slot.owner).mask))
    return found


SHAPED = {
    "sgd": ("momentum_buffer",),
    "nesterov": ("momentum_buffer",),
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    "rmsprop": ("square_avg", "momentum_buffer", "grad_avg"),
}


@quick(50)
@given(st.data(), networks(), SEEDS, st.sampled_from(sorted(OPTIMIZERS)))
def test_state_follows_any_edit(data, network, seed, kind):
    inputs = inputs_for(network, 4, np.random.default_rng(seed))
    module, optimizer = trained(network, inputs, OPTIMIZERS[kind])
    network = collect(network, module)
    try:
        edited = data.draw(edits_for(network)).apply(network).network
    except EditError:
        assume(False)
    after = without_dropout(lower(edited))
    carried = carry_optimizer(optimizer, (network, module), (edited, after))
    owned = {id(p) for group in carried.param_groups for p in group["params"]}
    assert owned == {id(p) for p in after.parameters()}
    active = live(edited)
    for name in SHAPED[kind]:
        old, new = states(optimizer, network, module, name), states(carried, edited, after, name)
        for key, value in new.items():
            assert value == (old.get(key, 0.0) if active.get(key, True) else 0.0), (name, key)
        carried_over = {key for key in old if active.get(key, False)}
        assert carried_over <= new.keys()
    train(after, carried, edited, inputs, 1)
    collect(edited, after)


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_training_goes_on_as_if_nothing_had_been_lowered_again(kind):
    network = two_maps()
    whole, _ = trained(network, IMAGES, OPTIMIZERS[kind], steps=6)
    module, optimizer = trained(network, IMAGES, OPTIMIZERS[kind], steps=3)
    half = collect(network, module)
    after = lower(half)
    carried = carry_optimizer(optimizer, (network, module), (half, after))
    assert type(carried) is type(optimizer)
    train(after, carried, half, IMAGES, 3)
    assert collect(half, after) == collect(network, whole)


def test_a_unit_that_leaves_and_returns_comes_back_without_state():
    network = two_maps()
    module, adam = trained(network, IMAGES, OPTIMIZERS["adam"])
    applied = RemoveUnits(layer="y", units=[0]).apply(collect(network, module))
    smaller = lower(applied.network)
    fewer = carry_optimizer(adam, (network, module), (applied.network, smaller))
    restored = applied.inverse.apply(applied.network).network
    back = lower(restored)
    again = carry_optimizer(fewer, (applied.network, smaller), (restored, back))
    slot = next(slot for slot in slots(restored) if slot.owner == "d_to_y")
    state = again.state[slot.tensor(back)]
    assert not state["exp_avg"][0].any()
    mask = torch.tensor(network.connection_columns("d_to_y").mask)
    assert torch.equal(state["exp_avg"][1], adam.state[slot.tensor(module)]["exp_avg"][1] * mask[1])
    assert state["step"] == 3


def test_the_momentum_of_pruned_weights_is_gone_and_that_of_the_others_stays():
    network = two_maps()
    module, sgd = trained(network, IMAGES, OPTIMIZERS["sgd"])
    network = collect(network, module)
    entries = np.flatnonzero(network.connection_columns("c_to_d").mask)[:5]
    pruned = prune_connections(network, {"c_to_d": entries}).apply(network).network
    after = lower(pruned)
    carried = carry_optimizer(sgd, (network, module), (pruned, after))
    slot = next(slot for slot in slots(network) if slot.owner == "c_to_d")
    before, now = (o.state[slot.tensor(m)]["momentum_buffer"].flatten() for o, m in ((sgd, module), (carried, after)))
    assert before[entries].all()
    assert not now[entries].any()
    others = np.setdiff1d(np.arange(len(before)), entries)
    assert torch.equal(now[others], before[others])


def test_a_projection_that_now_reads_another_layer_is_new():
    network = two_maps()
    module, sgd = trained(network, IMAGES, OPTIMIZERS["sgd"])
    network = collect(network, module)
    block = Block.of(network.connection_columns("d_to_y"))
    rewired = Batch(
        edits=(
            RemoveProjection(projection="d_to_y"),
            AddProjection(projection=Dense(source="c", target="y", name="d_to_y"), connections=block),
            AddProjection(projection=Dense(source="d", target="y", name="other"), connections=block),
        )
    ).apply(network).network  # fmt: skip
    after = lower(rewired)
    carried = carry_optimizer(sgd, (network, module), (rewired, after))
    known = {(slot.owner, slot.column) for slot in slots(rewired) if slot.tensor(after) in carried.state}
    assert known == {(name, "bias") for name in "cdy"} | {("x_to_c", "weight"), ("c_to_d", "weight")}
    train(after, carried, rewired, IMAGES, 1)


def groups_of(module, network):
    weights = [slot.tensor(module) for slot in slots(network) if slot.is_weight]
    rest = [slot.tensor(module) for slot in slots(network) if not slot.is_weight]
    return [
        {"params": weights, "lr": 0.1, "weight_decay": 0.01},
        {"params": rest, "lr": 0.2},
        {"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.3},
    ]


def grown(network):
    """A new layer beside c: its parameters are new, and join the groups of their columns."""
    return (
        Batch(
            edits=(
                AddLayer(layer=Layer(name="new", kind="neurons"), ids=[0]),
                AddProjection(
                    projection=Dense(source="d", target="new"),
                    connections=Block(weight=np.ones((1, 3, 3, 3), np.float32), mask=np.ones((1, 3, 3, 3), bool)),
                ),
                AddProjection(
                    projection=Dense(source="new", target="y"),
                    connections=Block(weight=np.ones((2, 1), np.float32), mask=np.ones((2, 1), bool)),
                ),
            )
        )
        .apply(network)
        .network
    )


def test_groups_keep_their_options_and_new_parameters_join_their_like():
    network = two_maps()
    module = lower(network)
    optimizer = torch.optim.SGD(groups_of(module, network), lr=1.0, momentum=0.9)
    optimizer.state[optimizer.param_groups[2]["params"][0]]["momentum_buffer"] = torch.ones(2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    train(module, optimizer, network, IMAGES, 1)
    scheduler.step()
    edited = grown(collect(network, module))
    after = lower(edited)
    carried = carry_optimizer(optimizer, (network, module), (edited, after))
    expected = groups_of(after, edited)
    for place in (0, 1):
        assert {id(p) for p in carried.param_groups[place]["params"]} == {id(p) for p in expected[place]["params"]}
    other = optimizer.param_groups[2]["params"][0]
    assert carried.param_groups[2]["params"][0] is other
    assert carried.state[other]["momentum_buffer"].tolist() == [1.0, 1.0]
    assert [group["weight_decay"] for group in carried.param_groups] == [0.01, 0, 0]
    assert [group["initial_lr"] for group in carried.param_groups] == [0.1, 0.2, 0.3]
    scheduler.optimizer = carried
    train(after, carried, edited, IMAGES, 1)
    scheduler.step()
    assert [group["lr"] for group in carried.param_groups] == pytest.approx([0.025, 0.05, 0.075])


def test_a_group_may_run_empty_and_a_parameter_that_was_left_out_stays_out():
    network = two_maps()
    edited = grown(network)
    wide, narrow = lower(edited), lower(network)
    new = [slot.tensor(wide) for slot in slots(edited) if "new" in slot.owner]
    frozen = wide.layer1.bias
    rest = [p for p in wide.parameters() if all(p is not q for q in (*new, frozen))]
    adam = torch.optim.Adam([{"params": new}, {"params": rest}], lr=0.1)
    train(wide, adam, edited, IMAGES, 1)
    carried = carry_optimizer(adam, (edited, wide), (network, narrow))
    assert carried.param_groups[0]["params"] == []
    assert len(carried.param_groups[1]["params"]) == len(list(narrow.parameters())) - 1
    train(narrow, carried, network, IMAGES, 1)


def test_an_optimizer_over_named_parameters():
    network = two_maps()
    module = lower(network)
    optimizer = torch.optim.AdamW(module.named_parameters(), lr=0.1)
    train(module, optimizer, network, IMAGES, 1)
    after = lower(grown(network))
    carried = carry_optimizer(optimizer, (network, module), (grown(network), after))
    assert len(carried.param_groups[0]["params"]) == len(list(after.parameters()))
    train(after, carried, grown(network), IMAGES, 1)


def test_modules_that_do_not_belong_to_their_networks():
    network = two_maps()
    module = lower(network)
    adam = torch.optim.Adam(module.parameters())
    with pytest.raises(LoweringError, match="expected a module with the layers"):
        carry_optimizer(adam, (network, module), (grown(network), module))


def test_the_old_optimizer_is_left_alone():
    network = two_maps()
    module, adam = trained(network, IMAGES, OPTIMIZERS["adam"])
    before = copy.deepcopy(adam.state_dict())
    after = lower(network)
    carried = carry_optimizer(adam, (network, module), (network, after))
    train(after, carried, network, IMAGES, 2)
    now = adam.state_dict()
    assert before["param_groups"] == now["param_groups"]
    for number, state in before["state"].items():
        assert all(torch.equal(value, now["state"][number][name]) for name, value in state.items())


class Wrapper(torch.optim.SGD):
    def __init__(self, inner):
        super().__init__(inner.param_groups)


class Odd(torch.optim.SGD):
    """An optimizer that keeps a matrix of units by units, as Shampoo does."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["square"] = torch.eye(len(parameter) + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda module: torch.optim.SGD(copy.deepcopy(module).parameters()), "got none of them"),
        (lambda module: Odd(module.parameters()), "cannot follow units"),
        (lambda module: Wrapper(torch.optim.SGD(module.parameters())), "rebuilds"),
    ],
)
def test_optimizers_that_cannot_follow(make, message):
    network = two_maps()
    module = lower(network)
    optimizer = make(module)
    (module(torch.tensor(IMAGES["x"])) ** 2).sum().backward()
    optimizer.step(lambda: (module(torch.tensor(IMAGES["x"])) ** 2).sum())
    with pytest.raises(LoweringError, match=message):
        carry_optimizer(optimizer, (network, module), (network, lower(network)))
