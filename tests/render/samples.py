"""Networks to draw, whose weights are exact in any arithmetic so that golden files hold everywhere."""

from itertools import pairwise

import numpy as np

from nestgraph.edits import Batch
from nestgraph.edits.islands import island_edits
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns, Whole
from nestgraph.graph.columns import Slotted
from nestgraph.graph.projections import meaning_of
from nestgraph.spec import Activation, Argument, BatchNorm, Conv, Dense, Layer, Match, Mix, OneToOne, Pooling, Softmax

RELU = (Activation(function="relu"),)
POOLED = (*RELU, Pooling(function="max", kernel=(2, 2), stride=(2, 2)))


def built(layers, projections, widths, density=1.0, given=None):
    """A network whose weights, but those given, are multiples of 1/8 in a fixed pattern, thinned to a share of them."""
    units = {
        layer.name: UnitColumns.neutral(widths.get(layer.name, layer.features), layer.column_names) for layer in layers
    }
    structure = Structure(layers, projections, units, {})
    connections = dict(given or {})
    for projection in (projection for projection in projections if projection.name not in connections):
        if isinstance(projection, OneToOne):
            same = np.arange(widths[projection.target])
            connections[projection.name] = Links.of(np.ones(len(same)), links=np.stack([same, same], 1))
            continue
        shape = meaning_of(structure, projection).shape
        place = np.arange(np.prod(shape)).reshape(shape)
        mask = (place * 37) % 100 < 100 * density
        weight = ((place * 29) % 17 - 8.5) / 8
        connections[projection.name] = Grid.of(np.where(mask, weight, 0).astype(np.float32), mask)
    structure = structure.replace(connections=connections)
    return Network.of(Batch(edits=island_edits(structure)).change(structure)[0])


def mlp(*widths, density=1.0, label=""):
    """Dense layers: `x`, `fc1`, ..., the last an output; of several labels, each layer from `fc1` on has one."""
    labels = (label,) if isinstance(label, str) else label
    layers = [Layer(name="x", kind="input", features=widths[0])]
    for place in range(1, len(widths)):
        last = place == len(widths) - 1
        layers.append(
            Layer(
                name=f"fc{place}",
                kind="neurons",
                operations=() if last else RELU,
                output=last,
                label=labels[place - 1] if place <= len(labels) else "",
            )
        )
    projections = [Dense(source=a.name, target=b.name) for a, b in pairwise(layers)]
    return built(layers, projections, {f"fc{place}": width for place, width in enumerate(widths) if place}, density)


def attention():
    """Two heads of one and two slots: q and k of x (3 places) are compared, and weigh what m sums up of v."""
    maps = [Layer(name=name, kind="feature_maps", size=(3,)) for name in "qkvm"]
    softmax = (Softmax(causal=True),)
    layers = [
        Layer(name="x", kind="input", features=2, size=(3,)),
        *maps,
        Layer(name="s", kind="feature_maps", size=(3, 3), operations=softmax, bias=False),
        Layer(name="y", kind="neurons", output=True),
    ]
    sides = [Match(source=side[0], target="s", side=side) for side in ("query", "key")]
    slots = Slotted.of(np.ones(3), links=np.array([[0, 0, 0], [1, 1, 0], [2, 1, 1]]))
    mixed = Links.of(np.ones(3), links=np.array([[0, 0], [1, 1], [1, 2]]))
    projections = [
        *(Conv(source="x", target=name, kernel=(1,)) for name in "qkv"),
        *sides,
        Mix(source="s", target="m"),
        OneToOne(source="v", target="m"),
        Dense(source="m", target="y"),
    ]
    widths = {"q": 3, "k": 3, "s": 2, "v": 3, "m": 3, "y": 2}
    return built(layers, projections, widths, given={"q_to_s": slots, "k_to_s": slots, "s_to_m": mixed})


def chain(length):
    """A chain of layers of which no two neighbours are equal, so that none fold."""
    return mlp(6, *(2 + place % 3 for place in range(length - 2)), 2)


def lenet_5(density=1.0, widths=(20, 50, 500, 10)):
    """Maps of 20 and 50, 500 neurons, 10 outputs, or as many as are told."""
    layers = [
        Layer(name="image", kind="input", features=1, size=(28, 28)),
        Layer(name="conv1", kind="feature_maps", size=(24, 24), operations=POOLED),
        Layer(name="conv2", kind="feature_maps", size=(8, 8), operations=POOLED),
        Layer(name="fc1", kind="neurons", operations=RELU),
        Layer(name="digit", kind="neurons", output=True),
    ]
    projections = [
        Conv(source="image", target="conv1", kernel=(5, 5)),
        Conv(source="conv1", target="conv2", kernel=(5, 5)),
        Dense(source="conv2", target="fc1"),
        Dense(source="fc1", target="digit"),
    ]
    return built(layers, projections, dict(zip(("conv1", "conv2", "fc1", "digit"), widths, strict=True)), density)


def residual(label="sum of branch and skip"):
    """Three layers of maps, the first also added to the third through an identity skip."""
    chained = (BatchNorm(), *RELU)
    maps = [Layer(name=name, kind="feature_maps", size=(4, 4), operations=chained) for name in ("stem", "a", "b")]
    maps[2] = maps[2].model_copy(update={"label": label})
    layers = [
        Layer(name="image", kind="input", features=2, size=(4, 4)),
        *maps,
        Layer(name="y", kind="neurons", output=True),
    ]
    same = {"kernel": (3, 3), "padding": (1, 1)}
    projections = [
        Conv(source="image", target="stem", **same),
        Conv(source="stem", target="a", **same),
        Conv(source="a", target="b", **same),
        OneToOne(source="stem", target="b"),
        Dense(source="b", target="y"),
    ]
    return built(layers, projections, {"stem": 3, "a": 3, "b": 3, "y": 2}, 0.8)


def gated(*labels):
    """An opaque layer of neurons that reads two others, and whose units gate a sum; of several labels one each."""
    labels = labels or ("softmax: no kind covers it",)
    opaque = {f"o{number or ''}": label for number, label in enumerate(labels)}
    layers = [
        Layer(name="x", kind="input", features=3),
        Layer(name="a", kind="neurons", label=labels[0]),
        *(Layer(name=name, kind="neurons", bias=False, opaque=text, label=text) for name, text in opaque.items()),
        Layer(name="m", kind="neurons", operations=RELU),
        Layer(name="y", kind="neurons", output=True),
    ]
    same = np.stack([np.arange(2)] * 2, 1)
    units = {layer.name: UnitColumns.neutral(layer.features or 2, layer.column_names) for layer in layers}
    records = [
        Dense(source="x", target="a"),
        *(Argument(source=source, target=name, place=n) for name in opaque for n, source in enumerate("ax")),
        Dense(source="a", target="m"),
        *(OneToOne(source=name, target="m", gate=True) for name in opaque),
        Dense(source="m", target="y"),
    ]
    connections = {
        record.name: Whole.of(np.zeros(0))
        if record.kind == "argument"
        else Links.of(np.ones(2), links=same)
        if record.kind == "one_to_one"
        else Grid.of(np.linspace(-1, 1, 2 * len(units[record.source])).reshape(2, -1))
        for record in records
    }
    return Network(layers, records, units, connections)
