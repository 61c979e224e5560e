"""Public definitions of networks, imported, narrowed, made compact and exported, beside Torch-Pruning.

`python -m tests.bench.models [--no-onnx] [--no-peer] [NAME ...]` prints the tables of docs/interop.md, one process for
each model.
"""

import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import nestgraph as ng
from nestgraph.interop.report import ImportReport, import_report
from tests.bench import published, textbook

BUILDERS = published.BUILDERS | textbook.BUILDERS

FRACTION, AGREES, EXACT = 0.3, 1e-4, 1e-10
"""Of units that go; differences of outputs, relative to the largest, in single precision, or in double where single
moves a model's own outputs by more."""

LOGITS = "logits"
"""What counts of a model's outputs where it has them: not, say, the states of an encoder."""

torch.backends.mha.set_fastpath_enabled(False)  # PyTorch does not count its operation


def built(name: str) -> tuple[nn.Module, published.Inputs]:
    """A model with random weights and statistics, in evaluation mode, and inputs of two samples for it."""
    torch.manual_seed(0)
    model, inputs = BUILDERS[name]()
    return model.eval(), inputs


def called(module: nn.Module, inputs: published.Inputs) -> tuple[torch.Tensor, ...]:
    """What a module gives for inputs by place or by name: its tensors, without those that it holds for later."""
    given = module(**inputs) if isinstance(inputs, Mapping) else module(*inputs)
    if isinstance(given, torch.Tensor):
        return (given,)
    if isinstance(given, Mapping) and LOGITS in given:
        return (given[LOGITS],)
    parts = given.values() if isinstance(given, Mapping) else given
    return tuple(part for part in parts if isinstance(part, torch.Tensor))


def placed(inputs: published.Inputs) -> tuple[torch.Tensor, ...]:
    """Inputs in the order of a network's ports."""
    return tuple(inputs.values()) if isinstance(inputs, Mapping) else inputs


def timed(call):
    """What a call gives, and its seconds."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def difference(got: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> float:
    """The largest difference, relative to the largest entry of each output."""
    pairs = zip(got, wanted, strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def difference_in_double(network: ng.Network, model: nn.Module, inputs: published.Inputs) -> float:
    """The largest relative difference between a network and the model that it is of, both in double precision."""
    doubled = {
        name: given.double() if given.is_floating_point() else given
        for name, given in (inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs))
    }
    given = doubled if isinstance(inputs, Mapping) else tuple(doubled.values())
    with torch.no_grad():
        wanted = called(copy.deepcopy(model).double(), given)
        return difference(called(ng.lower(network, dtype=torch.float64).eval(), placed(given)), wanted)


def flops(module: nn.Module, inputs: published.Inputs) -> int:
    """2 for each multiply-accumulate of two samples, as PyTorch counts them."""
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        called(module, inputs)
    return counter.get_total_flops()


def flops_by_hand(module: nn.Module, inputs: published.Inputs, once: Collection[str]) -> float:
    """What is left of `flops` where every hidden width is cut by hand.

    Args:
        module: the model.
        inputs: its example inputs.
        once: names of submodules that read inputs or give outputs, of which only one width can be cut.
    """
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    parts = {name: p for name, p in module.named_modules() if isinstance(p, kinds) or type(p).__name__ == "Conv1D"}
    with torch.no_grad(), FlopCounterMode(depth=10**6, display=False) as counter:
        called(module, inputs)
    counts = {name.partition(".")[2]: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    kept = 1 - FRACTION
    left = (counter.get_total_flops() - sum(counts.get(name, 0) for name in parts)) * kept
    for name, part in parts.items():
        groups, width = getattr(part, "groups", 1), getattr(part, "in_channels", 0)
        layer = name.replace(".", "_")
        apart = (groups > 1 and groups == width) or layer in once or f"layer_{layer}" in once
        left += counts.get(name, 0) * (kept if apart else kept**2)
    return left


def ends(network: ng.Network, report: ImportReport) -> set[str]:
    """The layers that read inputs alone, or give outputs, if only through a function that no kind covers."""
    given = {name for name in network.layer_names if network.layer(name).kind == "input"}
    first = {name for name in network.layer_names if {p.source for p in network.incoming(name)} <= given}
    last = {row.name for row in report.rows if "an output" in row.reason or "the output" in row.reason}
    return first | last | {p.source for name in network.output_names for p in network.arguments(name)}


def latencies(modules: list[nn.Module], inputs: list[published.Inputs], rounds: int = 11) -> list[float]:
    """The median milliseconds of each module for two samples, taken in turn."""
    taken: list[list[float]] = [[] for _ in modules]
    with torch.no_grad():
        for module, given in zip(modules, inputs, strict=True):
            called(module, given)
        for _ in range(rounds):
            for module, given, times in zip(modules, inputs, taken, strict=True):
                times.append(timed(lambda module=module, given=given: called(module, given))[1] * 1000)
    return [statistics.median(times) for times in taken]


def touched(network: ng.Network, report: ImportReport) -> float:
    """The share of the parameters that are of an editable layer, or read one."""
    editable = {row.name for row in report.rows if row.editable}
    near = [row for row in report.rows if {row.name, *(p.source for p in network.incoming(row.name))} & editable]
    return sum(row.parameters or 0 for row in near) / max(sum(row.parameters or 0 for row in report.rows), 1)


def narrowed(name: str, onnx: bool = True, with_peer: bool = False) -> dict:
    """Import a model, take 30% of the units of every editable layer in one batch, and check all that follows."""
    model, inputs = built(name)
    with torch.no_grad():
        wanted = called(model, inputs)
    outputs = LOGITS if name.startswith("transformers ") else None
    network, importing = timed(lambda: ng.import_module(model, inputs, outputs))
    report = import_report(network)
    with torch.no_grad():
        rounded = difference(called(ng.lower(network).eval(), placed(inputs)), wanted) > AGREES
    assert not rounded or difference_in_double(network, model, inputs) <= EXACT
    before = network.digest
    batch, choosing = timed(lambda: ng.edits.narrow(network, FRACTION))
    applied, applying = timed(lambda: batch.apply(network))
    restored = applied.inverse.apply(applied.network).network
    assert restored.digest == before
    compact, compacting = timed(lambda: ng.compact(applied.network))
    with torch.no_grad():
        masked = called(ng.lower(applied.network).eval(), placed(inputs))
        assert difference(called(compact, placed(inputs)), masked) <= AGREES
    recurrent = any(isinstance(part, nn.RNNBase) for part in model.modules())
    uncounted = flops(ng.lower(network).eval(), placed(inputs)) - flops(model, inputs) if recurrent else 0
    exporting, differs = _exported(applied.network, placed(inputs), masked) if onnx else (0.0, 0.0)
    row = {
        "name": name,
        "layers": len(report.rows),
        "editable": sum(part.editable for part in report.rows),
        "opaque": report.opaque_share,
        "touched": touched(network, report),
        "reasons": sorted({part.reason for part in report.rows if part.kind == "opaque"})
        + ["agrees in double precision alone"] * rounded,
        "seconds": {"import": importing, "narrow": choosing + applying, "compact": compacting, "onnx": exporting},
        "onnx": differs,
        "flops": [flops(model, inputs), flops(compact, placed(inputs)) - uncounted],
        "by_hand": flops_by_hand(model, inputs, ends(network, report)),
    }
    pruned, row["peer"] = _peer(model, inputs) if with_peer else (None, None)
    modules = [(model, inputs), (compact, placed(inputs)), *([(pruned, inputs)] if pruned is not None else [])]
    row["milliseconds"] = latencies(*map(list, zip(*modules, strict=True)))
    return row


def fully_editable(row: dict) -> bool:
    """80% of the parameters touch an editable layer, at most 20% are opaque, 0.9 of the FLOPs go that go by hand."""
    before, after = row["flops"]
    return row["opaque"] <= 0.2 and row["touched"] >= 0.8 and before - after >= 0.9 * (before - row["by_hand"])


def _exported(network, inputs, masked):
    """The seconds of an export to ONNX, and by how much ONNX Runtime differs from the masked module."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _, seconds = timed(lambda: ng.export(network, path))
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feed = {port.name: given.numpy() for port, given in zip(session.get_inputs(), inputs, strict=True)}
        results = session.run(None, feed)
    differs = difference(tuple(map(torch.tensor, results)), masked)
    assert differs <= AGREES
    return seconds, differs


