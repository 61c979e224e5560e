"""What each of several processes does that train one network in shards; each compares itself with one process alone."""

import numpy as np
import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn import functional

from nestgraph import seeds
from nestgraph.edits import RemoveUnits, freeze, grow_unit, prune_connections, remove_units, thaw, widen
from nestgraph.errors import LoweringError
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.reduced import reduce_statistics
from nestgraph.parallel.sharded import ShardedBench
from nestgraph.spec.arrays import same_bits

CASES = {}


def case(function):
    """A case, by the name of its function."""
    CASES[function.__name__] = function
    return function


def in_shards(name, ranks, _):
    """Do one case on all processes; it raises what is wrong."""
    torch.set_num_threads(1)
    CASES[name](init_device_mesh("cpu", (ranks.count,)))


class Alone(Workbench):
    """A bench that has all values itself, and adds statistics up as those in shards do, which rounds otherwise."""

    def _anew(self, network, like=None):
        module = super()._anew(network, like)
        reduce_statistics(module)
        return module


def adam(module):
    return torch.optim.Adam(module.parameters(), 0.02)


def decaying(module):
    weights = [p for p in module.parameters() if p.ndim > 1]
    rest = [p for p in module.parameters() if p.ndim == 1]
    return torch.optim.AdamW([{"params": weights, "weight_decay": 0.1}, {"params": rest, "lr": 0.1}], 0.02)


def momentum(module):
    return torch.optim.SGD(module.parameters(), 0.05, 0.9)


def dense(widths=(6, 5, 1, 3)):
    """A network of which a layer has fewer units than there are processes."""
    return seeds.mlp(widths, density=0.7, seed=0)


def maps():
    """Maps, a normalisation and neurons."""
    return seeds.cnn((3, 4), (5,), density=0.6, seed=1, size=8, classes=4)


def batch(network, count=8, seed=0):
    """Samples and their classes."""
    rng, classes = np.random.default_rng(seed), len(network.units(network.output_names[0]))
    layer = network.layer(network.input_names[0])
    inputs = rng.standard_normal((count, layer.features, *(layer.size or ()))).astype(np.float32)
    return torch.tensor(inputs), torch.tensor(rng.integers(0, classes, count))


def learn(bench, samples, steps=2):
    """A few steps of an ordinary loop."""
    for _ in range(steps):
        bench.optimizer.zero_grad()
        functional.cross_entropy(bench.module(samples[0]), samples[1]).backward()
        bench.optimizer.step()


def check_equal(one, many, zeros=0):
    """What one process has is what several have, to the bit.

    Args:
        one: a bench of one process.
        many: that of several.
        zeros: what is added to states: 0.0 where zeros may have either sign, as where one side holds groups alone.
    """
    assert one.network.digest == many.network.digest
    states = one.state(), many.state()
    assert states[0].record == states[1].record
    mine, other = (state.arrays for state in states)
    assert mine.keys() == other.keys()
    assert [name for name in mine if not same_bits(mine[name] + zeros, other[name] + zeros)] == []


def edits_of(network):
    """A unit goes, units come, connections go, in a hidden layer."""
    layer = network.layer_names[1]
    rng = np.random.default_rng(3)
    into = next(p.name for p in network.incoming(layer))
    out = next(p.name for p in network.outgoing(layer))

    def grown(net):
        weights = {
            into: rng.standard_normal(net.connection_columns(into).weight.shape[1:]),
            out: rng.standard_normal(net.connection_columns(out).weight[:, 0].shape),
        }
        return grow_unit(net, layer, weights)

    yield lambda net: remove_units(net, layer, net.units(layer)[1:2])
    yield grown
    yield lambda net: prune_connections(net, {into: np.flatnonzero(net.connection_columns(into).mask)[::5]})
    yield lambda net: widen(net, layer, 2, rng)


