"""Public definitions of networks, imported, narrowed, made compact and exported, beside Torch-Pruning.

`python -m tests.bench.models [NAME ...]` prints the table of docs/interop.md, one process for each model.
"""

import copy
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import nestgraph as ng
from nestgraph.interop.report import import_report

MODELS = {
    "alexnet": "alexnet",
    "vgg16": "vgg",
    "bn_vgg16": "vgg",
    "resnet18": "resnet",
    "resnet50": "resnet",
    "mobilenet_w1": "mobilenet",
    "mobilenetv2_w1": "mobilenetv2",
    "mobilenetv3_large_w1": "mobilenetv3",
    "densenet121": "densenet",
    "squeezenet_v1_1": "squeezenet",
    "shufflenet_g3_wd4": "shufflenet",
    "resnext26_32x4d": "resnext",
    "seresnet18": "seresnet",
    "resnet20_cifar10": "resnet_cifar",
    "wrn16_10_cifar10": "wrn_cifar",
}
"""Each definition and the module of pytorchcv that has it; that package's index needs torchvision, its parts do not."""

OTHERS = {"regnetx002": "regnet", "dpn68": "dpn"}
"""Further ones, of which the time of a training step is measured."""

FRACTION, AGREES = 0.3, 1e-4


def built(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A model with random weights and statistics, in evaluation mode, and two images for it."""
    torch.manual_seed(0)
    model = getattr(importlib.import_module(f"pytorchcv.models.{(MODELS | OTHERS)[name]}"), name)().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    size = 32 if "cifar" in name else 224
    return model, torch.randn(2, 3, size, size)


def timed(call):
    """What a call gives, and its seconds."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def difference(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, relative to the largest entry."""
    return float((got - wanted).abs().max() / wanted.abs().max())


def flops(module: nn.Module, images: torch.Tensor) -> int:
    """2 for each multiply-accumulate of one sample, as PyTorch counts them."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images[:1])
    return counter.get_total_flops()


def latencies(modules: list[nn.Module], images: torch.Tensor, rounds: int = 11) -> list[float]:
    """The median milliseconds of each module for one sample, taken in turn."""
    taken: list[list[float]] = [[] for _ in modules]
    with torch.no_grad():
        for module in modules:
            module(images[:1])
        for _ in range(rounds):
            for module, times in zip(modules, taken, strict=True):
                times.append(timed(lambda module=module: module(images[:1]))[1] * 1000)
    return [statistics.median(times) for times in taken]


def narrowed(name: str, onnx: bool = True, with_peer: bool = False) -> dict:
    """Import a model, take 30% of the units of every editable layer in one batch, and check all that follows."""
    model, images = built(name)
    with torch.no_grad():
        wanted = model(images)
    network, importing = timed(lambda: ng.import_module(model, images))
    report = import_report(network)
    with torch.no_grad():
        assert difference(ng.lower(network).eval()(images), wanted) <= AGREES
    before = network.digest
    batch, choosing = timed(lambda: ng.edits.narrow(network, FRACTION))
    applied, applying = timed(lambda: batch.apply(network))
    restored = applied.inverse.apply(applied.network).network
    assert restored.digest == before
    compact, compacting = timed(lambda: ng.compact(applied.network))
    with torch.no_grad():
        masked = ng.lower(applied.network).eval()(images)
        assert difference(compact(images), masked) <= AGREES
    exporting, differs = _exported(applied.network, images, masked) if onnx else (0.0, 0.0)
    row = {
        "name": name,
        "layers": len(report.rows),
        "editable": sum(part.editable for part in report.rows),
        "opaque": sum(row.kind == "opaque" for row in report.rows),
        "seconds": {"import": importing, "narrow": choosing + applying, "compact": compacting, "onnx": exporting},
        "onnx": differs,
        "flops": [flops(model, images), flops(compact, images)],
    }
    pruned, row["peer"] = _peer(model, images) if with_peer else (None, None)
    modules = [module for module in (model, compact, pruned) if module is not None]
    row["milliseconds"] = latencies(modules, images)
    return row


def _exported(network, images, masked):
    """The seconds of an export to ONNX, and by how much ONNX Runtime differs from the masked module."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _, seconds = timed(lambda: ng.export(network, path))
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    differs = difference(torch.tensor(result), masked)
    assert differs <= AGREES
    return seconds, differs


def _peer(model, images):
    """The same share taken by Torch-Pruning: the pruned module and its figures, or why there is none."""
    import torch_pruning

    pruned = copy.deepcopy(model)
    last = [part for part in pruned.modules() if isinstance(part, (nn.Linear, nn.Conv2d))][-1]
    try:
        importance = torch_pruning.importance.MagnitudeImportance(p=2)
        pruner, seconds = timed(
            lambda: torch_pruning.pruner.MagnitudePruner(
                pruned, images[:1], importance, pruning_ratio=FRACTION, ignored_layers=[last]
            )
        )
        _, stepping = timed(pruner.step)
        with torch.no_grad():
            assert torch.isfinite(pruned(images)).all()
    except Exception as error:
        return None, {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]}
    return pruned, {"seconds": seconds + stepping, "flops": flops(pruned, images)}


def line(row: dict) -> str:
    """A row of the table."""
    (before, after), seconds, times, peer = row["flops"], row["seconds"], row["milliseconds"], row["peer"]
    if peer is None or "error" in peer:
        beside = ["no: " + peer["error"] if peer else "", "", ""]
    else:
        beside = [f"{peer['seconds']:.1f}", f"{peer['flops'] / 1e9:.2f} G", f"{times[2]:.0f} ms"]
    cells = [
        row["name"],
        f"{row['editable']} of {row['layers']}",
        f"{row['opaque']:.0%}",
        *(f"{seconds[step]:.1f}" for step in ("import", "narrow", "compact", "onnx")),
        f"{before / 1e9:.2f} → {after / 1e9:.2f} G",
        f"{times[0]:.0f} → {times[1]:.0f} ms",
        *beside,
    ]
    return f"| {' | '.join(cells)} |"


def main(names: list[str]) -> None:
    """Measure each model in a process of its own."""
    if names[:1] == ["--one"]:
        torch.set_num_threads(1)
        print(json.dumps(narrowed(names[1], with_peer=True)))
        return
    for name in names or MODELS:
        command = [sys.executable, "-m", "tests.bench.models", "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | {done.stderr.strip().splitlines()[-1]} |", flush=True)
            continue
        print(line(json.loads(done.stdout.strip().splitlines()[-1])), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
