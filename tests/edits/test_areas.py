"""Areas have one spelling: how it is made, kept and merged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.edits import Batch, RemoveUnits, SetArea, respell_areas, shrink_areas, way_over
from nestgraph.graph.columns import Grid
from nestgraph.graph.columns.areas import laid_out, of_pairs, shortest
from tests.laws import quick
from tests.strategies import SEEDS, areas, networks

NAME = "conv1_to_conv2"


def lenet_5():
    return ng.seeds.lenet_5(seed=1)


def wide(network, share=0.5):
    """A random area by pair of maps of the second convolution."""
    columns, size = network.connection_columns(NAME), network.layer("conv2").size
    return np.random.default_rng(0).random((*columns.edges.shape, *size)) < share


def spellings(network):
    """The same area of the second convolution by map, and by pair."""
    by_map = wide(network)[:, :1]
    return by_map, np.repeat(by_map, len(network.units("conv1")), 1)


@quick(60)
@given(data=st.data(), seed=SEEDS, extents=st.sampled_from(((), (3,), (2, 2), (2, 1, 2))))
def test_the_shortest_spelling_is_one_for_all_that_mean_the_same(data, seed, extents):
    shape = (2, data.draw(st.integers(1, 3)), *extents)
    area = data.draw(areas(shape, extents, np.random.default_rng(seed)))
    short, every = shortest(area), laid_out(area, shape[:2], extents)
    np.testing.assert_array_equal(laid_out(short, shape[:2], extents), every)
    longer = (shortest(every), *([] if area is None else [shortest(np.array(every))]))
    for other in longer:
        assert (other is None) == (short is None)
        assert short is None or other.shape == short.shape


@quick(60)
@given(data=st.data(), seed=SEEDS)
def test_facts_of_an_area_do_not_know_its_spelling(data, seed):
    rng, shape, extents = np.random.default_rng(seed), (2, data.draw(st.integers(1, 3))), (2, 3)
    area = data.draw(areas(shape, extents, rng))
    every = np.array(laid_out(area, shape, extents))
    grids = [Grid.of(np.ones((*shape, 3, 3)), area=each) for each in (area, shortest(area), every)]
    targets, sources = (rng.integers(0, count, 4) for count in shape)
    for grid in grids:
        assert grid.everywhere == every.all()
        computed = np.broadcast_to(grid.computed[..., 0, 0], shape)
        np.testing.assert_array_equal(computed, every.any(axis=(2, 3)))
        if grid.area is not None:
            np.testing.assert_array_equal(of_pairs(grid.area, targets, sources), every[targets, sources])


@quick(30)
@given(network=networks(("conv",)))
def test_a_respelled_network_stays_and_has_no_other_positions(network):
    edit = respell_areas(network)
    after = edit.apply(network).network
    assert not respell_areas(after).edits
    found = ng.difference(network, after).projections
    assert {name for name, each in found.items() if each.respelled} == {part.projection for part in edit.edits}
    assert all(each.respelled == (each.fate == "changed") for each in found.values())
    assert ng.diff(network, after).apply(network).network == after


def test_what_is_new_is_short_and_what_is_there_stays():
    network = lenet_5()
    by_map, by_pair = spellings(network)
    one, other = (SetArea(projection=NAME, area=area).apply(network).network for area in (by_map, by_pair))
    assert one != other
    assert one.connection_columns(NAME).area.shape != other.connection_columns(NAME).area.shape
    assert respell_areas(other).apply(other).network == one
    assert shrink_areas(network, {NAME: by_pair}).apply(network).network == one
    change = ng.difference(one, other)
    assert change.notes("conv2") == (f"{NAME} (respelled)",)
    difference = change.projections[NAME]
    assert difference.area
    assert difference.respelled
    assert not difference.edges.any()


@pytest.mark.parametrize("place", [0, 1], ids=["by map", "by pair"])
def test_an_area_that_one_side_changed_stays_spelled_as_there(place):
    network = lenet_5()
    area = spellings(network)[place]
    edit = SetArea(projection=NAME, area=area)
    way = way_over(network, [RemoveUnits(layer="conv1", units=network.units("conv1")[:2])])
    assert edit.map(way).area.shape[1] == max(area.shape[1] - 2, 1)


def test_an_area_that_both_sides_changed_is_short():
    network = lenet_5()
    by_map, by_pair = spellings(network)
    sides = SetArea(projection=NAME, area=by_map), SetArea(projection=NAME, area=by_pair)
    for one, other in (sides, sides[::-1]):
        way = way_over(network, [one])
        after, _ = other.map(way).change(way.here)
        assert after.connection_columns(NAME).area.shape == by_map.shape


def test_new_units_bring_the_spelling_that_their_areas_need():
    network = lenet_5()
    network = SetArea(projection=NAME, area=wide(network)).apply(network).network
    grown = ng.edits.duplicate_unit(network, "conv1", int(network.units("conv1")[0]))
    short = SetArea(projection=NAME, area=None)
    way = way_over(network, [short])
    moved = grown.map(way)
    assert any(isinstance(part, Batch) and isinstance(part.edits[0], SetArea) for part in moved.edits)
    ends = moved.change(way.here)[0], short.map(way_over(network, [grown])).change(grown.change(network)[0])[0]
    one, other = (each.connection_columns(NAME) for each in ends)
    np.testing.assert_array_equal(one.area, other.area)
    np.testing.assert_array_equal(one.area[:, -1], wide(network)[:, 0])
    assert one.area[:, :-1].all()
