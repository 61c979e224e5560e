"""An imported module's names and optimizer go on: what one step makes of it, and of its network, is the same."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

import nestgraph as ng
from nestgraph.edits import duplicate_unit, prune_connections, remove_units
from nestgraph.errors import InteropError
from nestgraph.interop.provenance import MODULI, _place
from nestgraph.lowering import lower
from nestgraph.policies import MagnitudePruning, UnitPruning
from tests.laws import quick


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh())
        self.head = nn.Linear(11, 3)

    def forward(self, x):
        return self.head(torch.cat([self.body(x), x], 1))


class Convolutions(nn.Module):
    """Groups, a depthwise convolution, a residual sum, a flattening that a linear map reads, and one unused part."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8 * 4, 3)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        x = x + self.depthwise(self.grouped(x).relu())
        return self.head(functional.max_pool2d(x, 2).flatten(1))


class Foreign(nn.Module):
    """A part that no kind covers."""

    def __init__(self):
        super().__init__()
        self.before, self.norm, self.after = nn.Linear(6, 4), nn.LayerNorm((2, 2)), nn.Linear(4, 3)

    def forward(self, x):
        return self.after(self.norm(self.before(x).view(-1, 2, 2)).flatten(1))


SHAPES = {Perceptron: (7, 6), Convolutions: (7, 3, 4, 4), Foreign: (7, 6)}


def made(kind, seed=0):
    torch.manual_seed(seed)
    module = kind()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5), part.bias.data.normal_(), part.running_mean.normal_()
    return module, torch.randn(SHAPES[kind])


TARGETS = torch.arange(7) % 3

OPTIMIZERS = {
    "momentum": lambda module: torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda module: torch.optim.Adam(module.parameters(), lr=0.01, amsgrad=True),
    "no decay of vectors": lambda module: torch.optim.AdamW(
        [
            {"params": [p for p in module.parameters() if p.ndim > 1], "weight_decay": 0.2},
            {"params": [p for p in module.parameters() if p.ndim < 2], "weight_decay": 0.0, "lr": 0.02},
        ],
        lr=0.01,
    ),
    "named": lambda module: torch.optim.RMSprop(module.named_parameters(), lr=0.005),
}


def step(module, optimizer, x, times=1):
    for _ in range(times):
        optimizer.zero_grad()
        functional.cross_entropy(module(x), TARGETS).backward()
        optimizer.step()


def close(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name].float(), other[name].float(), atol=2e-5, rtol=1e-4), name


@pytest.mark.parametrize("kind", SHAPES)
def test_steps_after_the_takeover_are_those_of_the_module(kind):
    """Weights and statistics under the module's own names, while a scheduler that has the optimizer goes on."""
    module, x = made(kind)
    own = OPTIMIZERS["momentum"](module)
    schedule = torch.optim.lr_scheduler.StepLR(own, 1, 0.5)
    step(module, own, x, 2)
    twin, its_own, its_schedule = copy.deepcopy((module, own, schedule))
    imported = ng.Imported(module, x)
    bench = imported.bench(own)
    assert bench.optimizer is own
    assert imported.network == ng.import_module(module, x)
    close(imported.state_dict(bench.network), module.state_dict())
    for one, optimizer, scheduler in ((bench.module, own, schedule), (twin, its_own, its_schedule)):
        step(one, optimizer, x, 1)
        scheduler.step()
        step(one, optimizer, x, 1)
    counts = {name: value for name, value in twin.state_dict().items() if "num_batches" in name}
    close({**imported.state_dict(bench.network), **counts}, twin.state_dict())


SLOW = {(kind, name) for kind in SHAPES for name in OPTIMIZERS} - {(Convolutions, "adam"), (Perceptron, "named")}
EACH = [pytest.param(*each, marks=[pytest.mark.slow] if each in SLOW else []) for each in product(SHAPES, OPTIMIZERS)]


