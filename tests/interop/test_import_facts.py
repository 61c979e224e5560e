"""A module is imported as what it is in training, too, or the import says what it did otherwise."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

import nestgraph as ng
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report
from nestgraph.snapshot.files import from_bytes, to_bytes
from tests.interop.odd_modules import written

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def imported(module, x=IMAGES):
    """The network of a module, held to what the module gives, also after a save and a load."""
    network = import_module(module, x)
    with torch.no_grad():
        wanted = module.eval()(x)
        torch.testing.assert_close(ng.lower(network).eval()(x), wanted, rtol=1e-4, atol=1e-5)
    assert from_bytes(to_bytes(network)) == network
    return network


def opaque(network):
    return [row.reason for row in import_report(network).rows if row.kind in ("opaque", "unitwise")]


def notes(network):
    return [row.note for row in import_report(network).rows if row.note]


# -- weights that are shared, pruned or computed ---------------------------------------------------------


class Tied(nn.Module):
    """An encoder and a decoder of the same weights, and a module that stands at two places."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 4, bias=False), nn.Linear(4, 8)
        self.again = self.first = nn.Linear(8, 8)
        self.decoder.weight = nn.Parameter(self.encoder.weight.t().detach().clone())

    def forward(self, x):
        x = self.encoder(torch.relu(self.first(x)))
        return self.again(functional.linear(x, self.encoder.weight.t()) + self.decoder(x))


def test_every_way_of_sharing_weights_is_said():
    x = torch.randn(4, 8)
    assert notes(imported(Tied(), x)) == [
        "linear: weights shared with encoder, they are copies here and train apart",
        "again: which is called twice, they are copies here and train apart",
    ]
    apart = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    assert notes(imported(apart, x)) == []
    apart[1].weight = apart[0].weight
    assert "weights shared with 0" in str(import_report(imported(apart, x)))
    inside = nn.Sequential(nn.Linear(8, 8), nn.Bilinear(8, 8, 8))
    scale = nn.Parameter(torch.ones(8))
    both = written(lambda self, x: self.inner[0](x * self.scale) * self.scale, inner=inside, scale=scale)
    assert len(notes(imported(both, x))) == 1


@pytest.mark.parametrize("way", ["unstructured", "rows", "columns", "everything of a unit"])
def test_pruned_weights_are_no_connections(way):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.Flatten(), nn.Linear(96, 4))
    for part in (module[0], module[2], module[4]):
        if way == "unstructured":
            prune.l1_unstructured(part, "weight", 0.3)
        elif way == "everything of a unit":
            mask = torch.ones_like(part.weight)
            mask[0] = 0
            prune.custom_from_mask(part, "weight", mask)
        elif part is not module[0] and not (way == "rows" and part is module[4]):
            prune.ln_structured(part, "weight", 0.3, n=2, dim=0 if way == "rows" else 1)
    network = imported(module)
    stray = [
        name
        for name in network.projection_names
        for columns in [network.connection_columns(name)]
        if way != "everything of a unit" and (columns.weight[columns.mask] == 0).any()
    ]
    assert stray == []
    left = sum(int(part.weight.count_nonzero()) for part in (module[0], module[2], module[4]))
    full = sum(part.weight.numel() for part in (module[0], module[2], module[4]))
    assert network.connection_count <= left + (96 if way == "everything of a unit" else 0)
    assert network.connection_count < full
    lowered = ng.lower(network).train()
    optimizer = torch.optim.SGD(lowered.parameters(), lr=0.1, weight_decay=0.1)
    lowered(IMAGES).square().sum().backward()
    optimizer.step()
    assert ng.collect(network, lowered).connection_count == network.connection_count


def test_an_output_whose_weights_are_all_pruned_keeps_them_as_zeros():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 2))
    for part, row in ((module[0], 3), (module[2], 1)):
        mask = torch.ones_like(part.weight)
        mask[row] = 0
        prune.custom_from_mask(part, "weight", mask)
    network = imported(module, torch.randn(3, 8))
    assert network.connection_count == 8 * 6 + 6 * 2


