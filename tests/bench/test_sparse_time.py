"""What sparse matrices save in inference, beside dense modules in their best layout and beside ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest
import torch

import nestgraph as ng
from nestgraph.lowering.sparse import EXECUTION, sparse_product
from tests.bench.test_layout_time import inference
from tests.bench.timing import judged, of_least, quartiles

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORKS = ("lenet-300-100-compact", "lenet-5-compact", "lenet-5")
BATCHES = (1, 32, 256, 1024)


def given(name, batch):
    network = ng.load(f"docs/results/{name}.json")
    shape = network.inputs[0].shape or ((784,) if "300" in name else (1, 28, 28))
    return network, torch.tensor(np.random.default_rng(0).random((batch, *shape)), dtype=torch.float32)


def often(call, batch):
    """The same call as often as makes a time that a clock can tell."""
    times = max(1, 256 // batch)

    def calls():
        for _ in range(times):
            call()

    return calls


def form(network, samples, execution):
    return often(inference(ng.compact(network, len(samples), execution=execution), samples), len(samples))


def rivals(name, batch):
    """What auto chose, and of all dense and all sparse those that it is not itself, each with samples."""
    network, samples = given(name, batch)
    modules = [ng.compact(network, batch, execution=execution) for execution in ("auto", "dense", "sparse")]
    forms = [[choice.sparse for choice in module.meta[EXECUTION].values()] for module in modules]
    return [(module, samples) for at, module in enumerate(modules) if not at or forms[at] != forms[0]]


@pytest.mark.slow
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", NETWORKS)
def test_auto_is_not_slower_than_the_best_on_two_threads(name, batch):
    torch.set_num_threads(2)
    auto, *others = (inference(*each) for each in rivals(name, batch))
    found = max((of_least(auto, other) for other in others), key=lambda each: each[1])
    judged(f"{name}, {batch}, two threads: auto over the better of dense and sparse", found, 1.1)


@pytest.mark.slow
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", NETWORKS)
def test_auto_is_not_slower_than_the_best(name, batch):
    auto, *others = (often(inference(*each), batch) for each in rivals(name, batch))
    found = [quartiles(auto, other) for other in others]
    judged(f"{name}, {batch}: auto over the better of dense and sparse", max(found, key=lambda each: each[1]), 1.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch", "bound"),
    [("lenet-5-compact", 256, 0.6), ("lenet-300-100-compact", 256, 0.7), ("lenet-5", 256, 0.6)],
)
def test_sparse_over_dense(name, batch, bound):
    network, samples = given(name, batch)
    sparse, dense = (form(network, samples, execution) for execution in ("sparse", "dense"))
    judged(f"{name}, {batch}: sparse over dense", quartiles(sparse, dense), bound)


@pytest.mark.slow
def test_samples_that_lie_last_already_cost_no_move():
    network, samples = given("lenet-300-100-compact", 256)
    turned = samples.movedim(0, -1).contiguous().movedim(-1, 0)
    module, dense = (ng.compact(network, 256, execution=execution) for execution in ("sparse", "dense"))
    found = quartiles(inference(module, turned), inference(dense, samples))
    judged("lenet-300-100-compact, 256: sparse on samples that lie last over dense", found, 0.35)


def by_hand(module):
    """What a sparse module of two convolutions and two linear maps computes, with samples last throughout."""
    parts = dict(module.named_buffers())
    sizes = [node.args[2] for node in module.graph.nodes if node.target is torch.unflatten]

    def product(number, values):
        held = [parts[f"projection{number}_{part}"] for part in ("ends", "columns", "weights")]
        return sparse_product(*held, values, parts.get(f"projection{number}_bias"))

    def call(values):
        for number, size in enumerate(sizes):
            sums = product(number, values.flatten(0, 2)).unflatten(0, size)
            rows = torch.maximum(sums[:, 0::2], sums[:, 1::2])
            values = torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2]).relu_()
        return product(3, product(2, values.flatten(0, 2)).relu_()).movedim(-1, 0)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("batch", BATCHES[1:])
def test_a_layout_of_samples_last_would_save_little(batch):
    network, samples = given("lenet-5-compact", batch)
    module, last = ng.compact(network, batch, execution="sparse"), samples.movedim(0, -1).contiguous()
    call = by_hand(module)
    with torch.inference_mode():
        torch.testing.assert_close(call(last), module(samples))
        found = quartiles(often(lambda: call(last), batch), often(lambda: module(last.movedim(-1, 0)), batch))
    judged(f"lenet-5-compact, {batch}: samples last by hand over compact, on samples that lie so", found, np.inf)


@pytest.mark.slow
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", ["lenet-5-compact", "lenet-300-100-compact"])
def test_beside_onnx_runtime(name, batch, tmp_path):
    network, samples = given(name, batch)
    ng.export(network, tmp_path / "net.onnx", batch=batch)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", options, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: samples.numpy()}
    found = quartiles(form(network, samples, "auto"), often(lambda: session.run(None, fed), batch))
    judged(f"{name}, {batch}: auto over ONNX Runtime", found, 1.0 if batch >= 256 else np.inf)
