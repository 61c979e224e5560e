"""The file as a program of this machine, where a compiler is found: what it gives is read back."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nestgraph.chip.program import Program
from nestgraph.chip.text import Text
from nestgraph.errors import ExportError
from nestgraph.spec.arrays import AnyArray

COMPILERS = ("cc", "gcc", "clang")
SECONDS = 300
"""The longest that a compiler or what it made may take."""

MAIN = """#include <stdio.h>
#include "../{stem}.h"
{arrays}
int main(void) {{
    while ({reads}) {{
        {prefix}_run({arguments});
        if (!({writes})) {{ return 1; }}
    }}
    return 0;
}}
"""


def compiler() -> str | None:
    """A C compiler of this machine; None where there is none."""
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def outputs_of(
    text: Text, program: Program, samples: Sequence[AnyArray], by: str, options: Sequence[str] = ("-O1",)
) -> list[AnyArray]:
    """What the file gives for samples, by port, (batch, ...), as the type that it writes.

    Args:
        text: the file.
        program: what it was written from.
        samples: by port, (batch, ...), in the types that the file reads.
        by: the compiler.
        options: for it.

    Raises:
        ExportError: it does not compile, or fails while it runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = put(text, folder)
        (place / "run").mkdir()
        (place / "run" / "main.c").write_text(_main(text, program), encoding="ascii")
        ran(text, [by, *options, "-o", "run/main", f"{text.stem}.c", "run/main.c", "-lm"], place)
        given = b"".join(array[row].tobytes() for row in range(len(samples[0])) for array in samples)
        data = ran(text, ["run/main"], place, given)
    types = [np.dtype("int16" if text.given == "int16_t" else "float32")] * len(program.outputs)
    counts = [value.count * kind.itemsize for (_, value), kind in zip(program.outputs, types, strict=True)]
    rows = np.frombuffer(data, np.uint8).reshape(len(samples[0]), sum(counts))
    ends = np.cumsum([0, *counts])
    return [
        np.ascontiguousarray(rows[:, first:last]).view(kind).reshape(len(rows), *value.shape)
        for first, last, kind, (_, value) in zip(ends, ends[1:], types, program.outputs, strict=False)
    ]


def types_of(text: Text, program: Program) -> list[np.dtype]:
    """The types of numbers that the file reads, by port."""
    return [
        np.dtype(text.code.element(value).removesuffix("_t").replace("float", "float32")) for _, value in program.inputs
    ]


def _main(text: Text, program: Program) -> str:
    arrays, reads, writes, names = list[str](), list[str](), list[str](), list[str]()
    for kind, values in (("in", [v for _, v in program.inputs]), ("out", [v for _, v in program.outputs])):
        for number, value in enumerate(values):
            name = f"{kind}{number}"
            element = text.code.element(value) if kind == "in" else text.given
            arrays.append(f"static {element} {name}[{value.count}];")
            call, stream = ("fread", "stdin") if kind == "in" else ("fwrite", "stdout")
            (reads if kind == "in" else writes).append(f"{call}({name}, sizeof {name}, 1, {stream}) == 1")
            names.append(name)
    return MAIN.format(
        stem=text.stem,
        prefix=text.prefix,
        arrays="\n".join(arrays),
        reads=" && ".join(reads),
        writes=" && ".join(writes),
        arguments=", ".join(names),
    )


def put(text: Text, folder: str) -> Path:
    """Write both files into a folder, and return its path."""
    place = Path(folder)
    (place / f"{text.stem}.c").write_text(text.source, encoding="ascii")
    (place / f"{text.stem}.h").write_text(text.header, encoding="ascii")
    return place


def ran(text: Text, command: Sequence[str], folder: Path, given: bytes = b"") -> bytes:
    """What a command says in a folder.

    Raises:
        ExportError: it fails, or takes too long.
    """
    try:
        done = subprocess.run(command, cwd=folder, input=given, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExportError(f"{text.stem}.c: expected {command[0]} to run, got {error}: nothing was written") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[:3]
        raise ExportError(
            f"{text.stem}.c: expected {command[0]} to end well, got {done.returncode} ({' '.join(said)[:300]}): "
            "nothing was written; please report it"
        )
    return done.stdout
