"""Networks as files that run without nestgraph: ONNX, Python source, weights; each is checked before it is there."""

import copy
import hashlib
import os
import runpy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from torch import nn

from nestgraph.chip.telling import TOGETHER, Told, told_of
from nestgraph.chip.writing import OnChip, export_c
from nestgraph.data.tables.preparation import Preparation
from nestgraph.errors import ExportError, SnapshotError
from nestgraph.graph import Network
from nestgraph.graph.reference import Inputs
from nestgraph.interop.agreement import Runner, arrays_of, check_agreement
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

Format = Literal["onnx", "python", "safetensors", "c"]
Form = Literal["compact", "masked"]
SUFFIXES: Mapping[str, Format] = {
    ".onnx": "onnx",
    ".py": "python",
    ".safetensors": "safetensors",
    ".c": "c",
}

WRITTEN_BY = {"written_by": "nestgraph"}
MARKS: Mapping[Format, bytes] = {
    "onnx": b"\x12\x09nestgraph",  # the field of the producer's name
    "python": b"A network exported by nestgraph",
    "safetensors": b'"written_by":"nestgraph"',
}
"""What tells exports from other files."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        paths: the files; of Python the source and the weights.
        bytes: of all files.
        difference: the largest from the network's own outputs, relative to the largest output.
        chip: of C, what was written.
        bounds: of ONNX with int8, how far each output can be from the network's; None else (of C see `chip`).
        told: of a split that ONNX was tried on, how much of it is told right.
    """

    paths: tuple[Path, ...]
    bytes: int
    difference: float
    chip: OnChip | None = None
    bounds: tuple[float, ...] | None = None
    told: Told | None = None


@checked(ExportError)
def export(
    network: Network,
    path: PathLike,
    format: Format | None = None,  # noqa: A002  (the word people look for)
    form: Form = "compact",
    batch: int = 1,
    inputs: Inputs | None = None,
    overwrite: bool = False,
    columns: Preparation | PathLike | None = None,
    rows: Any = None,
    int8: bool = False,
    split: tuple[Inputs, AnyArray] | None = None,
    loss: float = 0.5,
    target: str | None = None,
    example: bool = False,
    arduino: bool = False,
) -> Exported:
    """Write a network so that it runs without nestgraph, after comparing what was written with the network.

    `onnx` is a model with a free batch axis. `python` is a source file and, under the same name, its weights as
    safetensors; its `load()` gives the module. `safetensors` holds the state of the module that `compact` gives, or
    `lower` with `form="masked"`. `c` is C for small chips, a source and its header (see `nestgraph.chip`): one sample
    at a time, without dependencies. What fails leaves no file behind and what was there as it was.

    With `columns` ONNX and Python take the raw rows of a table and tell what `predict` tells: the model has an input
    for each column, and the source a function `predict(network, rows)`.

    Args:
        network: what to write.
        path: the file; its suffix says which format, where none is given.
        format: one of `onnx`, `python`, `safetensors` and `c`.
        form: which module: ONNX, Python and C take the compact one.
        batch: how many samples at a time the module is made for; any number will do (see `compact`).
        inputs: real samples to compare outputs on, beside random ones: an array; of several inputs a tuple by position
            or a mapping by input layer.
        overwrite: replace files that no export wrote, the weights beside a source too; earlier exports are replaced
            without it.
        columns: how raw rows become its inputs: columns.json of its run, or what that holds.
        rows: with `columns`, real rows to compare on in the place of `inputs`: a file of a table, or a frame.
        int8: of C and ONNX, whether it computes with int8, whose scales `inputs` tell.
        split: of C, and of ONNX with int8, real samples and their classes, of which the file may lose some.
        loss: with it, the most points of those that are told right that it may lose.
        target: of C, the board that it is for: one of `uno`, `nano33`, `pico`, `stm32f4` and `esp32`.
        example: of C, whether a program that runs it on a test vector and prints is written too.
        arduino: of C, whether it is written as an Arduino library, a folder that has a sketch that does that.

    Raises:
        ExportError: another file is there, the format is unknown, a package is missing, outputs differ, the file
            cannot be written, or the columns are not those of the network.
        SnapshotError: the columns cannot be read.
    """
    file, chosen = _target(path, format)
    if form not in ("compact", "masked") or (form == "masked" and chosen != "safetensors"):
        raise ExportError(
            f"{shown(path)}: expected form 'compact', or 'masked' for safetensors, got {str(form)[:40]!r}"
        )
    if chosen == "c":
        if columns is not None or rows is not None:
            raise ExportError(f"{shown(path)}: expected .onnx or .py with columns, got C, which takes prepared numbers")
        found = export_c(network, file, int8, inputs, split, loss, target, overwrite, example, arduino)
        return Exported(found.paths, found.bytes, found.difference, found)
    prepared = _columns(network, shown(path), chosen, columns, inputs, rows)
    _refuse_of_c(
        shown(path), chosen, prepared is None, int8, split is not None, target is not None or example or arduino
    )
    marks = _marks(file, chosen)
    try:
        for each, mark in marks.items():
            check_own(each, mark, overwrite)  # before the work
    except SnapshotError as error:
        raise ExportError(str(error)) from error
    layout = "auto" if chosen == "python" else "contiguous"  # others have layouts of their own
    whole = form == "compact"
    module = compact(network, batch, layout, "dense") if whole else lower(network, execution="masked").eval()
    kept = int8_of(network, shown(path), inputs) if int8 else None
    files, run = _files(network, module, chosen, file, prepared, kept)
    if kept is not None:
        difference = check_int8(network, shown(path), kept, run)
    elif prepared is None:
        difference = check_agreement(network, shown(path), run, inputs)
    else:
        difference = check_rows(network, prepared, shown(path), run, rows)
    told = None if split is None else told_of(network, shown(path), _first(network, run), split, loss)
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


def _target(path: PathLike, chosen: Format | None) -> tuple[Path, Format]:
    """The file to write and its format."""
    target = Path(path)
    found = chosen or SUFFIXES.get(target.suffix)
    if found is None or found not in SUFFIXES.values() or not target.name:
        known = f"a file of {', '.join(SUFFIXES)} or format= one of {', '.join(SUFFIXES.values())}"
        got = repr(str(chosen or target.suffix)[:40])
        raise ExportError(f"{shown(path)}: expected {known}, got {got}: for torch.export there is exported_program")
    if found == "c" and target.suffix != ".c":
        raise ExportError(f"{shown(path)}: expected C in a file of .c, got {target.suffix[:40]!r}")
    if found == "python" and target.suffix != ".py":
        raise ExportError(f"{shown(path)}: expected Python source in a file of .py, got {target.suffix[:40]!r}")
    return target, found


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


def _refuse_of_c(what: str, chosen: Format, prepared: bool, int8: bool, split: bool, others: bool) -> None:
    """Refuse what other formats than C have none of.

    Raises:
        ExportError: there is some of it.
    """
    if others:
        raise ExportError(f"{what}: expected C (.c) with target, example and arduino, got another format")
    if (int8 or split) and not (int8 and prepared and chosen == "onnx"):
        words = "C (.c), or ONNX (.onnx) of prepared numbers with int8, with int8 and split"
        raise ExportError(f"{what}: expected {words}, got another format, or columns")


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
