"""Tensors that are no plain arrays of numbers: every door refuses them in a sentence."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    STRANGE = {
        "sparse": torch.eye(4).to_sparse(),
        "compressed": torch.eye(4).to_sparse_csr(),
        "complex": torch.eye(4, dtype=torch.complex64),
        "nowhere": torch.eye(4, device="meta"),
        "quantised": torch.quantize_per_tensor(torch.eye(4), 0.1, 0, torch.qint8),
        "mkldnn": torch.eye(4).to_mkldnn(),
        "nested": torch.nested.nested_tensor([torch.ones(4), torch.ones(4)]),
    }
MODULE = nn.Sequential(nn.Linear(4, 3)).eval()
NETWORK = ng.import_module(MODULE, torch.eye(4))
CLASSES = np.arange(4) % 2
DOORS = {
    "import_module": lambda given, _: ng.import_module(MODULE, given),
    "Imported": lambda given, _: ng.Imported(MODULE, given),
    "batches": lambda given, _: list(ng.as_batches([(given, CLASSES)]).epoch(0).rest()),
    "batches of targets": lambda given, _: list(ng.as_batches([(torch.eye(4), given)]).epoch(0).rest()),
    "arrays": lambda given, _: ng.as_batches((given, CLASSES)),
    "split": lambda given, _: ng.split((given, CLASSES)),
    "gather": lambda given, _: ng.gather(NETWORK, [(given, torch.zeros(4, 3))], functional.mse_loss, {"gradients"}),
    "export": lambda given, folder: ng.export(NETWORK, folder / "net.py", inputs=given),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("door", DOORS)
def test_a_strange_tensor_is_refused_in_a_sentence(door, kind, tmp_path):
    with pytest.raises(ng.NestgraphError) as told:
        DOORS[door](STRANGE[kind], tmp_path)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 600
