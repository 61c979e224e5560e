"""Cost is what counting one connection and one position at a time gives."""

import math

import numpy as np
from hypothesis import given

from nestgraph.edits import freeze
from nestgraph.graph import Cost, cost
from nestgraph.graph.geometry import output_size
from nestgraph.seeds import mlp
from nestgraph.spec import Argument, Lookup, Match, Mix, OneToOne
from tests.graph.explicit import connections_of
from tests.laws import quick
from tests.strategies import networks
from tests.strategies.networks import EVERY


def counted(network, projection):
    own = getattr(projection, "like", None) is None  # what follows a lookup has its weights there
    trained, each = getattr(projection, "trained", True), 1 if projection.gates else 2
    each = 0 if isinstance(projection, Lookup) else each
    placed = getattr(projection, "placed", False)
    if isinstance(projection, Argument):
        return Cost()
    if isinstance(projection, Match):
        return counted_match(network, projection)
    mixes = [p for p in network.incoming(projection.target) if isinstance(p, Mix)]
    size = network.layer(projection.target).size or (1, 1)
    if mixes:  # summed at the columns of its heads, then mixed for each row
        size = network.layer(mixes[0].source).size
        size, each = (size, 2) if isinstance(projection, Mix) else ((size[1],), each)
        trained = trained and projection.learns
    total = Cost()
    turned = getattr(projection, "transposed", False)
    for _, _, _, mask, area in connections_of(network, projection):
        for entry, active in np.ndenumerate(np.asarray(mask)):
            positions = 1 if placed else int(np.sum(np.ones(size, int) if area is None else area))
            if turned:
                positions = given_to(projection, entry, output_size(network.layer(projection.source)), area)
            flops = int(active) * positions * (each if trained or placed or isinstance(projection, Mix) else 1)
            total += Cost(0, int(active), 1, int(active and trained and own), flops)
    return total


def counted_match(network, projection):
    """Two for each slot at each row and column, told with the query."""
    rows, columns = network.layer(projection.target).size
    links = len(network.connection_columns(projection.name).links)
    return Cost(0, links, links, 0, 2 * links * rows * columns * (projection.side == "query"))


def given_to(sweep, entry, size, area):
    """To how many of the places that are read a transposed kernel applies an entry: not where an area cuts it."""
    if area is None:
        return math.prod(size)
    axes = zip(size, entry, sweep.stride, sweep.dilation, sweep.padding, area.shape, strict=True)
    met = [
        [at for q in range(extent) if 0 <= (at := q * step + y * dilate - pad) < given]
        for extent, y, step, dilate, pad, given in axes
    ]
    return math.prod(size) - int(np.sum(~area[np.ix_(*met)]))


@quick(40)
@given(network=networks(EVERY))
def test_cost_is_what_counting_gives(network):
    table = cost(network)
    whole = Cost()
    for name in network.layer_names:
        layer = network.layer(name)
        units = len(network.units(name))
        biases = units if {*layer.column_names} - {"places"} else 0
        expected = Cost(units=units, parameters=biases + layer.places * units * math.prod(layer.size or ()))
        if layer.kind == "input":
            expected = Cost(units=units)
        for projection in network.incoming(name):
            assert table.by_projection[projection.name] == counted(network, projection)
            expected += counted(network, projection)
        assert table.by_layer[name] == expected
        whole += expected
    assert table.total == whole
    assert whole.connections == network.connection_count
    assert whole.units == network.graph.number_of_nodes()
    places = any(layer.places for layer in network.layers_by_name.values())
    if not places and not any(isinstance(p, OneToOne) for p in network.projections_by_name.values()):
        assert whole.parameters <= whole.connections + whole.units


@quick(20)
@given(network=networks(EVERY))
def test_the_summary_shows_every_layer_and_the_totals(network):
    lines, total = network.summary().splitlines(), cost(network).total
    for name in network.layer_names:
        row = next(line for line in lines if line.split()[0] == name)
        assert f"{cost(network).by_layer[name].connections:,}" in row.split()
    (totals,) = [line.split() for line in lines if line.startswith("total")]
    for count in (total.units, total.connections, total.possible, total.parameters, total.flops):
        assert f"{count:,}" in totals
    assert "FLOPs" in lines[-1]


def test_the_summary_says_what_does_not_train():
    """The columns of a layer, and the weights that lead into it."""
    network = mlp((4, 3, 2), batch_norm=False)
    assert "frozen" not in network.summary()
    row = freeze(network, "fc1").apply(network).network.summary().splitlines()[3]
    assert row.split()[:3] == ["fc1", "input", "(frozen)"]
    assert "frozen, leaky_relu" in row
