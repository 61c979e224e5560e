"""What follows a parameter through edits besides its values: optimizer, group, name, hooks, whether it trains.

The oracle is PyTorch: a step moves each parameter by the rule of its group, once, and a schedule goes on as it would
have without an edit.
"""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as rates

from nestgraph.edits import insert_batch_norm, remove_units, widen
from nestgraph.errors import LoweringError
from nestgraph.lowering import Workbench, carry_optimizer, collect, lower, slots
from nestgraph.seeds import mlp

NET = mlp((8, 6, 5, 3), density=0.5, seed=0, batch_norm=False)
X, Y = torch.randn(16, 8), torch.randint(3, (16,))


def normed(network):
    """A network with parameters of columns that it had none of: gamma and beta of fc1."""
    return insert_batch_norm(network, "fc1").apply(network).network


def step(module, *optimizers):
    def loss():
        for optimizer in optimizers:
            optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(module(X), Y)
        value.backward()
        return value

    loss()
    for optimizer in optimizers:
        optimizer.step(*([loss] if isinstance(optimizer, torch.optim.LBFGS) else []))


def members(network, module, optimizer):
    """The group of each parameter in an optimizer, by owner and column; fails where one is in two."""
    keys = {id(slot.tensor(module)): (slot.owner, slot.column) for slot in slots(network)}
    found = [(keys[id(p)], place) for place, group in enumerate(optimizer.param_groups) for p in group["params"]]
    assert len(dict(found)) == len(found)
    return dict(found)


KINDS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, amsgrad=True),
    "adamw": torch.optim.AdamW,
    "adafactor": torch.optim.Adafactor,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rprop": torch.optim.Rprop,
    "asgd": torch.optim.ASGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "muon": lambda p: torch.optim.Muon([one for one in p if one.ndim == 2]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 6, 5, 3), (8, 1, 5, 3)])
def test_what_torch_has_goes_on_after_an_edit(kind, shape):
    """State of what stays is the same to the bit, in a parameter's shape or one for a row; what is new has zeros."""
    network = mlp(shape, density=1.0, seed=0, batch_norm=False)
    module = lower(network)
    optimizer = KINDS[kind](module.parameters())
    for _ in range(3):
        step(module, optimizer)
    network = collect(network, module)
    edited = widen(network, "fc1", 2, np.random.default_rng(0)).apply(network).network
    after = lower(edited)
    carried = carry_optimizer(optimizer, (network, module), (edited, after))
    old, new = ({(s.owner, s.column): s.tensor(m) for s in slots(n)} for n, m in ((network, module), (edited, after)))
    for key, parameter in old.items():
        for name, value in optimizer.state.get(parameter, {}).items():
            followed = carried.state[new[key]][name]
            if isinstance(value, torch.Tensor):
                corner = tuple(slice(extent) for extent in value.shape)
                assert torch.equal(followed[corner], value), (key, name)
            else:
                assert followed == value
    step(after, carried)
    collect(edited, after)


@pytest.mark.parametrize("kind", KINDS)
def test_undo_restores_what_torch_has(kind):
    bench = Workbench(NET, lambda module: KINDS[kind](module.parameters()))
    step(bench.module, *bench.optimizers)
    bench.take_in()
    before = bench._kept
    bench.apply(remove_units(bench.network, "fc1", [2]))
    step(bench.module, *bench.optimizers)
    bench.undo()
    bench.undo()
    assert bench.state().same(before)
    step(bench.module, *bench.optimizers)


def test_lbfgs_starts_anew():
    module = lower(NET)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=3)
    step(module, optimizer)
    edited = normed(collect(NET, module))
    after = lower(edited)
    carried = carry_optimizer(optimizer, (NET, module), (edited, after))
    assert not carried.state
    step(after, carried)


# -- groups and optimizers ---------------------------------------------------------------------------------


def weights_and_vectors(module):
    return [[p for p in module.parameters() if p.ndim > 1], [p for p in module.parameters() if p.ndim == 1]]


def by_column(module, network):
    columns = ("weight", "bias")
    return [[slot.tensor(module) for slot in slots(network) if slot.column == column] for column in columns]


