"""Small tasks to train on, networks of several forms for them, and losses computed without torch."""

import numpy as np
import pytest

from nestgraph.data.samples import Dataset, Samples
from nestgraph.graph import Network, Structure, UnitColumns
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.reference import predict
from nestgraph.loop.trainer import Trainer
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import mlp
from nestgraph.seeds.sparse import he_connections
from nestgraph.spec import Activation, BatchNorm, Conv, Dense, Dropout, Layer, Pooling

IMAGE = (1, 6, 6)
CLASSES = 3


def samples(count, seed, noise=0.3):
    """Images of one template a class, with noise; some pixels are always 0."""
    rng = np.random.default_rng(seed)
    templates = np.random.default_rng(0).random((CLASSES, *IMAGE))
    labels = np.arange(count) % CLASSES
    inputs = np.clip(templates[labels] + noise * rng.standard_normal((count, *IMAGE)), 0, 1)
    inputs[:, :, 0] = 0
    return Samples(inputs.astype(np.float32), labels.astype(np.int64))


def toy(count=60):
    """A dataset of images of 6 x 6 in three classes."""
    return Dataset("toy", samples(count, 1), samples(33, 2), samples(33, 3), classes=CLASSES)


def toy_trainer(dataset=None, seed=0, **options):
    return Trainer(dataset or toy(), TrainingOptions(**{"batch_size": 20, **options}), seed=seed)


def dense_network(activation="tanh", batch_norm=False, density=0.5, seed=0):
    return mlp((36, 6, 5, CLASSES), density, seed, activation, batch_norm)


def conv_network(batch_norm=False, dropout=0.0, density=0.5, seed=0):
    """Maps, average pooling, two hidden layers of neurons: the first of these reads flattened maps."""
    normalised = (BatchNorm(),) if batch_norm else ()
    tanh, dropped = Activation(function="tanh"), (Dropout(probability=dropout),) if dropout else ()
    pool = Pooling(function="average", kernel=(2, 2), stride=(2, 2))
    layers = [
        Layer(name="input", kind="input", features=1, size=(6, 6)),
        Layer(name="conv", kind="feature_maps", size=(4, 4), operations=(*normalised, tanh, pool)),
        Layer(name="fc1", kind="neurons", operations=(*normalised, tanh, *dropped)),
        Layer(name="fc2", kind="neurons", operations=(*normalised, tanh)),
        Layer(name="output", kind="neurons", output=True),
    ]
    projections = [
        Conv(source="input", target="conv", kernel=(3, 3)),
        Dense(source="conv", target="fc1"),
        Dense(source="fc1", target="fc2"),
        Dense(source="fc2", target="output"),
    ]
    widths = dict(zip((layer.name for layer in layers), (1, 3, 5, 4, CLASSES), strict=True))
    units = {layer.name: UnitColumns.neutral(widths[layer.name], layer.column_names) for layer in layers}
    bare = Structure(layers, projections, units, {})
    rng = np.random.default_rng(seed)
    connections = {p.name: he_connections(meaning_of(bare, p).shape, density, rng) for p in projections}
    return Network.of(bare.replace(connections=connections))


def images_for(network, inputs):
    """Images in the shape of the network's input layer, float64."""
    flat = network.layer(network.input_names[0]).size is None
    return (inputs.reshape(len(inputs), -1) if flat else inputs).astype(np.float64)


def sample_losses(network, part):
    """The cross entropy of each sample, (samples,), by the reference pass in float64."""
    outputs = predict(network, images_for(network, part.inputs))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(part)), part.targets]


def loss_of(network, part):
    return float(sample_losses(network, part).mean())


def accuracy_of(network, part):
    return float((predict(network, images_for(network, part.inputs)).argmax(axis=1) == part.targets).mean())


def but_one(accuracy, part):
    """An accuracy by other arithmetic: a sample between two classes may fall to either."""
    return pytest.approx(accuracy, abs=1.01 / len(part.targets))