def test_weights_that_are_computed_are_said():
    module = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 4)), nn.ReLU(), nn.Linear(4, 2))
    assert notes(imported(module, torch.randn(3, 8))) == [
        "weights that the module computes from others are taken as they are"
    ]


# -- normalisation over all batches ---------------------------------------------------------------------


def test_a_cumulative_normalisation_goes_on_counting_through_edits():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, momentum=None), nn.ReLU(), nn.Linear(6, 2))
    batches = torch.randn(5, 32, 4)
    for x in batches[:2]:
        module.train()(x)
    network = import_module(module, batches[0])
    (norm,) = [found for name in network.layer_names if (found := network.layer(name).counting)]
    assert (norm.momentum, norm.batches) == (None, 2)
    bench = ng.Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.0))
    for place, x in enumerate(batches[2:]):
        module.train()(x)
        bench.module.train()(x)
        if place == 1:
            hidden = next(name for name in network.layer_names if network.layer(name).counting)
            bench.apply(ng.edits.shift_activations(bench.network, "tanh", "relu"))
            bench.undo()
            assert bench.network.layer(hidden).counting.seen == 4
    after = bench.network
    (name,) = [name for name in after.layer_names if "gamma" in after.layer(name).column_names]
    assert after.layer(name).counting.seen == 5
    np.testing.assert_allclose(after.unit_columns(name).values["mean"], module[1].running_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after.unit_columns(name).values["variance"], module[1].running_var, rtol=1e-5)


def test_an_edit_of_the_count_has_an_exact_inverse():
    x = torch.randn(8, 4)
    network = import_module(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, momentum=None), nn.Linear(6, 2)), x)
    (name,) = [name for name in network.layer_names if "gamma" in network.layer(name).column_names]
    applied = ng.edits.SetValues(batches={name: 7}).apply(network)
    assert applied.network.layer(name).counting.seen == 7
    assert applied.inverse.apply(applied.network).network == network
    with pytest.raises(ng.NestgraphError, match="expected batches of a normalisation that averages over all"):
        ng.edits.SetValues(batches={network.output_names[0]: 7}).apply(network)


# -- what is none in evaluation, and functions of each element --------------------------------------------


class DropPath(nn.Module):
    def forward(self, x):
        return x * (torch.rand(len(x), 1, 1, 1) > 0.5) if self.training else x


def part(function):
    return written(lambda _, x: function(x))