def head_and_body(module, network):
    head = [s.tensor(module) for s in slots(network) if s.owner in ("output", "fc2_to_output")]
    return [head, [p for p in module.parameters() if all(p is not one for one in head)]]


def test_vectors_join_vectors():
    module, after = lower(NET), lower(normed(NET))
    groups = [{"params": p, "weight_decay": w} for p, w in zip(weights_and_vectors(module), (0.1, 0.0), strict=True)]
    carried = carry_optimizer(torch.optim.SGD(groups, lr=0.1), (NET, module), (normed(NET), after))
    places = members(normed(NET), after, carried)
    assert places == {key: int(key[1] != "weight") for key in places}
    assert len(places) == len(list(after.parameters()))


@pytest.mark.parametrize("told", [True, False])
def test_a_parameter_joins_one_of_two_optimizers(told):
    module, after = lower(NET), lower(normed(NET))
    head, body = head_and_body(module, NET)
    both = torch.optim.SGD(body, lr=0.1), torch.optim.Adam(head, lr=0.01)
    ends = (NET, module), (normed(NET), after)
    carried = carry_optimizer(both, *ends) if told else [carry_optimizer(one, *ends) for one in both]
    assert [type(one) for one in carried] == [torch.optim.SGD, torch.optim.Adam]
    found = [members(normed(NET), after, one) for one in carried]
    assert not found[0].keys() & found[1].keys()
    assert {("fc1", "gamma"), ("fc1", "beta")} <= found[0].keys()
    assert len(found[0]) + len(found[1]) == len(list(after.parameters()))


def test_an_optimizer_of_matrices_stays_out_of_vectors():
    module, after = lower(NET), lower(normed(NET))
    muon = torch.optim.Muon([p for p in module.parameters() if p.ndim == 2])
    carried = carry_optimizer(muon, (NET, module), (normed(NET), after))
    assert {column for _, column in members(normed(NET), after, carried)} == {"weight"}
    rest = torch.optim.AdamW([p for p in module.parameters() if p.ndim < 2])
    _, other = carry_optimizer((muon, rest), (NET, module), (normed(NET), after))
    assert ("fc1", "gamma") in members(normed(NET), after, other)


def test_a_head_alone_takes_nothing_of_the_body():
    module, after = lower(NET), lower(normed(NET))
    head = torch.optim.SGD(head_and_body(module, NET)[0], lr=0.1)
    carried = carry_optimizer(head, (NET, module), (normed(NET), after))
    assert {owner for owner, _ in members(normed(NET), after, carried)} == {"output", "fc2_to_output"}


def test_a_parameter_in_two_optimizers_is_refused():
    module = lower(NET)
    both = [torch.optim.SGD(module.parameters(), lr=0.1) for _ in range(2)]
    with pytest.raises(LoweringError, match="in one optimizer at most, got the weight of 'input_to_fc1' in two"):
        carry_optimizer(both, (NET, module), (NET, lower(NET)))
    with pytest.raises(LoweringError, match="in one optimizer at most"):
        Workbench(NET, lambda m: [torch.optim.SGD(m.parameters(), lr=0.1) for _ in range(2)])


def test_one_step_moves_every_parameter_once_by_the_rate_of_its_place():
    """lr * gradient, in body and head of rates of their own, after an edit as before it."""
    bench = Workbench(
        NET,
        lambda m: [torch.optim.SGD(part, lr=lr) for part, lr in zip(weights_and_vectors(m), (0.5, 0.25), strict=True)],
    )
    for edit in (None, insert_batch_norm, lambda n, layer: remove_units(n, layer, [1])):
        if edit:
            bench.apply(edit(bench.network, "fc1"))
        before = {name: p.detach().clone() for name, p in bench.module.named_parameters()}
        step(bench.module, *bench.optimizers[:1])
        bench.optimizers[1].step()
        for name, p in bench.module.named_parameters():
            wanted = before[name] - (0.5 if p.ndim > 1 else 0.25) * p.grad
            torch.testing.assert_close(p, wanted, rtol=0, atol=1e-6)


# -- facts of a parameter ----------------------------------------------------------------------------------


