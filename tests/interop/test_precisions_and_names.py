"""Modules of other precisions, and with names that Python keeps for itself."""

import runpy
from collections import OrderedDict

import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.interop.export import export
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)
    ).eval()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("part", ["all", "one layer", "inputs"])
def test_another_precision_is_imported_as_float32_and_the_report_says_so(dtype, part):
    module, x = small(), torch.randn(3, 8)
    changed = {"all": module, "one layer": module[0], "inputs": nn.Identity()}[part].to(dtype)
    given = x if part == "one layer" else x.to(dtype)
    network = import_module(module, given)
    assert all(parameter.dtype == dtype for parameter in changed.parameters())
    name = str(dtype).removeprefix("torch.")
    assert f"{name} in the module, of float32 here" in import_report(network).rows[0].note.replace("float32 and ", "")
    exact = module.double()(given.double())
    torch.testing.assert_close(ng.lower(network).eval()(given.float()).double(), exact, rtol=1e-4, atol=1e-5)


def strange():
    yield small().to(torch.complex64), "complex64"
    quantised = small()
    quantised.register_buffer("table", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
    yield quantised, "quantised|qint8"
    sparse = small()
    sparse.register_buffer("table", torch.eye(3).to_sparse())
    yield sparse, "sparse"


@pytest.mark.parametrize(("module", "word"), [*strange()])
def test_other_numbers_are_refused_with_a_remedy(module, word):
    with pytest.raises(InteropError, match="import the module before it was quantised") as refusal:
        import_module(module, torch.randn(3, 8))
    assert any(each in str(refusal.value) for each in word.split("|"))


@pytest.mark.parametrize("name", ["class", "None", "lambda", "import", "True", "match", "_"])
def test_a_submodule_may_have_any_name(name, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(
        OrderedDict([(name, nn.Linear(8, 4)), ("norm", nn.LayerNorm(4)), (f"{name}_", nn.Linear(4, 2))])
    ).eval()
    x = torch.randn(2, 8)
    network = import_module(module, x)
    assert name in {network.layer(layer).label for layer in network.layer_names}
    torch.testing.assert_close(ng.lower(network).eval()(x), module(x))
    torch.testing.assert_close(ng.compact(network, 2)(x), module(x))
    export(network, tmp_path / "net.py")
    torch.testing.assert_close(runpy.run_path(str(tmp_path / "net.py"))["load"]()(x), module(x))


def test_an_exported_program_is_refused_with_a_remedy_or_imported():
    module, x = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)).eval(), torch.randn(3, 8)
    with pytest.raises(InteropError, match="import the module that it was made from"):
        import_module(torch.export.export(module, (x,)).module(), x)
