"""Programs that run a file on a test vector: one that prints, and a sketch for Arduino."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.bounds import deviations
from nestgraph.chip.pointwise import literal
from nestgraph.chip.samples import affordable, random_samples
from nestgraph.chip.text import MARK, Text, constants
from nestgraph.chip.trying import Trial
from nestgraph.errors import ExportError
from nestgraph.spec.arrays import AnyArray

SHARE = 1e-4
"""Of the largest output, how far floats may be off on another machine."""


@dataclass(frozen=True, eq=False)
class Vector:
    """A sample and what the file gives for it where it was written.

    Attributes:
        inputs: by port, in the types that the file reads.
        outputs: by port, in the type that it writes.
        real: whether the sample was given, rather than random.
        apart: by port, how far outputs may be off on another machine, in what they are written in.
    """

    inputs: tuple[AnyArray, ...]
    outputs: tuple[AnyArray, ...]
    real: bool
    apart: tuple[float, ...]


def vector_of(trial: Trial, real: Sequence[AnyArray] | None) -> Vector:
    """The first sample whose outputs are finite, of those that are given or else of random ones.

    Raises:
        ExportError: there is none.
    """
    samples = random_samples(trial.program) if real is None else affordable(trial.network, list(real))
    read = trial.read(samples)
    given = trial.given(read)
    for row in range(len(samples[0])):
        inputs, outputs = (tuple(array[row].reshape(-1) for array in arrays) for arrays in (read, given))
        if all(np.isfinite(array).all() for array in (*inputs, *outputs)):
            return Vector(inputs, outputs, real is not None, _apart(trial, outputs))
    raise ExportError(
        f"{trial.what}: expected a sample with finite outputs for the example, got none of {len(samples[0])}: give one "
        "first in inputs"
    )


def _apart(trial: Trial, outputs: Sequence[AnyArray]) -> tuple[float, ...]:
    """Nothing of int8 whose steps are of whole numbers; where floats are among them, what they may be rounded."""
    if trial.form is None:
        largest = (float(np.abs(array.astype(np.float64)).max(initial=0)) for array in outputs)
        return tuple(max(SHARE * each, float(np.finfo(np.float32).tiny)) for each in largest)
    steps = [trial.form.given(value)[0] for _, value in trial.program.outputs]
    bounds = zip(deviations(trial.program, trial.form), steps, strict=True)
    return tuple(float(np.floor(bound / step + 0.5)) for bound, step in bounds)


def main_of(text: Text, vector: Vector) -> str:
    """A program that prints what the file gives beside what is expected, and ends by 0 where these agree."""
    form, cast = ("%d", "(int)") if text.given == "int16_t" else ("%.9g", "(double)")
    lines: list[str] = []
    for number in range(len(vector.outputs)):
        shown = (
            f'printf("out{number}[%u] {form}, expected {form}\\n", i, {cast}out{number}[i], {cast}expected{number}[i]);'
        )
        lines += _loop(text, vector, number, [shown])
    how = f"cc -std=c99 {text.stem}.c {text.stem}_main.c -lm"
    return "\n".join(
        [
            _head(text, vector, f"It is built by: {how}"),
            f'#include <stdio.h>\n\n#include "{text.stem}.h"\n',
            *_arrays(text, vector),
            "",
            "int main(void) {",
            "    unsigned i, apart = 0;",
            f"    {_call(text, vector)}",
            *lines,
            '    puts(apart ? "not as expected" : "as expected");',
            "    return apart ? 1 : 0;",
            "}\n",
        ]
    )


def sketch_of(text: Text, vector: Vector) -> str:
    """A sketch that does the same over the serial line, once."""
    digits = "" if text.given == "int16_t" else ", 7"
    lines: list[str] = []
    for number in range(len(vector.outputs)):
        words = [f'F("out{number}[")', "i", 'F("] ")', f"out{number}[i]{digits}", 'F(", expected ")']
        shown = [*(f"Serial.print({word});" for word in words), f"Serial.println(expected{number}[i]{digits});"]
        lines += _loop(text, vector, number, shown)
    return "\n".join(
        [
            _head(text, vector, "It prints over the serial line, at 9600 baud."),
            f"#include <Arduino.h>\n#include <{text.stem}.h>\n",
            *_arrays(text, vector),
            "",
            "void setup() {",
            "    unsigned i, apart = 0;",
            "    Serial.begin(9600);",
            "    while (!Serial) { }",
            f"    {_call(text, vector)}",
            *lines,
            '    Serial.println(apart ? F("not as expected") : F("as expected"));',
            "}\n",
            "void loop() { }\n",
        ]
    )


def _head(text: Text, vector: Vector, how: str) -> str:
    sample = "a sample that was given" if vector.real else "a random sample"
    return (
        f"/* {MARK.decode()}: an example.\n   It runs {text.prefix}_run on {sample}, and prints\n"
        f"   what that gives beside what it gave where it was written.\n   {how}\n */\n"
    )


def _arrays(text: Text, vector: Vector) -> list[str]:
    """The vector, and room for outputs."""
    lines: list[str] = []
    types = [str(array.dtype) for array in (*vector.inputs, *vector.outputs)]
    names = [f"in{number}" for number in range(len(vector.inputs))]
    names += [f"expected{number}" for number in range(len(vector.outputs))]
    for name, kind, array in zip(names, types, (*vector.inputs, *vector.outputs), strict=True):
        element = "float" if kind == "float32" else f"{kind}_t"
        lines.append(f"static const {element} {name}[{len(array)}] = {{\n{constants(array, element)}\n}};")
    lines += [f"static {text.given} out{number}[{len(array)}];" for number, array in enumerate(vector.outputs)]
    return lines


def _call(text: Text, vector: Vector) -> str:
    inputs = [f"in{number}" for number in range(len(vector.inputs))]
    outputs = [f"out{number}" for number in range(len(vector.outputs))]
    return f"{text.prefix}_run({', '.join([*inputs, *outputs])});"


def _loop(text: Text, vector: Vector, number: int, shown: Sequence[str]) -> list[str]:
    """What shows an output, and counts where it is too far off."""
    whole = text.given == "int16_t"
    kind, most = ("long", str(int(vector.apart[number]))) if whole else ("float", literal(vector.apart[number]))
    return [
        f"    for (i = 0; i < {len(vector.outputs[number])}; i++) {{",
        f"        const {kind} off = ({kind})out{number}[i] - ({kind})expected{number}[i];",
        *(f"        {line}" for line in shown),
        f"        if (!(off <= {most} && off >= -{most})) {{ apart++; }}",
        "    }",
    ]
