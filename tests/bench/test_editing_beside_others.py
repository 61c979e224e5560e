"""Import, narrowing and compacting beside Torch-Pruning, and export to ONNX beside PyTorch's own, in processor time."""

import contextlib
import copy
import io
import statistics
import time

import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.interop.onnx_model import dynamic_examples
from tests.bench.models import FRACTION, built

NAMES = [
    *("alexnet", "vgg16", "bn_vgg16", "resnet18", "resnet50", "mobilenet_w1", "mobilenetv2_w1", "mobilenetv3_large_w1"),
    *("densenet121", "squeezenet_v1_1", "resnext26_32x4d", "seresnet18", "resnet20_cifar10", "wrn16_10_cifar10"),
]
"""Those of docs/interop.md that Torch-Pruning prunes."""

pytestmark = pytest.mark.usefixtures("one_thread")

EXPORTED = ["resnet18", "mobilenetv2_w1", "densenet121"]
ROUNDS = 3

TIMES_PRUNING, TIMES_EXPORT = 3.0, 2.0
"""The most that ours may take of the other's time: the median of the models, and each export with its check."""


def taken(*steps):
    """What the last step gives, and the seconds of processor time of each; each step takes what the one before gave."""
    given, seconds = None, []
    for step in steps:
        began = time.process_time()
        given = step(given)
        seconds.append(time.process_time() - began)
    return given, seconds


def pruned(model, inputs):
    """The seconds in which Torch-Pruning takes the same share."""
    pruning = pytest.importorskip("torch_pruning")
    twin = copy.deepcopy(model)
    last = [part for part in twin.modules() if isinstance(part, (nn.Linear, nn.modules.conv._ConvNd))][-1]
    importance = pruning.importance.MagnitudeImportance(p=2)
    options = {"pruning_ratio": FRACTION, "ignored_layers": [last]}
    _, (seconds,) = taken(lambda _: pruning.pruner.MagnitudePruner(twin, inputs, importance, **options).step())
    return seconds


def edited(model, inputs):
    """The seconds of an import, of `narrow` with its application, and of `compact`."""
    return taken(
        lambda _: ng.import_module(model, inputs),
        lambda network: ng.edits.narrow(network, FRACTION).apply(network).network,
        ng.compact,
    )[1]


@pytest.mark.slow
def test_pruning(capsys):
    pytest.importorskip("torch_pruning")
    ratios = []
    for name in NAMES:
        model, inputs = built(name)
        edited(model, inputs), pruned(model, inputs)  # what is done once a process
        rounds = [(edited(model, inputs), pruned(model, inputs)) for _ in range(ROUNDS)]
        ours = [statistics.median(column) for column in zip(*(own for own, _ in rounds), strict=True)]
        theirs = statistics.median(other for _, other in rounds)
        each = sorted(sum(own) / other for own, other in rounds)
        ratios.append(statistics.median(each))
        with capsys.disabled():
            cells = " | ".join(f"{seconds:.2f}" for seconds in (*ours, theirs))
            print(f"| {name} | {cells} | {ratios[-1]:.1f} ({each[0]:.1f} to {each[-1]:.1f}) |", flush=True)
    with capsys.disabled():
        print(f"median {statistics.median(ratios):.1f}")
    assert statistics.median(ratios) < TIMES_PRUNING


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_onnx(name, tmp_path, capsys):
    model, inputs = built(name)
    network = ng.import_module(model, inputs)
    network = ng.edits.narrow(network, FRACTION).apply(network).network
    module, (samples, axes) = ng.compact(network, 1, "contiguous"), dynamic_examples(network)

    def ours(_):
        ng.export(network, tmp_path / "model.onnx")

    def theirs(_):
        with contextlib.redirect_stdout(io.StringIO()):
            program = torch.onnx.export(module, samples, dynamo=True, dynamic_shapes=axes, verbose=False)
            program.save(tmp_path / "own.onnx")

    ours(None), theirs(None)
    rounds = [(taken(ours)[1][0], taken(theirs)[1][0]) for _ in range(ROUNDS)]
    each = sorted(own / other for own, other in rounds)
    own, other = (statistics.median(side) for side in zip(*rounds, strict=True))
    with capsys.disabled():
        print(f"| {name} | {own:.2f} | {other:.2f} | {statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f}) |")
    assert statistics.median(each) < TIMES_EXPORT
