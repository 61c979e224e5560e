"""Tensors of element numbers: what stands where after views, and that no rearrangement passes for another."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.interop.elements import SAMPLE, Elements, Ledger
from nestgraph.lowering.operations import UncoveredError
from tests.laws import quick

BATCH = 2


def ledger():
    """Regions of 3 neurons, 2 maps of 2 x 3, 4 maps of 1 x 1 and 1 map of 2 x 3, in this order, and their elements."""
    found = Ledger(BATCH)
    sizes = {"a": (3, ()), "b": (2, (2, 3)), "c": (4, (1, 1)), "d": (1, (2, 3))}
    return found, {name: found.enter(name, units, size) for name, (units, size) in sizes.items()}


def moved(x, index):
    return Elements(index, x.regions)


def test_every_element_has_a_number_of_its_own_in_each_sample():
    found, whole = ledger()
    numbers = torch.cat([x.index.flatten() for x in whole.values()])
    assert len(numbers.unique()) == len(numbers) == BATCH * (3 + 12 + 4 + 6)
    assert all(torch.equal(x.index[1], x.index[0] + SAMPLE) for x in whole.values())
    for place, (name, x) in enumerate(whole.items()):
        regions, places = found.found(found.sample(x))
        assert (regions == place).all(), name
        assert places.ravel().tolist() == list(range(places.size))


def test_samples_are_told_apart_by_one_element_of_the_first_two():
    found, whole = ledger()
    a = whole["a"]
    cases = {"whole": (a.index, True), "swapped": (a.index.flip(0), False), "alike": (a.index[:1].repeat(2, 1), False)}
    cases |= {"one": (a.index[:1], False), "three": (a.index[[0, 1, 1]], False), "empty": (a.index[:, :0], True)}
    cases["transposed"] = a.index.T, False
    mended = a.index.clone()
    mended[1, 1:] = 0  # which one element alone does not tell
    cases["by one element"] = mended, True
    for name, (index, apart) in cases.items():
        assert found.seems_apart(moved(a, index)) is apart, name
        if name != "by one element":
            assert found.apart(moved(a, index)) is apart, name


def test_samples_that_are_mixed_repeated_or_lost_are_refused():
    found, whole = ledger()
    index = whole["b"].index
    mixtures = (index.flip(0), index[:1].repeat(2, 1, 1, 1), index[:1], torch.cat([index, index]))
    for mixed in mixtures:
        with pytest.raises(UncoveredError, match="samples are mixed"):
            found.sample(moved(whole["b"], mixed))
    np.testing.assert_array_equal(found.sample(whole["b"]), index[0].numpy())


@given(st.lists(st.tuples(st.sampled_from("ac"), st.integers(0, 2)), min_size=1, max_size=8))
@quick(40)
def test_channels_hold_the_units_that_were_taken(picked):
    found, whole = ledger()
    index = torch.stack([whole[name].index.flatten(1)[:, unit] for name, unit in picked], 1)
    refs = found.refs(moved(whole["a"], index))
    assert [("abcd"[region], unit) for region, unit in zip(*map(np.ndarray.tolist, refs), strict=True)] == picked
    assert refs.distinct == (len(set(picked)) == len(picked))
    assert [("abcd"[region]) for region in refs.known] == list(dict.fromkeys(name for name, _ in picked))


def test_maps_are_units_only_whole_in_order_and_in_their_shape():
    found, whole = ledger()
    maps = whole["b"].index
    assert found.refs(moved(whole["b"], maps.flip(1))).units.tolist() == [1, 0]
    single = whole["c"].index
    assert found.refs(moved(whole["c"], single.flatten(1))).units.tolist() == [0, 1, 2, 3]
    cut = maps.flatten(1)[:, 3:9].reshape(BATCH, 1, 2, 3)  # as many elements as a map, of two of them
    across = torch.cat([maps[:, :1, :1], maps[:, 1:, 1:]], 2)  # each row in order, the map not
    rearrangements = (
        (maps.flip(3), "cut, transposed"),
        (cut, "cut, transposed"),
        (across, "cut, transposed"),
        (maps.flatten(1), "cut, transposed"),
        (maps[:, :, :1], "cut, transposed"),
        (maps.flatten(1)[:, :, None, None], "cut, transposed"),
        (maps.reshape(BATCH, 2, 3, 2), "reshaped"),
        (maps.flatten(2), "reshaped"),
        (maps[..., None, None], "got 5 axes"),
        (maps[:, :0], "without elements"),
    )
    for index, reason in rearrangements:
        with pytest.raises(UncoveredError, match=reason):
            found.refs(moved(whole["b"], index))


def test_what_was_looked_up_is_forgotten_when_the_numbers_are_written_to():
    found, whole = ledger()
    assert found.refs(whole["a"]).units.tolist() == [0, 1, 2]
    whole["a"].index.copy_(whole["a"].index.flip(1))
    assert found.refs(whole["a"]).units.tolist() == [2, 1, 0]
    assert found.refs(whole["a"]) is found.refs(whole["a"])


def test_a_region_is_whole_only_with_all_elements_in_order():
    found, whole = ledger()
    for name, x in whole.items():
        for index in (x.index, x.index.flatten(1)):
            assert found.whole_region(moved(x, index)).layer == name
        assert found.whole_region(moved(x, x.index.flatten(1).flip(1))) is None
        assert found.whole_region(moved(x, x.index.flatten(1)[:, :-1])) is None
    assert found.whole_region(moved(whole["c"], whole["c"].index.flatten(1)[:, 1:])) is None
    both = torch.cat([whole["a"].index, whole["b"].index.flatten(1)], 1)
    assert found.whole_region(moved(whole["a"], both)) is None


def test_a_tensor_is_a_region_unit_by_unit_only_alone_and_in_order():
    found, whole = ledger()
    assert [found.in_order(x).layer for x in whole.values()] == list(whole)
    a, c = whole["a"].index, whole["c"].index.flatten(1)
    others = (a.flip(1), a[:, :2], torch.cat([a, a], 1), torch.cat([a[:, :1], c[:, 1:3]], 1), torch.cat([a, c], 1))
    assert [found.in_order(moved(whole["a"], index)) for index in others] == [None] * len(others)
    maps = whole["b"].index
    assert found.in_order(moved(whole["b"], maps.flatten(1))) is None
