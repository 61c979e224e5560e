"""Modules as files that run without nestgraph: ONNX, Python source, weights; each is checked before it is there."""

import copy
import hashlib
import os
import runpy
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from nestgraph.chip.telling import TOGETHER, told_of
from nestgraph.data.tables.preparation import Preparation
from nestgraph.errors import ExportError, SnapshotError
from nestgraph.graph import Network
from nestgraph.graph.reference import Inputs
from nestgraph.interop.agreement import Runner, arrays_of, check_agreement
from nestgraph.interop.exported import Exported, Form, Format
from nestgraph.interop.onnx_int8 import Int8, check_int8, held, int8_of, typed
from nestgraph.interop.onnx_model import dynamic_examples, onnx_bytes, onnx_row_runner, onnx_runner
from nestgraph.interop.rows import check_rows, refuse_unfit
from nestgraph.interop.source import source_of, state_of
from nestgraph.interop.source_rows import source_row_runner
from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from nestgraph.runs.columns import read_columns
from nestgraph.snapshot import check_own, write_all_own
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray

WRITTEN_BY = {"written_by": "nestgraph"}
MARKS: Mapping[Format, bytes] = {
    "onnx": b"\x12\x09nestgraph",  # the field of the producer's name
    "python": b"A network exported by nestgraph",
    "safetensors": b'"written_by":"nestgraph"',
}
"""What tells exports from other files."""


def export_module(
    network: Network,
    file: Path,
    chosen: Format,
    form: Form,
    batch: int,
    inputs: Inputs | None,
    overwrite: bool,
    columns: Preparation | PathLike | None,
    rows: Any,
    int8: bool,
    told_by: tuple[tuple[Inputs, AnyArray], float] | None,
) -> Exported:
    """Write another format than C; see `export`, whose `split` and `loss` are `told_by`.

    Raises:
        ExportError: see there.
        SnapshotError: the columns cannot be read.
    """
    prepared = _columns(network, shown(file), chosen, columns, inputs, rows)
    marks = _marks(file, chosen)
    try:
        for each, mark in marks.items():
            check_own(each, mark, overwrite)  # before the work
    except SnapshotError as error:
        raise ExportError(str(error)) from error
    layout = "auto" if chosen == "python" else "contiguous"  # others have layouts of their own
    whole = form == "compact"
    module = compact(network, batch, layout, "dense") if whole else lower(network, execution="masked").eval()
    kept = int8_of(network, shown(file), inputs) if int8 else None
    files, run = _files(network, module, chosen, file, prepared, kept)
    if kept is not None:
        difference = check_int8(network, shown(file), kept, run)
    elif prepared is None:
        difference = check_agreement(network, shown(file), run, inputs)
    else:
        difference = check_rows(network, prepared, shown(file), run, rows)
    told = None if told_by is None else told_of(network, shown(file), _first(network, run), *told_by)
    try:
        write_all_own({each: (data, marks[each]) for each, data in files.items()}, overwrite)
    except SnapshotError as error:
        raise ExportError(str(error)) from error
    most = None if kept is None else tuple(kept.bounds)
    return Exported(tuple(reversed(files)), sum(map(len, files.values())), difference, None, most, told)


@checked(ExportError)
def exported_program(network: Network, batch: int = 1, inputs: Inputs | None = None) -> torch.export.ExportedProgram:
    """The compact module as PyTorch exports it, for ahead-of-time compilers and runtimes.

    The batch axis is free, and so are the extents of inputs that are free in the network.

    Args:
        network: what to export.
        batch: how many samples at a time it is made for; any number will do.
        inputs: real samples to compare outputs on, beside random ones.

    Raises:
        ExportError: outputs differ from the network's.
    """
    samples, axes = dynamic_examples(network)
    program = torch.export.export(compact(network, batch, "contiguous", "dense"), samples, dynamic_shapes=axes)
    check_agreement(network, "exported_program", _runner(program.module()), inputs)
    return program


def _marks(target: Path, chosen: Format) -> dict[Path, bytes]:
    """What tells our files from others, by the files that an export writes."""
    weights = {target.with_suffix(".safetensors"): MARKS["safetensors"]} if chosen == "python" else {}
    return {**weights, target: MARKS[chosen]}


def _columns(
    network: Network,
    what: str,
    chosen: Format,
    columns: Preparation | PathLike | None,
    inputs: Inputs | None,
    rows: Any,
) -> Preparation | None:
    """What is done to raw rows, where the export shall take them.

    Raises:
        ExportError: the format takes none, the network is not that of the columns, or samples are of the other kind.
    """
    if columns is None:
        if rows is not None:
            raise ExportError(f"{what}: expected columns with rows, got none: give columns, or prepared inputs")
        return None
    if chosen == "safetensors":
        raise ExportError(f"{what}: expected .onnx or .py with columns, got weights, which take no rows")
    if inputs is not None:
        raise ExportError(f"{what}: expected raw rows with columns, got inputs: give rows=")
    prepared = columns if isinstance(columns, Preparation) else read_columns(columns)
    refuse_unfit(what, network, prepared)
    return prepared


def _first(network: Network, run: Runner) -> Callable[[list[AnyArray]], AnyArray]:
    """What computes the first output of samples by position, some at a time."""

    def outputs(samples: list[AnyArray]) -> AnyArray:
        given, parts = typed(network, samples), range(0, len(samples[0]), TOGETHER)
        return np.concatenate([run([array[at : at + TOGETHER] for array in given])[0] for at in parts])

    return outputs


def _files(
    network: Network, module: Any, chosen: Format, target: Path, columns: Preparation | None, kept: Int8 | None
) -> tuple[dict[Path, bytes], Any]:
    """The files to write, in this order, and what computes them as someone who reads them would.

    That is a `Runner`, or a `RowRunner` where there are columns.
    """
    if chosen == "onnx":
        data = onnx_bytes(network, module if kept is None else held(module, kept), columns, kept is not None)
        return {target: data}, onnx_runner(data) if columns is None else onnx_row_runner(data, columns)
    if chosen == "safetensors":
        data = safetensors.torch.save({name: _own(tensor) for name, tensor in module.state_dict().items()}, WRITTEN_BY)
        blank = copy.deepcopy(module).to_empty(device="cpu")
        blank.load_state_dict(safetensors.torch.load(data))
        return {target: data}, _runner(blank)
    weights = safetensors.torch.save({name: _own(tensor) for name, tensor in state_of(module).items()}, WRITTEN_BY)
    source = source_of(network, module, hashlib.sha256(weights).hexdigest(), columns).encode()
    module, predict = _read_back(source, weights)
    run = _runner(module) if columns is None else source_row_runner(partial(predict, module))
    # The weights first: a source that has others beside it refuses them.
    return {target.with_suffix(".safetensors"): weights, target: source}, run


def _own(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _read_back(source: bytes, weights: bytes) -> tuple[nn.Module, Any]:
    """The module that a source gives in a namespace of its own, and its `predict` if it has one.

    It is our source: no text of a user is code in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "exported.py"
        file.write_bytes(source)
        file.with_suffix(".safetensors").write_bytes(weights)
        found = runpy.run_path(os.fspath(file))
        return found["load"](), found.get("predict")


def _runner(module: nn.Module) -> Runner:
    def run(samples: list[AnyArray]) -> list[AnyArray]:
        with torch.no_grad():
            return arrays_of(module(*(torch.tensor(array) for array in samples)))

    return run