def _peer(model, inputs):
    """The same share taken by Torch-Pruning: the pruned module and its figures, or why there is none."""
    import torch_pruning

    pruned = copy.deepcopy(model)
    last = [part for part in pruned.modules() if isinstance(part, (nn.Linear, nn.modules.conv._ConvNd))][-1]
    try:
        importance = torch_pruning.importance.MagnitudeImportance(p=2)
        pruner, seconds = timed(
            lambda: torch_pruning.pruner.MagnitudePruner(
                pruned, inputs, importance, pruning_ratio=FRACTION, ignored_layers=[last]
            )
        )
        _, stepping = timed(pruner.step)
        with torch.no_grad():
            assert all(torch.isfinite(given).all() for given in called(pruned, inputs))
    except Exception as error:
        return None, {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]}
    return pruned, {"seconds": seconds + stepping, "flops": flops(pruned, inputs)}


def line(row: dict) -> str:
    """A row of the table."""
    (before, after), seconds, times, peer = row["flops"], row["seconds"], row["milliseconds"], row["peer"]
    if peer is None or "error" in peer:
        beside = ["no: " + peer["error"] if peer else "", "", ""]
    else:
        beside = [f"{peer['seconds']:.1f}", million(peer["flops"]), f"{times[2]:.3g} ms"]
    gone = (before - after) / max(before - row["by_hand"], 1)
    cells = [
        row["name"],
        "yes" if fully_editable(row) else "no",
        f"{row['editable']} of {row['layers']}",
        f"{row['opaque']:.0%}",
        f"{row['touched']:.0%}",
        *(f"{seconds[step]:.1f}" for step in ("import", "narrow", "compact", "onnx")),
        f"{million(before)} → {million(after)}",
        f"{gone:.2f}",
        f"{times[0]:.3g} → {times[1]:.3g} ms",
        *beside,
        "; ".join(row["reasons"]),
    ]
    return f"| {' | '.join(cells)} |"


def million(count: float) -> str:
    """FLOPs in words, of three digits."""
    return f"{count / 1e9:.3g} G" if count >= 1e9 else f"{count / 1e6:.3g} M"


def main(names: list[str]) -> None:
    """Measure each model in a process of its own."""
    if names[:1] == ["--one"]:
        torch.set_num_threads(1)
        print(json.dumps(narrowed(names[1], onnx="--no-onnx" not in names, with_peer="--no-peer" not in names)))
        return
    flags, asked = [name for name in names if name[:2] == "--"], [name for name in names if name[:2] != "--"]
    for name in asked or BUILDERS:
        command = [sys.executable, "-m", "tests.bench.models", "--one", name, *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | no | {done.stderr.strip().splitlines()[-1][:300]} |", flush=True)
            continue
        print(line(json.loads(done.stdout.strip().splitlines()[-1])), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
