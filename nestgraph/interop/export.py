"""Networks as files that run without nestgraph; torch is loaded for those that are not C alone."""

from pathlib import Path
from typing import Any

from nestgraph.chip.writing import export_c
from nestgraph.data.tables.preparation import Preparation
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.graph.reference import Inputs
from nestgraph.interop.exported import SUFFIXES, Exported, Form, Format
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray


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
    from nestgraph.interop.exporting import export_module

    others = target is not None or example or arduino
    _refuse_of_c(shown(path), chosen, columns is None, int8, split is not None, others)
    told = None if split is None else (split, loss)
    return export_module(network, file, chosen, form, batch, inputs, overwrite, columns, rows, int8, told)


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
