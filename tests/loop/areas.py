"""Small convolutional networks, and their responses summed entry by entry."""

import itertools

import numpy as np

from nestgraph.graph import Network, Structure, UnitColumns
from nestgraph.graph.projections import meaning_of
from nestgraph.seeds.sparse import he_connections
from nestgraph.spec import Activation, BatchNorm, Conv, Dense, Layer, Pooling


def conv_net(density=0.7, seed=0):
    """Maps of 6 x 6 and 4 x 4 (pooled to 2 x 2) over digits of 8 x 8, normalised, with ReLU."""
    relu, pool = Activation(function="relu"), Pooling(function="max", kernel=(2, 2), stride=(2, 2))
    layers = [
        Layer(name="input", kind="input", features=1, size=(8, 8)),
        Layer(name="conv", kind="feature_maps", size=(6, 6), operations=(BatchNorm(), relu), bias=False),
        Layer(name="conv2", kind="feature_maps", size=(4, 4), operations=(BatchNorm(), relu, pool), bias=False),
        Layer(name="output", kind="neurons", output=True),
    ]
    projections = [
        Conv(source="input", target="conv", kernel=(3, 3)),
        Conv(source="conv", target="conv2", kernel=(3, 3)),
        Dense(source="conv2", target="output"),
    ]
    widths = dict(zip((layer.name for layer in layers), (1, 6, 10, 10), strict=True))
    units = {layer.name: UnitColumns.neutral(widths[layer.name], layer.column_names) for layer in layers}
    bare = Structure(layers, projections, units, {})
    rng = np.random.default_rng(seed)
    connections = {p.name: he_connections(meaning_of(bare, p).shape, density, rng) for p in projections}
    return Network.of(bare.replace(connections=connections))


def windows(projection, size, swept):
    """(position, entry, place): a kernel's entry at a position reads a place, for all that read no padding."""
    for position, entry in itertools.product(np.ndindex(*swept), np.ndindex(*projection.kernel)):
        reach = np.multiply(entry, projection.dilation) - projection.padding
        if projection.transposed:  # where place * stride + reach is the position
            steps, rest = np.divmod(position - reach, projection.stride)
        else:
            steps, rest = np.multiply(position, projection.stride) + reach, np.zeros(1)
        place = tuple(steps.tolist())
        if not rest.any() and all(0 <= at < extent for at, extent in zip(place, size, strict=True)):
            yield position, entry, place


def responses_of(network, projection, source):
    """(out, in, *size): the mean |C[m,n]| over samples, where the area is on; sums over windows one entry at a time."""
    columns, swept = network.connection_columns(projection.name), network.layer(projection.target).size
    weight = np.where(columns.mask, columns.weight, 0).astype(np.float64)
    responses = np.zeros((len(source), *weight.shape[:2], *swept))
    for position, entry, place in windows(projection, source.shape[2:], swept):
        responses[:, :, :, *position] += source[:, None, :, *place] * weight[None, :, :, *entry]
    area = np.ones((1, 1, *swept)) if columns.area is None else columns.area
    return np.abs(responses).mean(axis=0) * area
