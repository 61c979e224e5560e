"""What an operation of others has; run by `test_made_up` in a process of its own."""

import sys
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nestgraph as ng
from nestgraph.graph.reference import forward
from nestgraph.interop.coverage import table
from nestgraph.lowering import collect, lower
from nestgraph.lowering.compact import compact
from tests.laws import check_laws, quick
from tests.strategies.edits import edits_for


def model(torch_side):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), torch_side.Peak(6), nn.ReLU(), nn.Conv2d(6, 4, 3), torch_side.Peak(4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    with torch.no_grad():
        for peak in (module[1], module[4]):
            peak.weight.uniform_(0.5, 2)
    return module.eval()


def check_lowerings(net, x):
    expected = forward(net, x.numpy())[net.output_names[0]]
    for module in (lower(net).eval(), compact(net)):
        np.testing.assert_allclose(module(x).detach().numpy(), expected, atol=1e-5)


def check(folder):
    import peak_norm_in_torch as torch_side

    module, x = model(torch_side), torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    net = ng.import_module(module, x)
    assert not [name for name in net.layer_names if net.layer(name).opaque], net
    np.testing.assert_allclose(lower(net).eval()(x).detach(), module(x).detach(), atol=1e-5)
    assert "peak norm" in str(net.summary())
    check_lowerings(net, x)
    check_lowerings(ng.edits.remove_units(net, net.layer_names[1], [1, 4]).apply(net).network, x)

    @quick(60)
    @given(st.data())
    def laws(data):
        edit = data.draw(edits_for(net))
        check_laws(net, edit)

    laws()
    hidden = net.layer_names[1]
    check_lowerings(ng.edits.split_unit(net, hidden, int(net.units(hidden)[0])).apply(net).network, x)
    trained = lower(net)
    for parameter in trained.parameters():
        with torch.no_grad():
            parameter.mul_(1.5)
    assert collect(net, trained).unit_columns(net.layer_names[1]).values["gain"].max() > 2
    path = Path(folder) / "net.json"
    ng.save(net, path)
    assert ng.load(path).digest == net.digest
    ng.draw(net, Path(folder) / "net.svg")
    ng.export(net, Path(folder) / "net.onnx")
    assert "Peak" in table()
    print("all of it")


if __name__ == "__main__":
    check(sys.argv[1])
