"""A stream that is normalised widens by copies of all its units, and training tells copies apart."""

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

import nestgraph as ng
from nestgraph.edits import split_unit, widen, widen_heads
from nestgraph.errors import EditError
from nestgraph.graph.reference import predict
from tests.edits.test_blocks import characters


def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("times", [2, 3])
def test_a_stream_widens_by_whole_multiples_and_its_normalisations_count_on(times):
    network, ids = characters(gated=True)
    applied = widen(network, "add", 8 * (times - 1), generator()).apply(network)
    wide = applied.network
    assert applied.inverse.apply(wide).network == network
    norms = [layer.operations[0] for layer in map(wide.layer, wide.layer_names) if layer.mixes_units]
    assert {norm.count for norm in norms if norm.kind == "norm"} == {8 * times}
    assert len(wide.units("add")) == len(wide.units("blocks_1_add_2")) == 8 * times
    np.testing.assert_allclose(predict(wide, ids.numpy()), predict(network, ids.numpy()), rtol=0, atol=1e-5)
    with torch.no_grad():
        same = ng.lower(network).eval()(ids)
        for module in (ng.lower(wide).eval(), ng.compact(wide).eval()):
            torch.testing.assert_close(module(ids), same, rtol=0, atol=1e-4)
    assert any("layer_norm" in str(node.target) for node in ng.lower(wide).graph.nodes)  # one call, not two passes


def test_stream_heads_and_hidden_units_double():
    network, ids = characters()
    wide = widen(network, "add", 8, generator()).apply(network).network
    for heads in [name for name in network.layer_names if network.matches(name)]:
        wide = widen_heads(wide, heads, 4, generator(), values=4).apply(wide).network
    for hidden in ("blocks_0_up", "blocks_1_up"):
        wide = widen(wide, hidden, 12, generator()).apply(wide).network
    inside = [name for name in network.layer_names if network.layer(name).classes is None and name != "output"]
    heads = {name for name in inside if network.matches(name)}
    assert all(len(wide.units(name)) == (1 if name in heads else 2) * len(network.units(name)) for name in inside)
    np.testing.assert_allclose(predict(wide, ids.numpy()), predict(network, ids.numpy()), rtol=0, atol=1e-5)


def test_a_part_of_a_normalised_stream_is_refused():
    network, _ = characters()
    with pytest.raises(EditError, match="normalised together, a multiple of 8, got 12"):
        widen(network, "add", 12, generator())
    with pytest.raises(EditError, match="or widen where it is a normalisation of all units together"):
        split_unit(network, "add", 0)


def test_adam_tells_copies_apart():
    network = ng.seeds.mlp((6, 5, 8), density=1.0, seed=0, batch_norm=False)
    wide = widen(network, "fc1", 5, generator()).apply(network).network
    before = wide.connection_columns("input_to_fc1").weight
    rate = 0.01
    bench = ng.Workbench(wide, lambda module: torch.optim.Adam(module.parameters(), rate))
    draw = torch.Generator().manual_seed(0)
    x, wanted = torch.randn(16, 6, generator=draw), torch.randn(16, 8, generator=draw)
    mse_loss(bench.module(x), wanted).backward()
    bench.optimizer.step()
    bench.take_in()
    after = bench.network.connection_columns("input_to_fc1").weight
    twins = [(a, b) for b in range(5, 10) for a in range(5) if np.array_equal(before[a], before[b])]
    assert len(twins) == 5
    apart = [np.abs(after[a] - after[b]).max() for a, b in twins]
    assert max(apart) > rate  # a step of Adam is its rate, up or down: with one share for all weights they go together
