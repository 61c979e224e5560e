"""A network as a C file: written after it was built, run and compared, where there is a compiler."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nestgraph.chip.arduino import check_folder, library_paths, make_folders, properties_of
from nestgraph.chip.boards import BOARDS, board_of, sizes_of
from nestgraph.chip.bounds import bounds
from nestgraph.chip.building import compiler
from nestgraph.chip.example import main_of, sketch_of, vector_of
from nestgraph.chip.quantising import quantised
from nestgraph.chip.report import Report, report_of
from nestgraph.chip.samples import affordable, random_samples, real_samples
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.telling import Told, told_of
from nestgraph.chip.text import MARK, written
from nestgraph.chip.trying import Trial
from nestgraph.errors import ExportError, SnapshotError
from nestgraph.graph import Network
from nestgraph.graph.reference import Inputs
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.snapshot.ownership import check_own, write_all_own
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.limits import MAX_ON_CHIP

STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
CALIBRATING = 1000
"""Samples of a dataset by which scales are found."""


@dataclass(frozen=True)
class OnChip:
    """What was written as C.

    Attributes:
        paths: the source, its header, and the example: a program, or a sketch and the properties of its library.
        bytes: of all.
        difference: the largest from the network's own outputs, relative to the largest output.
        compiled: the compiler by which the source was built and tried; None where there was none, and the difference
            is that of the program that the source was written from.
        told: of a split, how much of it is told right; None without one.
        report: what it takes.
        bounds: of int8, how far each output can be from the network's, by the arithmetic, where the numbers of all
            layers stay within those of the samples that scales are found by; None of floats.
    """

    paths: tuple[Path, ...]
    bytes: int
    difference: float
    compiled: str | None
    told: Told | None
    report: Report
    bounds: tuple[float, ...] | None


@checked(ExportError)
def export_c(
    network: Network,
    path: PathLike,
    int8: bool = False,
    inputs: Inputs | None = None,
    split: tuple[Inputs, AnyArray] | None = None,
    loss: float = 0.5,
    target: str | None = None,
    overwrite: bool = False,
    example: bool = False,
    arduino: bool = False,
) -> OnChip:
    """Write a network as a C99 file without dependencies, and its header beside it.

    The file computes one sample at a time, without allocation or recursion. Where `cc`, `gcc` or `clang` is found it is
    built and run first, and what it gives compared with the network; else it says that it was not.

    With `int8` numbers are whole ones of 8 bits: weights have a scale for each unit, what layers give one for each
    layer, by the least and largest number that it has for `inputs`; sums have 32 bits.

    Args:
        network: what to write.
        path: the source, `.c`; the header has the same name.
        int8: whether it computes with int8 rather than floats.
        inputs: real samples to compare outputs on, beside random ones, and to find the scales of int8 by: some
            hundreds. Without them these are found by random ones, which the file says.
        split: real samples and their classes: the share that the largest output tells right is compared.
        loss: the most points of that share that may be lost.
        target: the board that it is for, of `BOARDS`: flash, memory and stack are measured by its compiler, where
            there is one, and the report says whether it fits. Without one it is a Cortex-M4.
        overwrite: replace files that no export wrote.
        example: whether NAME_main.c is written too, a program that runs the file on a test vector, the first of
            `inputs` or else a random one, and prints what that gives beside what is expected.
        arduino: whether the folder NAME is written instead, an Arduino library with the source, its header, and a
            sketch that does the same.

    Raises:
        ExportError: a layer is of a kind that C is not known for, outputs differ, too much is lost, or the file cannot
            be written.
    """
    place, what = Path(path), shown(path)
    board = None if target is None else board_of(target)
    if place.suffix != ".c" or not STEM.fullmatch(place.stem):
        raise ExportError(
            f"{what}: expected a file NAME.c whose name has letters, digits and ._- alone, got {place.name[:80]!r}: C "
            "names it in both files"
        )
    files = _files(place, example, arduino)
    try:
        if arduino:
            check_folder(place.with_suffix(""), overwrite)
        for file in files:
            check_own(file, MARK, overwrite)  # before the work
    except SnapshotError as error:
        raise ExportError(str(error)) from error
    if network.connection_count > MAX_ON_CHIP:
        raise ExportError(
            f"{what}: expected a network of at most {MAX_ON_CHIP:,} connections, got {network.connection_count:,}: "
            "prune it, or export ONNX"
        )
    program = scheduled(network)
    real = None if inputs is None else real_samples(network, what, inputs)
    known = real or (random_samples(program, CALIBRATING // 4) if int8 else None)
    form = quantised(program, known, what) if int8 and known else None
    by = compiler()
    trial = Trial(network, what, program, written(network, program, place.stem, form), form, by)
    difference = _difference(trial, known)
    told = None if split is None else told_of(network, what, lambda samples: trial.outputs(samples)[0], split, loss)
    sizes = sizes_of(trial.text, program, board or BOARDS["stm32f4"])
    report = report_of(trial.text, program, sizes, board)
    most = None if form is None else tuple(bounds(program, form))
    notes = _notes(trial, difference, told, None if real is None else len(real[0]))
    notes += [*_bounded(most or ()), "", *report.words]
    text = trial.text.noted(notes)
    words = [text.source, text.header]
    if example or arduino:
        vector = vector_of(trial, real)
        words += [sketch_of(text, vector), properties_of(text, network.digest)] if arduino else [main_of(text, vector)]
    data = [each.encode("ascii") for each in words]
    try:
        if arduino:
            make_folders(place.with_suffix(""))
        write_all_own({file: (each, MARK) for file, each in zip(files, data, strict=True)}, overwrite)
    except SnapshotError as error:
        raise ExportError(str(error)) from error
    return OnChip(files, sum(map(len, data)), difference, by and Path(by).name, told, report, most)


def _files(place: Path, example: bool, arduino: bool) -> tuple[Path, ...]:
    """What is written for a file NAME.c: it and its header first.

    Raises:
        ExportError: both examples are asked for, or the name is none for a library.
    """
    if arduino and example:
        raise ExportError(f"{shown(place)}: expected example or arduino, whose library has an example, got both")
    if arduino:
        return library_paths(place)
    main = (place.with_name(f"{place.stem}_main.c"),) if example else ()
    return (place, place.with_suffix(".h"), *main)


def _difference(trial: Trial, known: list[AnyArray] | None) -> float:
    """The largest relative difference: on samples that are given or tell scales, and of floats on random ones."""
    tried = [] if known is None else [affordable(trial.network, known)]
    if trial.form is None:
        tried.append(random_samples(trial.program))
    found = [apart for samples in tried if (apart := trial.difference(samples)) is not None]
    if not found:
        raise ExportError(
            f"{trial.what}: expected samples for which the network gives finite values in single precision, got none "
            "at random: give some as inputs"
        )
    return max(found)


def _bounded(most: Sequence[float]) -> list[str]:
    """What the file says of how far its outputs can be from the network's."""
    said = [f"out{number} is within {bound:.3g} of the network's" for number, bound in enumerate(most)]
    where = "(bounds by the arithmetic, where the numbers of all layers stay within those of these samples)"
    return [*said, where] if said else []


def _notes(trial: Trial, difference: float, told: Told | None, real: int | None) -> list[str]:
    """What the file says of how it was made and tried."""
    notes: list[str] = []
    if trial.form is not None:
        samples = f"{real} samples that were given" if real is not None else "random numbers, not by data"
        notes.append(f"Numbers are int8, scales are found by {samples}; sums have 32 bits.")
        notes.append("They are multiplied by whole numbers over powers of 2 and rounded to the nearest, half up.")
    apart = f"outputs are within {difference:.1e} of the largest"
    if trial.by is None:
        notes.append("Not built or tried where it was written, as no C compiler was found there.")
        notes.append(f"By the arithmetic of its steps {apart}.")
    else:
        notes.append(f"Built by {Path(trial.by).name} and tried: {apart}.")
    if told is not None:
        right = f"{100 * told.file:.2f}% (the network {100 * told.network:.2f}%)"
        notes.append(f"Of {told.count} samples the largest output tells {right}.")
    return notes
