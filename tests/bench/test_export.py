"""What a compact module is worth: the committed LeNet-5 beside its masked form and the dense network it came from."""

import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from nestgraph.graph import cost
from nestgraph.interop.onnx_model import onnx_bytes
from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from nestgraph.snapshot import load

LENET_5 = Path(__file__).parents[2] / "docs" / "results" / "lenet-5.json"


def by_hand(conv1, conv2, fc1):
    """LeNet-5 of some widths as a person writes it, all connections there, batch normalisation folded."""
    return nn.Sequential(
        *(nn.Conv2d(1, conv1, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(conv1, conv2, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * conv2, fc1), nn.ReLU(), nn.Linear(fc1, 10)),
    ).eval()


def onnx_of(network, module):
    """The ONNX model of a module as a file's bytes, and a function that runs it on one thread."""
    data = onnx_bytes(network, torch.fx.symbolic_trace(module) if isinstance(module, nn.Sequential) else module)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (name,) = (node.name for node in session.get_inputs())
    return len(data), lambda x: session.run(None, {name: x.numpy()})


def medians(runs, x, rounds):
    """The median milliseconds of each function on `x`, called in turn."""
    times = {name: [] for name in runs}
    with torch.inference_mode():
        for round_ in range(rounds + 3):
            for name, run in runs.items():
                start = time.process_time()
                run(x)
                if round_ >= 3:
                    times[name].append(time.process_time() - start)
    return {name: 1e3 * statistics.median(column) for name, column in times.items()}


@pytest.mark.slow
def test_lenet_5(capsys):
    network = load(LENET_5)
    widths = [len(network.units(name)) for name in ("conv1", "conv2", "fc1")]
    forms = {
        "reference LeNet-5, dense": by_hand(20, 50, 500),
        "same widths, dense": by_hand(*widths),
        "masked": lower(network).eval(),
        "compact(batch=1)": compact(network),
        "compact(batch=256)": compact(network, batch=256),
    }
    models = {name: onnx_of(network, module) for name, module in forms.items() if name != "masked"}
    runs = {**forms, **{f"{name}, ONNX": run for name, (_, run) in models.items()}}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rng = np.random.default_rng(0)
        samples = [torch.tensor(rng.random((batch, 1, 28, 28)), dtype=torch.float32) for batch in (1, 256)]
        one, many = (medians(runs, x, rounds) for x, rounds in zip(samples, (300, 20), strict=True))
    finally:
        torch.set_num_threads(threads)
    with capsys.disabled():
        print(f"\n{cost(network).total.connections:,} connections")
        print(f"{'form':32} {'batch 1':>9} {'batch 256':>10} {'entries':>9} {'ONNX bytes':>11}")
        for name in runs:
            module, model = forms.get(name), models.get(name.removesuffix(", ONNX"))
            entries = "" if module is None else f"{sum(p.numel() for p in module.state_dict().values()):,}"
            size = f"{model[0]:,}" if model and module is None else ""
            print(f"{name:32} {one[name]:6.3f} ms {many[name]:7.2f} ms {entries:>9} {size:>11}")
    assert one["compact(batch=1)"] < 0.8 * one["masked"]
    assert many["compact(batch=256)"] < 0.8 * many["reference LeNet-5, dense"]