def test_what_does_not_train_and_hooks_follow():
    module, seen = lower(NET), []
    weight = module.get_parameter("projection0.weight")
    bias = module.get_parameter("layer1.bias")
    weight.requires_grad_(False)
    handle = bias.register_hook(lambda gradient: seen.append(len(gradient)))
    bias.note = "mine"
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    edited = remove_units(NET, "fc1", [2]).apply(NET).network
    for after in (lower(edited, like=(NET, module)), lower(edited)):
        carry_optimizer(optimizer, (NET, module), (edited, after))
        assert not after.get_parameter("projection0.weight").requires_grad
        assert after.get_parameter("projection1.weight").requires_grad
        assert after.get_parameter("layer1.bias").note == "mine"
        after(X).sum().backward()
        assert seen.pop() == 5
    handle.remove()
    after(X).sum().backward()
    assert not seen


def test_a_bench_keeps_what_does_not_train_there_and_back():
    bench = Workbench(NET, lambda m: torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.1))

    def trains():
        return bench.module.get_parameter("projection0.weight").requires_grad

    bench.module.get_parameter("projection0.weight").requires_grad_(False)
    bench.apply(remove_units(bench.network, "fc1", [2]))
    assert not trains()
    assert len(bench.optimizer.param_groups[0]["params"]) == 5
    assert not bench.branch().module.get_parameter("projection0.weight").requires_grad
    bench.undo()
    assert not trains()
    bench.undo()  # the freezing itself
    assert trains()
    bench.redo()
    bench.redo()
    assert not trains()
    frozen = bench.network.connection_columns("input_to_fc1").weight
    step(bench.module, *bench.optimizers)
    np.testing.assert_array_equal(bench.network.connection_columns("input_to_fc1").weight, frozen)


def test_hooks_and_names_of_optimizers_follow():
    module, calls = lower(NET), []
    optimizer = torch.optim.SGD(module.named_parameters(), lr=0.1)
    handle = optimizer.register_step_post_hook(lambda *_: calls.append(1))
    after = lower(normed(NET))
    carried = carry_optimizer(optimizer, (NET, module), (normed(NET), after))
    names = {id(p): name for name, p in after.named_parameters()}
    (group,) = carried.param_groups
    assert group["param_names"] == [names[id(p)] for p in group["params"]]
    step(after, carried)
    handle.remove()
    step(after, carried)
    assert calls == [1]
    bench = Workbench(NET, lambda m: torch.optim.SGD(m.named_parameters(), lr=0.1))
    bench.optimizer.register_step_post_hook(lambda *_: calls.append(2))
    bench.apply(insert_batch_norm(bench.network, "fc1"))
    for way in (bench.undo, bench.redo):
        way()
        names = {id(p): name for name, p in bench.module.named_parameters()}
        (group,) = bench.optimizer.param_groups
        assert group["param_names"] == [names[id(p)] for p in group["params"]]
    step(bench.module, bench.optimizer)
    assert calls == [1, 2]


# -- schedules ---------------------------------------------------------------------------------------------

SCHEDULES = {
    "sequential": lambda o: rates.SequentialLR(o, [rates.LinearLR(o, 0.1, 1.0, 4), rates.ExponentialLR(o, 0.5)], [4]),
    "chained": lambda o: rates.ChainedScheduler([rates.ConstantLR(o, 0.1, 2), rates.ExponentialLR(o, 0.9)], o),
    "nested": lambda o: rates.SequentialLR(
        o,
        [rates.ChainedScheduler([rates.ConstantLR(o, 0.1, 2), rates.ExponentialLR(o, 0.9)], o), rates.StepLR(o, 1)],
        [3],
    ),
    "lambda": lambda o: rates.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "plateau": lambda o: rates.ReduceLROnPlateau(o, patience=0),
    "one cycle": lambda o: rates.OneCycleLR(o, 1.0, total_steps=20),
    "cosine": lambda o: rates.CosineAnnealingWarmRestarts(o, 3),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_goes_on_as_without_an_edit(kind):
    def told(edit, bench):
        network, module = NET, lower(NET)
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.9)
        held = Workbench(NET, lambda m: torch.optim.SGD(m.parameters(), lr=1.0, momentum=0.9)) if bench else None
        optimizer = held.optimizer if held else optimizer
        scheduler, found = SCHEDULES[kind](optimizer), []
        for number in range(7):
            if edit and number in (2, 5):
                change = remove_units(network, "fc1", [number])
                if held:
                    held.apply(change)
                    network = held.network
                else:
                    ends = (network, module), (change.apply(network).network,)
                    after = lower(ends[1][0])
                    optimizer = carry_optimizer(optimizer, ends[0], (*ends[1], after), [scheduler])
                    network, module = ends[1][0], after
            optimizer.step()
            scheduler.step(*([1.0] if kind == "plateau" else []))
            found.append([optimizer.param_groups[0][name] for name in ("lr", "momentum")])
        return found

    expected = told(False, False)
    assert told(True, False) == expected
    assert told(True, True) == expected


