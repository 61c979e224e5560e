"""A network as a C file: written after it was built, run and compared, where there is a compiler."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestgraph.chip.building import compiler, outputs_of, types_of
from nestgraph.chip.program import Program
from nestgraph.chip.samples import affordable, expected, random_samples, real_samples
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.text import MARK, Text, written
from nestgraph.errors import ExportError, SnapshotError
from nestgraph.graph import Network
from nestgraph.graph.reference import Inputs
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.snapshot.ownership import check_own, write_all_own
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray

STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
TOLERANCE = 1e-5
"""The largest difference of floats that is accepted, relative to the largest output; and beside it some of the
difference that single precision makes to the network itself."""


@dataclass(frozen=True)
class OnChip:
    """What was written as C.

    Attributes:
        paths: the source, and its header.
        bytes: of both.
        difference: the largest from the network's own outputs, relative to the largest output.
        compiled: the compiler by which the source was built and tried; None where there was none, and the difference
            is that of the program that the source was written from.
    """

    paths: tuple[Path, Path]
    bytes: int
    difference: float
    compiled: str | None


@checked(ExportError)
def export_c(network: Network, path: PathLike, inputs: Inputs | None = None, overwrite: bool = False) -> OnChip:
    """Write a network as a C99 file without dependencies, and its header beside it.

    The file computes one sample at a time, without allocation or recursion. Where `cc`, `gcc` or `clang` is found it is
    built and run first, and what it gives compared with the network; else it says that it was not.

    Args:
        network: what to write.
        path: the source, `.c`; the header has the same name.
        inputs: real samples to compare outputs on, beside random ones.
        overwrite: replace files that no export wrote.

    Raises:
        ExportError: a layer is of a kind that C is not known for, outputs differ, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix != ".c" or not STEM.fullmatch(target.stem):
        raise ExportError(
            f"{shown(path)}: expected a file NAME.c whose name has letters, digits and ._- alone, got "
            f"{target.name[:80]!r}: C names it in both files"
        )
    files = (target, target.with_suffix(".h"))
    try:
        for file in files:
            check_own(file, MARK, overwrite)  # before the work
    except SnapshotError as error:
        raise ExportError(str(error)) from error
    program = scheduled(network)
    text = written(network, program, target.stem)
    by = compiler()
    difference = _compared(network, shown(path), program, text, by, inputs)
    notes = _notes(by, difference)
    text = written(network, program, target.stem, notes=notes)
    data = [text.source.encode("ascii"), text.header.encode("ascii")]
    try:
        write_all_own({file: (each, MARK) for file, each in zip(files, data, strict=True)}, overwrite)
    except SnapshotError as error:
        raise ExportError(str(error)) from error
    return OnChip(files, sum(map(len, data)), difference, by and Path(by).name)


def _notes(by: str | None, difference: float) -> list[str]:
    """What the file says of how it was tried."""
    if by is None:
        return ["Not built or tried where it was written, as no C compiler was found there."]
    return [f"Built by {Path(by).name} and tried: outputs are within {difference:.1e} of the largest."]


def _compared(
    network: Network, what: str, program: Program, text: Text, by: str | None, inputs: Inputs | None
) -> float:
    """The largest difference from the network's outputs, relative to the largest.

    Raises:
        ExportError: it is more than is accepted.
    """
    tried = [random_samples(program)]
    tried += [] if inputs is None else [affordable(network, real_samples(network, what, inputs))]
    found = list[float]()
    for samples in tried:
        exact = expected(network, samples)
        if not all(np.isfinite(values).all() for values in exact):
            continue
        single: list[AnyArray] = []
        for place, (values, got) in enumerate(zip(exact, _given(program, text, by, samples), strict=True)):
            largest = max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny))
            apart = float(np.abs(got.reshape(values.shape) - values).max())
            allowed = TOLERANCE * largest
            if apart > allowed:
                single = single or expected(network, samples, np.float32)
                allowed += 10 * float(np.abs(single[place] - values).max())
            if not apart <= allowed:
                raise ExportError(
                    f"{what}: expected output {place} within {allowed:.2g} of the network's, got a difference of "
                    f"{apart:.2g}: nothing was written; please report it, and choose another format meanwhile"
                )
            found.append(apart / largest)
    if not found:
        raise ExportError(
            f"{what}: expected samples for which the network gives finite values, got none at random: give some as "
            "inputs"
        )
    return max(found)


def _given(program: Program, text: Text, by: str | None, samples: Sequence[AnyArray]) -> list[AnyArray]:
    """What the file gives, or where there is no compiler the program."""
    if by is not None:
        typed = [array.astype(kind) for array, kind in zip(samples, types_of(text, program), strict=True)]
        return outputs_of(text, program, typed, by)
    held = program.run(samples)
    return [held[value.name] for _, value in program.outputs]
