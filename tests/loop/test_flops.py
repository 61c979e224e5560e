"""Activation-aware FLOPs are what counting every multiplication one at a time gives."""

import numpy as np
import pytest
from hypothesis import given

from nestgraph.edits import SetArea, shift_activations
from nestgraph.graph import cost
from nestgraph.graph.columns import Links
from nestgraph.graph.readings import readings
from nestgraph.graph.reference import forward
from nestgraph.loop import flops
from nestgraph.loop.flops import active_flops
from nestgraph.spec import Conv, Lookup, Match, Mix, OneToOne
from tests.laws import quick
from tests.loop.areas import windows
from tests.loop.tasks import conv_network, dense_network, images_for, toy, toy_trainer
from tests.strategies import networks


def counted(network, projection):
    """How often each output of the source is multiplied, counted one connection and position at a time."""
    columns, source = network.connection_columns(projection.name), network.unit_columns(projection.source)
    size = forward_sizes(network)[projection.source]
    total = np.zeros((len(source), *size))
    swept = network.layer(projection.target).size
    if isinstance(projection, Conv):
        area = np.ones((1, 1, *swept), bool) if columns.area is None else columns.area
        area = np.broadcast_to(area, (*columns.mask.shape[:2], *swept))
        for position, entry, place in windows(projection, size, swept):
            total[:, *place] += (columns.mask[:, :, *entry] & area[:, :, *position]).sum(axis=0)
    elif isinstance(columns, Links):
        swept = size if any(gate.mixes for gate in network.gates(projection.target)) else swept  # which heads mix then
        for link, (unit, *_) in enumerate(columns.links.tolist()):
            add_link(total[source.position[unit], ...], projection, columns.mask[link], size, swept)
    else:
        for _, *place in np.argwhere(columns.mask):
            total[tuple(place)] += 1
    return total


def add_link(total, projection, mask, size, swept):
    """What a link adds to the readings of the places of its source."""
    if isinstance(projection, Match):  # each place of a query meets each place of the key
        total += mask * swept[1 if projection.side == "query" else 0]
    elif isinstance(projection, Mix):  # a row of a head is one for each unit that it mixes
        total += mask
    elif projection.kernel is None:  # a single value may gate a map, position by position
        total += mask * np.prod(swept or (1,)) // np.prod(size or (1,))
    else:
        for _, entry, place in windows(projection, size, swept):
            total[*place] += mask[*entry]


def forward_sizes(network):
    zeros = {
        name: np.zeros((1, network.layer(name).features, *(network.layer(name).size or ())))
        for name in network.input_names
    }
    return {name: values.shape[2:] for name, values in forward(network, zeros).items()}


@given(networks())
@quick(120)
def test_readings_are_counted_one_at_a_time(network):
    for name in network.projection_names:
        if isinstance(network.projection(name), Lookup):
            continue  # of a table one row is read
        np.testing.assert_array_equal(readings(network, name), counted(network, network.projection(name)))


def slow_flops(network, inputs):
    outputs, total = forward(network, images_for(network, inputs)), 0
    for name in network.projection_names:
        projection = network.projection(name)
        fixed = isinstance(projection, OneToOne) and not projection.trained
        active = (outputs[projection.source] != 0) * counted(network, projection)
        total += (1 if fixed else 2) * active.sum()
    return total / len(inputs)


@pytest.mark.parametrize("batch", [7, 1024])
@pytest.mark.parametrize("form", ["dense", "maps", "areas"])
def test_active_flops_are_the_mean_over_samples(monkeypatch, form, batch):
    monkeypatch.setattr(flops, "COUNTING_BATCH", batch)
    network, data = dense_network("relu") if form == "dense" else relu_maps(), toy()
    if form == "areas":
        area = np.random.default_rng(0).random((3, 1, 4, 4)) < 0.5
        network = SetArea(projection="input_to_conv", area=area).apply(network).network
    for split, part in (("test", data.test), ("validation", data.validation)):
        found = active_flops(network, toy_trainer(data), split)
        assert found == pytest.approx(slow_flops(network, part.inputs), rel=1e-9)
        assert 0 < found < cost(network).total.flops


def relu_maps():
    network = conv_network()
    return shift_activations(network, "relu", "tanh").apply(network).network


def test_all_readings_are_the_static_flops_where_nothing_is_padded():
    area = np.random.default_rng(0).random((3, 1, 4, 4)) < 0.5
    maps = SetArea(projection="input_to_conv", area=area).apply(conv_network()).network
    for network in (dense_network(), maps):
        total = sum(2 * readings(network, name).sum() for name in network.projection_names)
        assert total == cost(network).total.flops