def test_schedulers_that_cannot_follow_are_refused():
    module = lower(NET)
    optimizer, other = (torch.optim.SGD(module.parameters(), lr=0.1) for _ in range(2))
    for scheduler, message in (
        (rates.ExponentialLR(other, 0.5), "got ExponentialLR of another"),
        (lambda: None, "expected schedulers of torch.optim.lr_scheduler, got function"),
    ):
        with pytest.raises(LoweringError, match=message):
            carry_optimizer(optimizer, (NET, module), (NET, lower(NET)), [scheduler])


# -- the bench ---------------------------------------------------------------------------------------------

GETTERS = {
    "network": lambda bench: bench.network,
    "history": lambda bench: bench.history,
    "picture": lambda bench: bench._repr_mimebundle_(),
    "selection": lambda bench: bench.select("fc1"),
    "connections": lambda bench: bench.select_connections().smallest(0.1),
    "preview": lambda bench: bench.preview(remove_units(bench.network, "fc1", [1])),
    "module": lambda bench: (bench.module, bench.optimizer, bench.optimizers),
    "words": repr,
}


@pytest.mark.parametrize("getter", GETTERS)
def test_reading_changes_nothing(getter):
    """Neither what undo goes back to, nor what redo goes on to, nor a bit of what is trained."""

    def gone(read):
        torch.manual_seed(0)
        bench, found = Workbench(NET, lambda m: torch.optim.Adam(m.parameters(), lr=0.1)), []
        bench.apply(remove_units(bench.network, "fc2", [1]))
        for _ in range(3):
            step(bench.module, bench.optimizer)
            read(bench)
        found.append(bench.network.digest)
        found.append(bench.undo().digest)
        read(bench)
        found.append(bench.undo().digest)
        read(bench)
        found += [bench.redo().digest, bench.redo().digest]
        return [*found, [edit.kind for edit in bench.history]]

    assert gone(GETTERS[getter]) == gone(lambda _: None)


def test_training_is_taken_in_or_dropped_when_told():
    bench = Workbench(NET, lambda m: torch.optim.Adam(m.parameters(), lr=0.1))
    assert bench.take_in() is None
    step(bench.module, bench.optimizer)
    trained = bench.network
    assert bench.take_in().network == trained
    assert bench.take_in() is None
    state = bench._kept
    step(bench.module, bench.optimizer)
    assert bench.network != trained
    bench.drop()
    assert bench.network == trained
    assert bench.state().same(state)
    assert [edit.kind for edit in bench.history] == ["set_values"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "got NoneType"),
        (lambda _: [], "to give an optimizer or several, got list"),
        (lambda m: torch.optim.SGD([{"params": [p]} for p in m.parameters()], lr=0.1), r"of \[6\] groups .* got \[8\]"),
    ],
)
def test_makers_that_are_refused(make, message):
    with pytest.raises(LoweringError, match=message):
        Workbench(NET, make).apply(insert_batch_norm(NET, "fc1"))


def test_several_optimizers_are_asked_for_by_name():
    bench = Workbench(NET, lambda m: [torch.optim.SGD(part, lr=0.1) for part in weights_and_vectors(m)])
    assert len(bench.optimizers) == 2
    with pytest.raises(LoweringError, match="of one optimizer, got 2"):
        _ = bench.optimizer
