"""Reductions over places or tokens that are no pooling work unit by unit: units before and behind them are edited."""

import pytest
import torch
from torch import nn

import nestgraph as ng
from tests.interop.odd_modules import written
from tests.interop.test_token_mixing import agrees

OVER_PLACES = {
    "amin": lambda x: x.amin((2, 3)),
    "var": lambda x: x.var((2, 3)),
    "std": lambda x: x.std((2, 3), unbiased=False),
    "prod": lambda x: x.flatten(2).prod(2),
    "logsumexp": lambda x: x.logsumexp((2, 3)),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=(2, 3)),
    "median": lambda x: x.flatten(2).median(2)[0],
    "kept axes": lambda x: x.var((2, 3), keepdim=True).flatten(1),
}
OVER_TOKENS = {
    "amin": lambda x: x.amin(1),
    "std": lambda x: x.std(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "norm": lambda x: x.norm(dim=1),
}
CASES = {
    **{f"{name} of places": (reduce, nn.Conv2d(1, 6, 3), (1, 4, 5)) for name, reduce in OVER_PLACES.items()},
    **{f"{name} of tokens": (reduce, nn.Linear(3, 6), (4, 3)) for name, reduce in OVER_TOKENS.items()},
}


@pytest.mark.parametrize("case", CASES)
def test_units_beside_a_reduction_are_narrowed(case):
    torch.manual_seed(0)
    reduce, first, shape = CASES[case]
    module = written(lambda self, x: self.last(reduce(torch.tanh(self.first(x)))), first=first, last=nn.Linear(6, 2))
    module, samples = module.eval(), torch.randn(3, *shape)
    imported = ng.Imported(module, samples)
    network = imported.network
    with torch.no_grad():
        agrees(network, samples, module(samples))
    assert all(layer.unitwise for layer in network.layers_by_name.values() if layer.opaque)
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.3))
    assert len(editor.network.units(network.layer_names[1])) == 4
    module.load_state_dict(imported.state_dict(editor.network))
    with torch.no_grad():
        agrees(editor.network, samples, module(samples))
    editor.undo()
    assert editor.network.digest == network.digest
