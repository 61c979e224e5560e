"""The way from any network to any other, and where the units went on it."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import EDIT, AddUnits, IndexMap, RemoveUnits, SetOperations, diff
from nestgraph.graph import Network
from nestgraph.graph.columns import Links
from nestgraph.graph.pinning import why_pinned
from nestgraph.spec import Pooling
from tests.laws import check_laws, quick, unless_refused
from tests.strategies import SEEDS, edits_for, networks


@quick(25)
@given(old=networks(), new=networks())
def test_there_is_a_way_between_any_two_networks(old, new):
    """Also between strangers whose layers share names, but neither ids, kinds nor shapes."""
    applied = check_laws(old, diff(old, new))
    assert applied.network == new
    assert EDIT.validate_json(EDIT.dump_json(diff(old, new))).apply(old).network == new


@quick(10)
@given(network=networks(), data=st.data(), seed=SEEDS)
def test_units_that_only_changed_places_find_their_way(network, data, seed):
    """A layer in another order is another network, with the same units."""
    free = [name for name in network.layer_names if not why_pinned(network, name)]
    assume(free)
    layer = data.draw(st.sampled_from(free))
    assume(not any(isinstance(network.connection_columns(name), Links) for name in network.projection_names))
    order = np.random.default_rng(seed).permutation(len(network.units(layer)))
    shuffled = network
    for place, old_place in enumerate(order):
        unit = int(network.units(layer)[old_place])
        shuffled, inverse = RemoveUnits(layer=layer, units=[unit]).change(shuffled)
        again = AddUnits(**{**dict(inverse), "positions": [place]})
        shuffled = again.change(shuffled)[0]
    moved = Network.of(shuffled)
    assert IndexMap.between(network, moved).old_positions[layer].tolist() == order.tolist()
    assert diff(network, moved).apply(network).network == moved


@quick(30)
@given(network=networks(), data=st.data())
def test_index_maps_compose(network, data):
    first = unless_refused(lambda: data.draw(edits_for(network)).apply(network))
    assume(first)
    second = unless_refused(lambda: data.draw(edits_for(first.network)).apply(first.network))
    assume(second)
    composed = first.index_map.then(second.index_map)
    direct = IndexMap.between(network, second.network)
    for name, positions in direct.old_positions.items():
        middle = first.network.units(name) if first.network.has_layer(name) else []
        stayed = np.isin(second.network.units(name), middle)
        assert composed.old_positions[name].tolist() == np.where(stayed, positions, -1).tolist()
        same = np.array_equal(positions, np.arange(len(network.units(name)) if network.has_layer(name) else 0))
        assert direct.is_identity(name, len(network.units(name)) if network.has_layer(name) else 0) == same


@quick(10)
@given(network=networks(("pooled",)))
def test_another_pooling_changes_the_shape_of_the_weights_after_it(network):
    """A projection whose weights take another extent is another one, though its record stays."""
    finest = [n for n in network.layer_names if network.layer(n).kind == "feature_maps"][-1]
    assume(not network.layer(finest).output and network.layer(finest).operations[-1:])
    last = network.layer(finest).operations[-1]
    assume(isinstance(last, Pooling))
    chain = network.layer(finest).operations[:-1]
    unpooled = SetOperations(layer=finest, operations=chain, bias=network.layer(finest).bias).change(network)[0]
    (outgoing,) = network.outgoing(finest)
    columns = network.connection_columns(outgoing.name)
    shape = (*columns.weight.shape[:2], *network.layer(finest).size)
    grown = Network.of(unpooled.replace(connections={outgoing.name: type(columns).of(np.ones(shape))}))
    for old, new in ((network, grown), (grown, network)):
        assert check_laws(old, diff(old, new)).network == new