@pytest.mark.parametrize(("kind", "optimizer"), EACH)
def test_state_and_options_go_on_to_the_bit(kind, optimizer):
    """Each element keeps its moments: a network that holds them as its values gives them back under the names."""
    module, x = made(kind)
    own = OPTIMIZERS[optimizer](module)
    step(module, own, x, 2)
    moments = {p: dict(own.state[p]) for p in module.parameters()}
    options = [{name: value for name, value in group.items() if "param" not in name} for group in own.param_groups]
    imported = ng.Imported(module, x)
    bench = imported.bench(own)
    assert [{n: v for n, v in group.items() if "param" not in n} for group in own.param_groups] == options
    assert {id(p) for p in bench.module.parameters()} == {id(p) for group in own.param_groups for p in group["params"]}
    entries = {name for held in moments.values() for name, value in held.items() if value.ndim}
    assert entries
    for entry in entries:
        values = copy.deepcopy(bench.module)
        for held, parameter in zip(values.parameters(), bench.module.parameters(), strict=True):
            held.data.copy_(own.state[parameter][entry])
        found = imported.state_dict(ng.collect(bench.network, values))
        for name, parameter in module.named_parameters():
            assert torch.equal(found[name], moments[parameter][entry]), (name, entry)
    steps = {float(held["step"]) for held in own.state.values() if "step" in held}
    assert steps == {float(held["step"]) for held in moments.values() if "step" in held}


@pytest.mark.parametrize("kind", SHAPES)
def test_what_was_pruned_goes_back_into_the_module(kind):
    """Connections and whole units: the module then computes what the network does."""
    module, x = made(kind)
    imported = ng.Imported(module, x)
    bench = imported.bench(torch.optim.AdamW(module.parameters(), lr=0.01))
    loss = functional.cross_entropy
    for number, policy in enumerate((MagnitudePruning(fraction=0.3), UnitPruning(fraction=0.3))):
        step(bench.module, bench.optimizer, x, 2)
        evidence = ng.gather(bench.network, [(x, TARGETS)], loss, policy.needs)
        bench.apply(policy.propose(bench.network, evidence, np.random.default_rng(number)))
    step(bench.module, bench.optimizer, x, 1)
    assert bench.network.connection_count < imported.network.connection_count
    module.load_state_dict(imported.state_dict(bench.network))
    with torch.no_grad():
        assert torch.allclose(module.eval()(x), bench.module.eval()(x), atol=1e-5)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_state_of_the_module_comes_into_the_network(kind):
    module, x = made(kind)
    imported = ng.Imported(module, x)
    other, _ = made(kind, seed=1)
    edit = imported.values(imported.network, other.state_dict())
    network = edit.apply(imported.network).network
    with torch.no_grad():
        assert torch.allclose(lower(network).eval()(x), other.eval()(x), atol=1e-5)
    close(imported.state_dict(network), other.state_dict())
    if kind is Perceptron:
        hidden = next(name for name in network.layer_names if len(network.units(name)) == 5)
        pruned = remove_units(network, hidden, [2]).apply(network).network
        again = imported.values(pruned, imported.state_dict(pruned)).apply(pruned).network
        assert again == pruned


def test_shared_weights_go_back_while_their_copies_agree():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(4, 4)
            self.two = nn.Linear(4, 4)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.two(self.one(x).relu())

    module = Tied()
    imported = ng.Imported(module, torch.randn(2, 4))
    close(imported.state_dict(imported.network), module.state_dict())
    bench = imported.bench(torch.optim.SGD(module.parameters(), lr=0.5))
    bench.module(torch.randn(3, 4)).sum().backward()
    bench.optimizer.step()
    with pytest.raises(InteropError, match=r"expected copies of 'one.weight' that agree, got others: weights that"):
        imported.state_dict(bench.network)


def test_weights_that_are_computed_have_no_place():
    module = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 2))
    imported = ng.Imported(module, torch.randn(2, 4))
    close(imported.state_dict(imported.network), module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = [group["params"][:] for group in optimizer.param_groups]
    with pytest.raises(InteropError, match=r"got '0\.parametrizations\.weight\.original\d', which the module computes"):
        imported.bench(optimizer)
    assert all(a is b for a, b in zip(optimizer.param_groups[0]["params"], before[0], strict=True))
    name = imported.network.projection_names[0]
    doubled = ng.edits.SetValues(weights={name: 2 * imported.network.connection_columns(name).weight.reshape(-1)})
    with pytest.raises(InteropError, match=r"expected the weight of .* as it was imported, got other values"):
        imported.state_dict(doubled.apply(imported.network).network)


def test_slopes_go_back_and_train_on_under_the_module_s_optimizer():
    module = nn.Sequential(nn.Linear(4, 3), nn.PReLU(3), nn.Linear(3, 2))
    x, own = torch.randn(5, 4), torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    imported = ng.Imported(module, x)
    close(imported.state_dict(imported.network), module.state_dict())
    bench = imported.bench(torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9))
    for each, optimizer in ((module, own), (bench.module, bench.optimizer)):
        (each(x) ** 2).sum().backward()
        optimizer.step()
    close(imported.state_dict(bench.network), module.state_dict())