def same_batches(network, make, mesh):
    """The mean of two equal gradients is that gradient: nothing rounds, so all is as in one process."""
    one, many = Alone(network, make, execution="masked"), ShardedBench(network, make, mesh)
    whole = sum(p.numel() for p in one.module.parameters())
    parts = torch.tensor(sum(p.to_local().numel() for p in many.module.parameters()))
    distributed.all_reduce(parts)
    assert int(parts) == whole
    optimizer, samples = many.optimizer, batch(network)
    check_equal(one, many)
    for edit in edits_of(network):
        for bench in (one, many):
            learn(bench, samples)
        made = edit(one.network)
        for bench in (one, many):
            bench.apply(made)
        check_equal(one, many)
        with torch.no_grad():
            assert torch.equal(many.module.eval()(samples[0]), one.module.eval()(samples[0]))
        for bench in (one, many):
            bench.module.train()
        check_equal(one, many)  # what was gathered to compute is let go of
    for _ in range(3):
        for bench in (one, many):
            bench.undo()
        check_equal(one, many)
    for bench in (one, many):
        bench.redo()
        learn(bench, samples)
    check_equal(one, many)
    twins = one.branch(), many.branch()
    for bench in twins:
        learn(bench, samples)
    check_equal(*twins)
    check_equal(one, many)
    assert many.optimizer is optimizer


@case
def a_unit_goes_and_units_come(mesh):
    """See `same_batches`."""
    same_batches(dense(), adam, mesh)


@case
def maps_go_and_come(mesh):
    """See `same_batches`."""
    same_batches(maps(), momentum, mesh)


@case
def groups_of_parameters(mesh):
    """See `same_batches`."""
    same_batches(dense(), decaying, mesh)


@case
def parts_of_a_batch(mesh):
    """Each process has a part of the batch: rounding enters where gradients are added up, and nowhere else."""
    network = seeds.mlp((6, 7, 5, 3), density=0.7, seed=0)
    one, many, samples = Workbench(network, momentum), ShardedBench(network, momentum, mesh), batch(network)
    own = [part.chunk(mesh.size())[mesh.get_local_rank()] for part in samples]
    for bench, part in ((one, samples), (many, own)):
        learn(bench, part, 3)
    network, other = many.network, one.network
    for layer in network.layer_names[1:]:
        for projection in network.incoming(layer):
            pair = [net.connection_columns(projection.name).weight for net in (network, other)]
            assert np.allclose(*pair, rtol=0, atol=1e-4)  # a wrong mean is off by as much as a step, 0.01 and more
    one = Workbench(network, momentum, execution="masked")
    one.load(network, many.state())
    check_equal(one, many)
    for edit in edits_of(network):
        made = edit(many.network)
        for bench in (one, many):
            bench.apply(made)
        check_equal(one, many)
    learn(one, samples)
    many.load(one.network, one.state())
    check_equal(one, many)


@case
def statistics(mesh):
    """Running statistics are those of the whole batch, in all processes alike."""
    network, samples = dense(), batch(dense())
    alone, many = Workbench(network, adam), ShardedBench(network, adam, mesh)
    alone.module(samples[0])
    many.module(samples[0].chunk(mesh.size())[mesh.get_local_rank()])
    for column in ("mean", "variance"):
        found, expected = (b.network.unit_columns(network.layer_names[1]).values[column] for b in (many, alone))
        assert np.allclose(found, expected, atol=1e-5)
        assert not np.allclose(found, network.unit_columns(network.layer_names[1]).values[column], atol=1e-3)
    many.apply(remove_units(many.network, network.layer_names[1], [0]))  # where digests are compared


@case
def apart(mesh):
    """What one process does otherwise is told in all, before anything is changed."""
    rank = mesh.get_local_rank()
    with pytest.raises(LoweringError, match=r"a network to begin with that is the same in all .* another in process 1"):
        ShardedBench(seeds.mlp((4, 3, 2), seed=rank), adam, mesh)
    network = seeds.mlp((4, 5, 2), seed=0)
    many = ShardedBench(network, adam, mesh)
    layer = network.layer_names[1]
    with pytest.raises(LoweringError, match=r"the edit RemoveUnits that is the same in all .* another in process 1"):
        many.apply(RemoveUnits(layer=layer, units=network.units(layer)[rank : rank + 1]))
    assert many.network == network
    for kind in (torch.optim.Adafactor, torch.optim.LBFGS):
        with pytest.raises(LoweringError, match=f"an optimizer that works in shards, got {kind.__name__}"):
            ShardedBench(network, lambda module, kind=kind: kind(module.parameters(), 0.01), mesh)
    with pytest.raises(LoweringError, match="a mesh of one dimension of all processes, got one of 2"):
        ShardedBench(network, adam, init_device_mesh("cpu", (1, mesh.size())))
    many.apply(RemoveUnits(layer=layer, units=network.units(layer)[:1]))