IDENTITIES = {
    "Dropout": (nn.Dropout(0.3), ""),
    "Dropout2d": (nn.Dropout2d(0.3), ""),
    "Dropout3d": (nn.Dropout3d(0.3), ""),
    "AlphaDropout": (nn.AlphaDropout(0.3), ""),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout(0.3), ""),
    "F.dropout2d": (written(lambda self, x: functional.dropout2d(x, 0.3, self.training)), ""),
    "F.alpha_dropout": (written(lambda self, x: functional.alpha_dropout(x, 0.3, self.training)), ""),
    "everything": (nn.Dropout(1.0), "probability 1.0"),
    "Identity": (nn.Identity(), ""),
    "SyncBatchNorm": (nn.SyncBatchNorm(8), "process"),
    "detach": (part(lambda x: x.detach()), "stops gradients"),
    "torch.detach": (part(torch.detach), "stops gradients"),
    "data": (part(lambda x: x.data), "stops gradients"),
    "contiguous": (part(lambda x: x.contiguous().clone()), ""),
    "a cast": (part(lambda x: x.float().to(x.device).requires_grad_()), ""),
    "transposed twice": (part(lambda x: x.mT.mT), ""),
    "a drop path": (DropPath(), "does nothing in evaluation"),
}
POINTWISE = {
    **{name: part(getattr(functional, name)) for name in ("elu", "selu", "celu", "softplus", "mish", "softsign")},
    **{
        name: part(getattr(functional, name)) for name in ("logsigmoid", "tanhshrink", "softshrink", "hardtanh", "silu")
    },
    **{name: part(getattr(torch, name)) for name in ("exp", "abs", "sin", "cos", "erf", "sign", "neg", "square")},
    "log of more": part(lambda x: torch.log(1 + x.abs())),
    "root": part(lambda x: torch.sqrt(x * x + 1) - torch.rsqrt(x.abs() + 1)),
    "modules": nn.Sequential(nn.ELU(0.3), nn.CELU(0.5), nn.SELU(), nn.Mish(), nn.Softplus(2.0), nn.Softsign()),
    "more modules": nn.Sequential(nn.Tanhshrink(), nn.LogSigmoid(), nn.Softshrink(0.1), nn.Hardtanh(-3, 0.5)),
    "PReLU": nn.PReLU(8, 0.3),
    "PReLU of one slope": nn.PReLU(init=0.3),
    "a clamp": part(lambda x: x.clamp(-0.2, 0.3).clamp_min(-0.1).clamp_max(0.1) + x.clamp(max=0.5)),
    "a gate of halves": nn.GLU(1),
    "a quotient": part(lambda x: x / (1 + x.abs())),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_in_evaluation_freeze_nothing(name):
    torch.manual_seed(0)
    inner, said = IDENTITIES[name]
    network = imported(nn.Sequential(nn.Conv2d(3, 8, 3), inner, nn.ReLU(), nn.Conv2d(8, 8, 3)))
    assert opaque(network) == []
    assert any(row.editable for row in import_report(network).rows)
    assert said in " ".join(notes(network))
    assert bool(said) == bool(notes(network))


@pytest.mark.parametrize("name", POINTWISE)
def test_functions_of_each_element_freeze_nothing(name):
    torch.manual_seed(0)
    network = imported(
        nn.Sequential(nn.Conv2d(3, 8, 3), POINTWISE[name], nn.Conv2d(4 if "halves" in name else 8, 8, 3))
    )
    assert opaque(network) == []
    assert any(row.editable for row in import_report(network).rows)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_a_dropout_drops_in_training_as_the_module_s(kind):
    module = nn.Sequential(nn.Conv2d(3, 8, 1), kind(0.5))
    lowered = ng.lower(import_module(module, IMAGES), layout="contiguous").train()  # numbers are drawn in that order
    results = []
    for each in (module.train(), lowered):
        torch.manual_seed(0)
        results.append(each(IMAGES))
    torch.testing.assert_close(*results)


# -- sums along an axis ----------------------------------------------------------------------------------


SUMS = {
    "stack and sum": lambda x: torch.stack([x, x * 2]).sum(0),
    "stack and mean": lambda x: torch.stack([x, x * 2, x - 1], 1).mean(1),
    "stack behind": lambda x: torch.stack([x, torch.relu(x)], -1).sum(-1),
    "kept": lambda x: torch.stack([x, x]).sum(0, keepdim=True).squeeze(0),
    "over maps": lambda x: x.sum((2, 3))[:, :, None, None] * x,
    "groups of maps": lambda x: x.view(-1, 2, 4, 6, 6).sum(1).repeat(1, 2, 1, 1),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_along_an_axis_is_a_sum_of_layers(name):
    torch.manual_seed(0)
    network = imported(nn.Sequential(nn.Conv2d(3, 8, 3), part(SUMS[name]), nn.ReLU(), nn.Conv2d(8, 2, 3)))
    assert opaque(network) == []


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.stack([x, x * 2]).max(0).values,
        lambda x: torch.stack([x, x * 2]).prod(0),
        lambda x: x.softmax(1),
    ],
)
def test_what_no_kind_covers_of_a_stack_is_opaque_and_refuses_nothing(function):
    torch.manual_seed(0)
    network = imported(nn.Sequential(nn.Conv2d(3, 8, 3), part(function), nn.ReLU(), nn.Conv2d(8, 2, 3)))
    assert len(opaque(network)) == 1
