"""Public definitions of networks come over, shrink in every editable layer, and go out again."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.graph.reference import predict
from nestgraph.spec import OneToOne
from tests.bench.models import EXACT, built, difference_in_double, fully_editable, narrowed
from tests.bench.published import FIFTEEN, OF_TIMM, OF_TRANSFORMERS
from tests.bench.textbook import BUILDERS as TEXTBOOK

QUICK = ("resnet20_cifar10", "text CNN", "mixture of experts", "TCN")
NOT_YET = {
    "GCN": "a product of matrices that are none of heads",
    "DLinear": "maps were cut, transposed or flattened",
    "LSTM": "LSTM has no kind",
}
"""What is imported and named with its reason, and is not editable for the most part."""


def marked(names):
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


EACH = marked(FIFTEEN)
OTHERS = marked(
    [*TEXTBOOK, *(f"transformers {name}" for name in OF_TRANSFORMERS), *(f"timm {name}" for name in OF_TIMM)]
)


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_nobody_tuned_to_is_editable_or_says_why_not(name):
    package, _, _ = name.partition(" ")
    if package in ("timm", "transformers") and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if name in NOT_YET:
        model, inputs = built(name)
        report = ng.import_report(ng.import_module(model, inputs))
        assert any(NOT_YET[name] in row.reason for row in report.rows)
        return
    assert fully_editable(narrowed(name, onnx=False))


@pytest.mark.slow
def test_a_model_that_single_precision_moves_is_agreed_with_in_double():
    """The outputs of mixnet_s move by 5.8e-4 of the largest where PyTorch computes it in double precision instead."""
    model, inputs = built("mixnet_s")
    assert difference_in_double(ng.import_module(model, inputs), model, inputs) <= EXACT
    assert fully_editable(narrowed("mixnet_s", onnx=False))


@pytest.mark.parametrize("name", EACH)
def test_a_public_model_is_imported_narrowed_made_compact_and_exported(name):
    row = narrowed(name, onnx=name not in QUICK)
    assert row["opaque"] == 0
    assert row["editable"] >= 0.6 * row["layers"]
    assert row["flops"][1] < 0.75 * row["flops"][0]


@pytest.mark.parametrize("name", EACH)
def test_a_step_of_training_moves_the_statistics_as_it_moves_the_module_s(name):
    model, (images,) = built(name)
    network = ng.import_module(model, images)
    lowered = ng.lower(network)
    with torch.no_grad():
        for module in (model.train(), lowered.train()):
            module(images)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    after = ng.collect(network, lowered)
    normalised = [after.unit_columns(layer).values for layer in after.layer_names]
    normalised = [values for values in normalised if "gamma" in values]
    assert len(normalised) == len(norms)
    for column, attribute in (("mean", "running_mean"), ("variance", "running_var")):
        if norms:  # in the order of size, since layers and modules are in orders of their own
            got = np.sort(np.concatenate([values[column] for values in normalised]))
            wanted = np.sort(np.concatenate([getattr(norm, attribute).numpy() for norm in norms]))
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


class Dense(nn.Module):
    """Each convolution reads all maps before it (Huang et al. 2017)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 3 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4 + 3 * i, 3, 3, padding=1) for i in range(3))
        self.last = nn.Linear(13, 5)

    def forward(self, x):
        x = self.first(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(torch.relu(norm(x)))], 1)
        return self.last(x.mean((2, 3)))


def grown(network, layer, rng):
    """The network with one unit more in a layer, joined to all that it can be joined to."""
    weights = {}
    for near in ng.edits.coupled(network, layer, network.units(layer)[-1:]):
        for axis, side in enumerate((network.incoming(near), network.outgoing(near))):
            for projection in side:
                if not isinstance(projection, OneToOne):
                    shape = list(network.connection_columns(projection.name).weight.shape)
                    del shape[axis]
                    weights[projection.name] = rng.normal(size=shape) / 10
    return ng.edits.grow_unit(network, layer, weights).apply(network).network


@pytest.mark.parametrize("kind", ["residual", "concatenating"])
def test_a_map_grows_in_every_editable_layer(kind):
    torch.manual_seed(0)
    model, (images,) = built("resnet20_cifar10") if kind == "residual" else (Dense().eval(), (torch.randn(2, 3, 8, 8),))
    network, rng = ng.import_module(model, images), np.random.default_rng(0)
    editable = [row.name for row in ng.import_report(network).rows if row.editable]
    before = {name: len(network.units(name)) for name in editable}
    for name in editable:
        network = grown(network, name, rng)
    assert len(editable) >= 8
    assert all(len(network.units(name)) > before[name] for name in editable)
    with torch.no_grad():
        lowered = ng.lower(network).eval()(images).numpy()
    np.testing.assert_allclose(lowered, predict(network, images.numpy()), rtol=1e-3, atol=1e-3 * np.abs(lowered).max())
