"""Bodies of opaque layers train as the modules that they came from, and go back and forth with edits to the bit."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from nestgraph.edits import Editor, diff, freeze, prune_connections, thaw
from nestgraph.errors import EditError, LoweringError
from nestgraph.graph import cost, difference
from nestgraph.graph.reference import predict
from nestgraph.interop import import_module
from nestgraph.lowering import (
    Workbench,
    carry_optimizer,
    collect,
    lower,
    network_of,
    slots,
    trained_values,
)
from nestgraph.lowering.compact import compact
from nestgraph.lowering.states import OptimizerState
from nestgraph.snapshot import from_bytes, to_bytes


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.lstm, self.head = nn.Linear(6, 12), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.lstm(torch.tanh(self.first(x)).view(-1, 3, 4))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.attention = nn.Linear(6, 12), nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        tokens = self.first(x).view(-1, 3, 4)
        return self.head((tokens + self.attention(tokens, tokens, tokens)[0]).flatten(1))


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = (
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4, track_running_stats=False),
            nn.Linear(16, 2),
        )

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.first(x[:, None, None, :4].expand(-1, 1, 4, 4)))).flatten(1))


class Branching(nn.Module):
    """What cannot be traced, with a normalisation whose statistics move."""

    def __init__(self):
        super().__init__()
        self.inner, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)

    def forward(self, x):
        return torch.sort(self.norm(self.inner(x)) if x.sum() > -1e9 else x, 1).values


class Counting(nn.Module):
    """Embeds what it finds in its input, and scales by a bare parameter."""

    def __init__(self):
        super().__init__()
        self.table, self.scale, self.head = nn.Embedding(8, 5), nn.Parameter(torch.ones(5)), nn.Linear(11, 2)

    def forward(self, x):
        found = self.table((x.abs() * 2).long().clamp(max=7)).mean(1)
        return self.head(torch.cat([torch.softmax(found * self.scale, 1), x], 1))


def twice():
    """One kind of body behind itself, each with parameters of its own."""
    return nn.Sequential(nn.Linear(6, 6), Branching(), nn.Linear(6, 6), Branching(), nn.Linear(6, 2))


KINDS = {
    "lstm": Recurrent,
    "attention": Attentive,
    "group_norm": Grouped,
    "embedding": Counting,
    "untraced": lambda: nn.Sequential(nn.Linear(6, 6), Branching(), nn.Linear(6, 2)),
    "twice": twice,
}
X = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))


def adam(module):
    return torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=0.01)


def steps(module, optimizer, count=3):
    for _ in range(count):
        optimizer.zero_grad()
        module(X).square().sum().backward()
        optimizer.step()


def imported(kind, frozen=()):
    torch.manual_seed(0)
    module = KINDS[kind]()
    for name in frozen:
        module.get_parameter(name).requires_grad_(False)
    network = import_module(module, X[:2])
    assert network.bodies
    return module, network


def values(network):
    """What the bodies hold, as copies."""
    return {name: {c: body.values(c).copy() for c in body.tensors} for name, body in network.bodies.items()}


def same(one, other):
    flat = [[(n, c, array) for n, held in sorted(side.items()) for c, array in held.items()] for side in (one, other)]
    return all(a[:2] == b[:2] and np.array_equal(a[2], b[2]) for a, b in zip(*flat, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_training_moves_bodies_as_it_moves_the_module(kind):
    module, network = imported(kind)
    before, lowered = values(network), lower(network)
    assert cost(network).total.parameters == sum(p.numel() for p in module.parameters())
    steps(module.train(), adam(module))
    steps(lowered, adam(lowered))
    module.eval()
    torch.testing.assert_close(lowered.eval()(X), module(X), rtol=1e-5, atol=1e-5)
    after = collect(network, lowered)
    np.testing.assert_allclose(predict(after, X.numpy()), module(X).detach().numpy(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compact(after)(X), module(X), rtol=1e-4, atol=1e-5)
    known = [t.detach() for t in (*module.parameters(), *module.buffers())]
    for path, tensor in (held for body in after.bodies.values() for held in body.tensors.values()):
        alike = [t for t in known if t.shape == tensor.shape and t.dtype == tensor.dtype]
        assert "index" in path or any(torch.allclose(t, tensor, atol=1e-5) for t in alike)
    assert same(values(network), before)  # networks are values
    assert not any(difference(network, network).layers[name].body for name in network.bodies)
    assert any(difference(network, after).layers[name].body for name in network.bodies)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_undone_and_redone_to_the_bit(kind):
    _, network = imported(kind)
    bench = Workbench(network, adam)
    steps(bench.module, bench.optimizer)
    bench.take_in()
    trained, state = bench.network, OptimizerState.of(bench.optimizer, bench.network, bench.module)
    assert not same(values(trained), values(network))
    assert same(values(bench.undo()), values(network))
    assert same(values(collect(network, bench.module)), values(network))
    assert same(values(bench.redo()), values(trained))
    assert same(values(collect(trained, bench.module)), values(trained))
    assert OptimizerState.of(bench.optimizer, bench.network, bench.module).same(state)
    steps(bench.module, bench.optimizer)
    bench.drop()
    assert same(values(bench.network), values(trained))
    twin = bench.branch()
    steps(twin.module, twin.optimizer)
    assert same(values(bench.network), values(trained))
    assert same(values(collect(trained, bench.module)), values(trained))
    other = Editor(network)
    other.replay(bench.history)
    assert same(values(other.network), values(trained))
    assert same(values(diff(trained, network).apply(trained).network), values(network))


def pruned(network):
    """An edit that takes a connection into the output, which leaves all units alive."""
    name = network.projection_names[-1]
    return prune_connections(network, {name: np.flatnonzero(network.connection_columns(name).mask)[:1]})


def inside(network, module):
    """The parameters and buffers of bodies."""
    return {(slot.owner, slot.column): slot.tensor(module) for slot in slots(network) if slot.is_body}


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_carries_bodies_and_the_state_of_their_optimizer(kind):
    _, network = imported(kind)
    module = lower(network)
    optimizer = adam(module)
    steps(module, optimizer)
    trained = collect(network, module)
    edited = pruned(trained).apply(trained).network
    assert all(edited.bodies[name] is body for name, body in trained.bodies.items())
    fresh = lower(edited)
    carried = carry_optimizer(optimizer, (trained, module), (edited, fresh))
    old, new = inside(trained, module), inside(edited, fresh)
    assert old.keys() == new.keys()
    for key, tensor in new.items():
        assert tensor is not old[key]
        assert torch.equal(tensor, old[key])
        if isinstance(tensor, nn.Parameter) and old[key] in optimizer.state:
            for entry, value in optimizer.state[old[key]].items():
                assert torch.equal(carried.state[tensor][entry], value)
    again = lower(edited, like=(trained, module))
    assert all(tensor is old[key] for key, tensor in inside(edited, again).items())
    assert again.training
    bench = Workbench(network, adam)
    steps(bench.module, bench.optimizer)
    count = len(bench.optimizer.state)
    bench.apply(pruned(bench.network))
    assert len(bench.optimizer.state) == count
    steps(bench.module, bench.optimizer)
    bench.undo()
    bench.undo()
    assert same(values(bench.undo()), values(network))


@pytest.mark.parametrize("kind", KINDS)
def test_modules_of_a_network_share_nothing_and_are_copied_whole(kind):
    _, network = imported(kind)
    module, other = lower(network), lower(network)
    steps(module, adam(module))
    assert same(values(collect(network, other)), values(network))
    trained = values(collect(network, module))
    other.load_state_dict(module.state_dict())
    for twin in (other, copy.deepcopy(module), pickle.loads(pickle.dumps(module)), copy.deepcopy(module).double()):
        assert same(values(network_of(twin)), trained)
        steps(twin, adam(twin), 0 if next(twin.parameters()).dtype == torch.float64 else 1)
    assert same(values(network_of(module)), trained)
    assert pickle.loads(pickle.dumps(network)).bodies == network.bodies


@pytest.mark.parametrize(
    ("kind", "frozen"), [("lstm", "lstm.weight_hh_l0"), ("group_norm", "norm.weight"), ("untraced", "1.inner.bias")]
)
def test_what_does_not_train_of_a_module_does_not_train_here(kind, frozen):
    module, network = imported(kind, [frozen])
    lowered = lower(network)
    resting = [path for path, parameter in lowered.named_parameters() if not parameter.requires_grad]
    assert [path.rpartition(".")[2] for path in resting] == [frozen.rpartition(".")[2]]
    steps(module.train(), adam(module))
    steps(lowered, adam(lowered))
    torch.testing.assert_close(lowered.eval()(X), module.eval()(X), rtol=1e-5, atol=1e-5)
    inference = import_module(module.requires_grad_(False), X[:2])
    assert all(parameter.requires_grad for parameter in lower(inference).parameters())


def test_a_body_is_frozen_and_thawed_by_edits():
    _, network = imported("lstm", ["lstm.weight_hh_l0"])
    bench = Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))

    def trains():
        return [
            slot.column for slot in slots(bench.network) if slot.is_body and slot.tensor(bench.module).requires_grad
        ]

    known = trains()
    assert len(known) == 3
    bench.apply(freeze(bench.network, "getitem"))
    assert bench.network.digest != network.digest
    assert not trains()
    assert from_bytes(to_bytes(bench.network)) == bench.network
    bench.apply(thaw(bench.network, "getitem"))
    assert trains() == known
    assert bench.network == network
    bench.undo()
    assert not trains()
    bench.undo()
    assert trains() == known


@pytest.mark.parametrize(
    ("kind", "flops"),
    [("lstm", 3 * 2 * 4 * 5 * (4 + 5)), ("attention", 3 * 2 * 4 * 4 * 4 + 2 * 2 * 3 * 3 * 4), ("untraced", None)],
)
def test_flops_of_bodies_are_counted_or_named(kind, flops):
    _, network = imported(kind)
    found = cost(network)
    inside = sum(found.by_layer[name].flops for name in network.bodies)
    assert inside == (flops or 0)
    assert bool(found.unmeasured) == ("not those of 1 opaque layer" in network.summary()) == (flops is None)
    assert cost(from_bytes(to_bytes(network))).unmeasured == tuple(network.bodies)


def test_statistics_of_bodies_move_in_training_alone():
    _, network = imported("untraced")
    module = lower(network).eval()
    module(X)
    assert same(values(collect(network, module)), values(network))
    module.train()(X)
    after = collect(network, module)
    ((name, body),) = after.bodies.items()
    known = values(network)[name]
    moved = [
        path for column, (path, _) in body.tensors.items() if not np.array_equal(known[column], body.values(column))
    ]
    assert {path.rpartition(".")[2] for path in moved} == {"running_mean", "running_var", "num_batches_tracked"}
    assert after == network  # no digest covers what no file holds
    assert difference(network, after)
    assert not difference(network, from_bytes(to_bytes(after)))


def test_what_cannot_be_taken_back_is_refused():
    _, network = imported("lstm")
    module = lower(network)
    steps(module, adam(module))
    edit, bare = trained_values(network, module), from_bytes(to_bytes(network))
    assert type(edit).model_validate_json(edit.model_dump_json()) == edit
    with pytest.raises(EditError, match="expected a network that holds the body of 'getitem'"):
        edit.apply(bare)
    other = Recurrent()
    other.lstm = nn.LSTM(4, 5, 2, batch_first=True)
    with pytest.raises((LoweringError, RuntimeError)):
        lower(import_module(other, X[:2])).load_state_dict(module.state_dict())
    next(s.tensor(module) for s in slots(network) if s.is_body).data.fill_(float("nan"))
    with pytest.raises(LoweringError, match=r"body of 'getitem': expected finite values"):
        collect(network, module)
