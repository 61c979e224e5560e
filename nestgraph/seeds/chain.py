"""Seeds that are chains of layers: perceptrons and convolutional networks."""

import math
from collections.abc import Sequence
from itertools import pairwise
from operator import index

import numpy as np
from pydantic import ValidationError

from nestgraph.errors import StructureError
from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.geometry import swept_size, weight_shape
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.seeds.sparse import he_connections
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Activation, ActivationFunction, BatchNorm, Operation, Pooling
from nestgraph.spec.projection import Conv, Dense, Projection
from nestgraph.spec.record import plain_problem


def mlp(
    widths: Sequence[int] = (784, 300, 100, 10),
    density: float = 1.0,
    seed: int = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
) -> Network:
    """A perceptron: `widths` counts the inputs, the neurons of each hidden layer, and the outputs.

    Args:
        widths: at least an input and an output width.
        density: the share of possible connections that are active, in (0, 1].
        seed: of the random masks and weights.
        activation: of the hidden layers; leaky ReLU while a network grows (method.md section 3).
        batch_norm: whether hidden layers are normalised.

    Raises:
        StructureError: a choice that makes no network.
    """
    _check(widths, density, seed)
    layers = [Layer(name="input", kind="input", features=widths[0])]
    layers += [_hidden(f"fc{n}", activation, batch_norm) for n in range(1, len(widths) - 1)]
    layers.append(Layer(name="output", kind="neurons", output=True))
    projections = [Dense(source=a.name, target=b.name) for a, b in pairwise(layers)]
    return _connected(layers, projections, widths, density, seed)


def lenet_300_100(width: float = 1.0, density: float = 1.0, seed: int = 0, batch_norm: bool = True) -> Network:
    """LeNet-300-100 for 784 pixels (LeCun et al. 1998), its hidden widths times `width`; see `mlp`."""
    return mlp((784, _scaled(300, width), _scaled(100, width), 10), density, seed, batch_norm=batch_norm)


def lenet_5(width: float = 1.0, density: float = 1.0, seed: int = 0, batch_norm: bool = True) -> Network:
    """LeNet-5 in Caffe's form for 28 x 28 pixels, its 20 and 50 maps and 500 neurons times `width`; see `mlp`.

    Convolutions of 5 x 5, each with a maximum pooling of 2 x 2.
    """
    widths = (1, _scaled(20, width), _scaled(50, width), _scaled(500, width), 10)
    _check(widths, density, seed)
    first = swept_size((28, 28), (5, 5), (1, 1), (0, 0))
    second = swept_size((first[0] // 2, first[1] // 2), (5, 5), (1, 1), (0, 0))
    layers = [
        Layer(name="input", kind="input", features=1, size=(28, 28)),
        _maps("conv1", first, batch_norm),
        _maps("conv2", second, batch_norm),
        _hidden("fc1", "leaky_relu", batch_norm),
        Layer(name="output", kind="neurons", output=True),
    ]
    projections: list[Projection] = [
        Conv(source="input", target="conv1", kernel=(5, 5)),
        Conv(source="conv1", target="conv2", kernel=(5, 5)),
        Dense(source="conv2", target="fc1"),
        Dense(source="fc1", target="output"),
    ]
    return _connected(layers, projections, widths, density, seed)


def _scaled(units: int, width: float) -> int:
    if not 0 < width < math.inf:
        raise StructureError(f"a seed expected a width above 0, got {width}")
    return max(1, round(units * width))


def _check(widths: Sequence[int], density: float, seed: int) -> None:
    try:
        counts = [index(width) for width in widths]
    except TypeError:
        counts = list[int]()
    if len(counts) < 2 or min(counts) < 1:
        raise StructureError(f"a seed expected at least two widths, integers of 1 or more, got {widths}")
    if not 0 < density <= 1:
        raise StructureError(f"a seed expected a density above 0 and up to 1, got {density}")
    if seed < 0:
        raise StructureError(f"a seed network expected a random seed of 0 or more, got {seed}")


def _chain(activation: ActivationFunction, batch_norm: bool) -> tuple[Operation, ...]:
    normalised: tuple[Operation, ...] = (BatchNorm(),) if batch_norm else ()
    try:
        return (*normalised, Activation(function=activation))
    except ValidationError as error:
        raise StructureError(
            f"a seed expected a known activation, got {activation!r}: {plain_problem(error)}"
        ) from None


def _hidden(name: str, activation: ActivationFunction, batch_norm: bool) -> Layer:
    return Layer(name=name, kind="neurons", operations=_chain(activation, batch_norm), bias=not batch_norm)


def _maps(name: str, size: tuple[int, int], batch_norm: bool) -> Layer:
    pooling = Pooling(function="max", kernel=(2, 2), stride=(2, 2))
    operations = (*_chain("leaky_relu", batch_norm), pooling)
    return Layer(name=name, kind="feature_maps", size=size, operations=operations, bias=not batch_norm)


def _connected(
    layers: Sequence[Layer], projections: Sequence[Projection], widths: Sequence[int], density: float, seed: int
) -> Network:
    units = {
        layer.name: UnitColumns.neutral(width, layer.column_names) for layer, width in zip(layers, widths, strict=True)
    }
    bare = Structure(layers, projections, units, {})
    rng = np.random.default_rng(seed)
    connections = {p.name: he_connections(weight_shape(bare, p), density, rng) for p in projections}
    return Network.of(bare.replace(connections=connections))