def test_what_the_module_turns_goes_back_and_has_no_optimizer():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.shift, self.last = nn.Linear(4, 3), nn.Parameter(torch.ones(3)), nn.Linear(3, 2)

        def forward(self, x):
            return self.last(torch.relu(self.inner(x) - self.shift))

    module = Turned()
    imported = ng.Imported(module, torch.randn(2, 4))
    close(imported.state_dict(imported.network), module.state_dict())
    with pytest.raises(InteropError, match=r"got 'shift', which the module computes with, turns or does not use"):
        imported.bench(torch.optim.SGD(module.parameters(), lr=0.1))


def test_pruned_modules_keep_what_their_masks_leave():
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    prune.random_unstructured(module[0], "weight", 0.4)
    x = torch.randn(3, 6)
    imported = ng.Imported(module, x)
    own = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    (module(x) ** 2).sum().backward()
    own.step()
    imported = ng.Imported(module, x)
    bench = imported.bench(own)
    (bench.module(x) ** 2).sum().backward()
    own.step()
    state = imported.state_dict(bench.network)
    assert "0.weight_orig" in state
    module.load_state_dict(state)
    with torch.no_grad():
        assert torch.allclose(module(x), bench.module(x), atol=1e-5)


def test_what_the_module_has_no_room_for_is_told():
    module, x = made(Perceptron)
    imported = ng.Imported(module, x)
    network = imported.network
    layer = next(name for name in network.layer_names if len(network.units(name)) == 5)
    grown = duplicate_unit(network, layer, 0)
    with pytest.raises(InteropError, match="room for, got unit 5 of layer"):
        imported.state_dict(grown.apply(network).network)
    with pytest.raises(InteropError, match=r"'body\.0\.weight' of shape \(8, 6\) in it, got none"):
        imported.values(network, {})
    foreign = torch.optim.SGD([nn.Parameter(torch.zeros(3))], lr=0.1)
    with pytest.raises(InteropError, match=r"module that was imported, got one of shape \(3,\) that is none"):
        imported.bench(foreign)
    own = torch.optim.Adafactor(module.parameters())
    step(module, own, x)
    with pytest.raises(InteropError, match="bench expected state of the shape of its parameter, got 'row_var'"):
        imported.bench(own)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_modules_of_other_precisions_go_on_in_single_and_get_theirs_back(kind):
    module, x = made(Perceptron)
    module, x = module.to(kind), x.to(kind)
    own = OPTIMIZERS["momentum"](module)
    step(module, own, x, 2)
    imported = ng.Imported(module, x)
    close(imported.state_dict(imported.network), module.state_dict())
    bench = imported.bench(own)
    step(bench.module, own, x.float(), 2)
    assert {held["momentum_buffer"].dtype for held in own.state.values()} == {torch.float32}
    state = imported.state_dict(bench.network)
    assert {name: value.dtype for name, value in state.items()} == {n: v.dtype for n, v in module.state_dict().items()}
    module.load_state_dict(state)


def test_new_units_join_the_groups_of_their_like():
    module, x = made(Perceptron)
    own = OPTIMIZERS["no decay of vectors"](module)
    step(module, own, x)
    bench = ng.Imported(module, x).bench(own)
    name = next(name for name in bench.network.projection_names)
    bench.apply(prune_connections(bench.network, {name: [0, 9]}))
    step(bench.module, own, x)
    ranks = [{p.ndim for p in group["params"]} for group in own.param_groups]
    assert ranks == [{2}, {1}]
    assert [group["weight_decay"] for group in own.param_groups] == [0.2, 0.0]


@quick()
@given(st.integers(0, MODULI[0] * MODULI[1] - 1))
def test_what_is_left_of_a_place_tells_it(place):
    assert _place(*(np.array([place % modulus]) for modulus in MODULI)) == [place]
