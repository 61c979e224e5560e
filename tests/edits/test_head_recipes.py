"""Heads are split, widened, narrowed and removed, and units beside them are copied, on attention as people write it."""

import numpy as np
import pytest
import torch

import nestgraph as ng
from nestgraph.edits import duplicate_unit, narrow, remove_heads, split_head, split_unit, widen, widen_heads
from nestgraph.errors import EditError
from nestgraph.graph.heads import linked_pairs, links_of, together
from nestgraph.graph.reference import predict
from tests.edits.test_coupling import merged
from tests.edits.test_islands import units_apart
from tests.interop.test_attention import assert_all_agree, heads_of, imported
from tests.strategies.recipes import hidden_layers

APART = ("fused", "grouped", "one key for all")
"""Queries, keys and values in layers of their own."""


def side(network, words):
    return next(match for match in network.matches(heads_of(network)) if match.words == words)


def widths(network, words):
    """By head, how many slots have a unit on a side."""
    heads, counts = np.unique(links_of(network, side(network, words)).ids(0), return_counts=True)
    return dict(zip(heads.tolist(), counts.tolist(), strict=True))


def moved(before, after, x):
    return float(np.abs(predict(after, x.numpy()) - predict(before, x.numpy())).max())


@pytest.mark.parametrize("case", [*APART, "packed"])
def test_a_split_head_gives_the_same_and_merges_back(case):
    _, x, network = imported(case)
    heads = heads_of(network)
    wide = split_head(network, heads, 1).apply(network).network
    assert len(wide.units(heads)) == len(network.units(heads)) + 1
    assert moved(network, wide, x) < 1e-6
    assert_all_agree(wide, x)
    born = set(wide.units(heads).tolist()) - set(network.units(heads).tolist())
    assert widths(wide, "key")[born.pop()] == widths(wide, "key")[1]
    assert units_apart(network)
    assert merged(wide, hidden_layers(wide)) == network


def test_a_split_head_has_keys_of_its_own_unless_others_have_them():
    for case, more in (("fused", 4), ("grouped", 0)):
        _, _, network = imported(case)
        wide = split_head(network, heads_of(network), 0).apply(network).network
        key, query = (side(network, words).source for words in ("key", "query"))
        assert len(wide.units(key)) == len(network.units(key)) + more
        assert len(wide.units(query)) == len(network.units(query)) + widths(network, "query")[0]


@pytest.mark.parametrize("case", APART)
def test_new_slots_and_values_change_nothing_and_train(case):
    _, x, network = imported(case)
    heads = heads_of(network)
    wide = widen_heads(network, heads, 2, np.random.default_rng(0), values=1).apply(network).network
    np.testing.assert_allclose(predict(wide, x.numpy()), predict(network, x.numpy()), rtol=0, atol=1e-12)
    assert widths(wide, "query") == {head: count + 2 for head, count in widths(network, "query").items()}
    groups = len(together(network, heads))
    key = side(network, "key").source
    assert len(wide.units(key)) == len(network.units(key)) + 2 * groups
    (mix,) = network.outgoing(heads)
    assert len(linked_pairs(wide, mix.name)) == len(linked_pairs(network, mix.name)) + len(network.units(heads))
    bench = ng.Workbench(wide, lambda module: torch.optim.SGD(module.parameters(), 0.5))
    (bench.module(x) ** 3).mean().backward()
    bench.optimizer.step()
    bench.take_in()
    (read,) = wide.incoming(side(network, "query").source)
    born = len(wide.units(read.target)) - len(network.units(read.target))
    assert (np.abs(bench.network.connection_columns(read.name).weight[-born:]).max(axis=(1, 2)) > 0).all()


def test_only_the_heads_that_are_named_are_widened():
    _, x, network = imported("fused")
    wide = widen_heads(network, heads_of(network), 1, np.random.default_rng(0), heads=[1]).apply(network).network
    assert widths(wide, "query") == {0: 4, 1: 5}
    assert_all_agree(wide, x)


@pytest.mark.parametrize("case", [*APART, "packed"])
def test_units_beside_heads_are_copied_with_what_they_meet(case):
    _, x, network = imported(case)
    (mix,) = network.outgoing(heads_of(network))
    for layer in {side(network, "query").source, side(network, "key").source, mix.target}:
        for edit in (split_unit(network, layer, 0), widen(network, layer, 3, np.random.default_rng(0))):
            wide = edit.apply(network).network
            assert len(wide.units(layer)) > len(network.units(layer))
            assert moved(network, wide, x) < 1e-5
            assert_all_agree(wide, x)
    slot = split_unit(network, side(network, "query").source, 0).apply(network).network
    assert merged(slot, hidden_layers(slot)) == network


def test_copies_of_no_use_are_refused():
    _, _, network = imported("fused")
    with pytest.raises(EditError, match="a slot of weight 0 never trains"):
        duplicate_unit(network, side(network, "query").source, 0)
    with pytest.raises(EditError, match="split_head copies one"):
        split_unit(network, heads_of(network), 0)


def test_heads_of_a_group_go_singly_or_all():
    _, x, network = imported("grouped")
    heads, key = heads_of(network), side(network, "key").source
    assert together(network, heads) == [[0, 1], [2, 3]]
    single = remove_heads(network, heads, [1]).apply(network).network
    assert len(single.units(key)) == len(network.units(key))
    both = remove_heads(network, heads, [0, 1]).apply(network).network
    assert len(both.units(key)) == len(network.units(key)) // 2
    for left in (single, both):
        assert_all_agree(left, x)


def test_narrowing_keeps_heads_even_and_widths_multiples():
    for case in ("fused", "grouped"):
        _, x, network = imported(case)
        left = narrow(network, 0.5).apply(network).network
        assert set(widths(left, "query").values()) == {widths(network, "query")[0] // 2}
        assert len(left.units(heads_of(left))) == len(network.units(heads_of(network)))
        assert_all_agree(left, x)
    _, x, network = imported("fused")
    hidden = next(name for name in hidden_layers(network) if len(network.units(name)) == 12)
    left = narrow(network, 0.55, multiple=4).apply(network).network
    assert len(left.units(hidden)) == 8
    assert set(widths(left, "query").values()) == {4}


def test_narrowing_takes_the_weakest_heads_in_whole_groups():
    _, x, network = imported("grouped")
    heads, read = heads_of(network), network.incoming(side(network, "query").source)[0].name
    columns = network.connection_columns(read)
    weak = columns.weight.copy()
    weak[:4] *= 0.01  # the queries of heads 0 and 1
    network = ng.graph.Network.of(network.replace(connections={read: columns.with_weight(weak)}))
    applied = narrow(network, 0.0, heads=0.5).apply(network)
    assert applied.network.units(heads).tolist() == [2, 3]
    assert_all_agree(applied.network, x)
    assert applied.inverse.apply(applied.network).network == network
    with pytest.raises(EditError, match=r"lose 0.3 of their heads, got '\w+' in groups of 2"):
        narrow(network, 0.0, heads=0.3)
    with pytest.raises(EditError, match=r"layers of heads for heads=0\.5"):
        narrow(ng.seeds.mlp((4, 3, 2)), 0.0, heads=0.5)
    with pytest.raises(EditError, match="a multiple of at least 1, got 0"):
        narrow(network, 0.3, multiple=0)