@case
def others(mesh):
    """Optimizers of other kinds, hooks of one's own, and what does not train."""

    def muon(module):
        matrices = [p for p in module.parameters() if p.ndim == 2]
        rest = [p for p in module.parameters() if p.ndim != 2]
        return torch.optim.Muon(matrices, 0.1), torch.optim.SGD(rest, 0.01)

    network = seeds.mlp((6, 8, 6, 3), density=0.5, seed=0)
    many, samples, called = ShardedBench(network, muon, mesh), batch(network), []
    first = network.projection_names[0]
    weight = many.module.get_parameter("projection0.weight")
    weight.register_post_accumulate_grad_hook(lambda parameter: called.append(parameter))
    many.module.get_parameter("projection1.weight").requires_grad_(False)
    for edit in edits_of(network):
        functional.cross_entropy(many.module(samples[0]), samples[1]).backward()
        for optimizer in many.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        for name, mask in ((name, many.edited.connection_columns(name).mask) for name in network.projection_names):
            held = many.module.get_parameter(f"projection{network.projection_names.index(name)}.weight").full_tensor()
            assert not held.detach()[torch.tensor(~mask)].any(), name
        many.apply(edit(many.network))
        assert not many.module.get_parameter("projection1.weight").requires_grad
    assert len(called) == 4
    frozen = freeze(network, network.layer_names[1]).apply(network).network
    one, many = Alone(frozen, momentum, execution="masked"), ShardedBench(frozen, momentum, mesh)
    for bench in (one, many):
        learn(bench, samples)
        bench.apply(thaw(bench.network, network.layer_names[1]))
        learn(bench, samples)
    check_equal(one, many)
    assert many.edited.connection_columns(first).active


@case
def bytes_of_an_edit(mesh):
    """What is gathered for an edit is a few times what trains; what stays in a process is its share, and the masks'."""
    network, gathered = seeds.mlp((64, 128, 128, 10), density=0.1, seed=0), []
    many, samples = ShardedBench(network, adam, mesh), batch(network)
    learn(many, samples)

    real = DTensor.full_tensor

    def counted(tensor, **options):
        gathered.append(tensor.numel() * tensor.element_size())
        return real(tensor, **options)

    held = list(many.module.parameters())
    own = sum(p.to_local().numel() for p in held)
    total = sum(p.numel() for p in held)
    assert own <= total / mesh.size() + sum(p[:1].numel() for p in held)
    moments = [t for state in many.optimizer.state.values() for t in state.values() if t.ndim]
    assert sum(t.to_local().numel() for t in moments) == 2 * own
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DTensor, "full_tensor", counted)
        many.apply(remove_units(many.edited, network.layer_names[1], [0]))
    told = round(sum(gathered) / 4 / total, 2)
    if mesh.get_rank() == 0:
        print(f"{mesh.size()} processes: {own} of {total} parameters each; {told} numbers a parameter for an edit")
    assert told <= 7


@case
def anything(mesh):
    """Networks of every form, and edits that fit, drawn alike in all processes."""
    from hypothesis import HealthCheck, Phase, given, settings  # here: the other cases are quick without
    from hypothesis import strategies as st

    from tests.laws import unless_refused
    from tests.lowering.running import train, without_dropout
    from tests.strategies import SEEDS, edits_for, inputs_for, networks

    tried = []

    @settings(
        max_examples=30,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data(), network=networks(), seed=SEEDS)
    def law(data, network, seed):
        inputs = inputs_for(network, 4, np.random.default_rng(seed))
        one, many = Workbench(network, momentum, execution="masked"), ShardedBench(network, momentum, mesh)
        for _ in range(2):
            edit = data.draw(edits_for(one.edited))
            if not unless_refused(lambda edit=edit, one=one: one.apply(edit)):
                continue
            many.apply(edit)
            assert one.network.digest == many.network.digest
            for bench in (one, many):
                without_dropout(bench.module)
                train(bench.module, bench.optimizer, bench.edited, inputs, 2)
            state = many.state()
            alone = Workbench(many.edited, momentum, execution="masked")
            alone.load(many.network, state)
            one = alone
            check_equal(one, many, 0.0)
            tried.append(edit.kind)

    law()
    assert len(tried) >= 15
    assert len(set(tried)) >= 5
