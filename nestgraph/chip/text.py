"""The source file and its header, put together."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nestgraph.chip.avr import replacements
from nestgraph.chip.code import READS, Code, Table, id_element
from nestgraph.chip.integers import BENT
from nestgraph.chip.memory import Memory, laid_out
from nestgraph.chip.moves import (
    Applied,
    Ended,
    Taken,
    Turned,
    write_applied,
    write_ended,
    write_taken,
    write_turned,
)
from nestgraph.chip.norms import Normalised, Responded, Softened, write_normalised, write_responded, write_softened
from nestgraph.chip.pointwise import literal, single
from nestgraph.chip.program import Program, Step, Value
from nestgraph.chip.quantising import Quantised
from nestgraph.chip.sum_text import write_sum
from nestgraph.chip.sums import Sum
from nestgraph.chip.windows import Blended, Pooled, write_blended, write_pooled
from nestgraph.graph import Network
from nestgraph.spec.arrays import AnyArray

WRITERS: Mapping[type[Step], Callable[[Code, Any], None]] = {
    Sum: write_sum,
    Taken: write_taken,
    Turned: write_turned,
    Ended: write_ended,
    Applied: write_applied,
    Pooled: write_pooled,
    Blended: write_blended,
    Normalised: write_normalised,
    Responded: write_responded,
    Softened: write_softened,
}
"""By step, how it is written."""

MARK = b"A network exported by nestgraph"
"""What tells both files from others."""

HELPERS: Mapping[str, str] = {
    "bent": f"""/* v times slope over 2 to the power of {BENT}, to the nearest whole number (half up) */
static int32_t @bent(int32_t v, int32_t slope) {{
    return (int32_t)(((int64_t)v * (int64_t)slope + ((int64_t)1 << {BENT - 1})) >> {BENT});
}}
""",
    "fitted": """/* v times many over 2 to the power of shift, to the nearest whole number (half up), within bounds */
static int32_t @fitted(int32_t v, uint32_t many, uint_fast8_t shift, int32_t zero, int32_t low, int32_t high) {
    const int64_t whole = (((int64_t)v * (int64_t)many + ((int64_t)1 << (shift - 1))) >> shift) + zero;
    return whole < low ? low : whole > high ? high : (int32_t)whole;
}
""",
    "quantised": """/* the nearest whole number for a number, half up */
static int8_t @quantised(float v, float per_step, float zero) {
    v = v * per_step + zero + 128.5f;
    return v >= 256.0f ? 127 : v >= 1.0f ? (int8_t)((int32_t)v - 128) : -128;
}
""",
}
"""Functions that steps may ask, by name."""


@dataclass(frozen=True, eq=False)
class Text:
    """A network as C.

    Attributes:
        words: what the head of both files says.
        body: of the file.
        header_body: of its header.
        stem: what both are called, without a suffix.
        prefix: of all of its names.
        memory: where values lie.
        code: what was written, with the bytes of its tables.
        element: the type of inputs that are numbers.
        given: the type of outputs.
    """

    words: tuple[str, ...]
    body: str
    header_body: str
    stem: str
    prefix: str
    memory: Memory
    code: Code
    element: str
    given: str

    @property
    def source(self) -> str:
        """The file."""
        return f"{_comment(self.words)}\n{self.body}"

    @property
    def header(self) -> str:
        """Its header."""
        return f"{_comment(self.words)}\n{self.header_body}"

    def noted(self, notes: Sequence[str]) -> "Text":
        """The same whose head says more."""
        return replace(self, words=(*self.words, "", *notes))

    @property
    def tables(self) -> dict[str, int]:
        """Bytes of tables by layer, each counted with the first layer that reads it."""
        found: dict[str, int] = {}
        for table, _ in self.code.tables.values():
            found[table.layer] = found.get(table.layer, 0) + table.bytes
        return found

    @property
    def buffer_bytes(self) -> int:
        """Of the values between inputs and outputs."""
        return self.memory.count * (1 if self.element == "int8_t" else 4)


def prefix_of(stem: str) -> str:
    """The prefix of a file's names, from what it is called."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")[:40] or "net"
    return f"net_{plain}" if plain[0].isdigit() else plain


def written(network: Network, program: Program, stem: str, quantised: Quantised | None = None) -> Text:
    """The text of a program, whose functions and macros begin with what the file is called.

    Args:
        network: what the program computes.
        program: its steps.
        stem: the name of the file without a suffix.
        quantised: how int8 stands for its numbers; None for floats.
    """
    prefix = prefix_of(stem)
    element, given = ("float", "float") if quantised is None else ("int8_t", "int16_t")
    outer = _outer(program, element, given, quantised)
    code = Code({}, {}, outer) if quantised is None else Code(quantised.scales, quantised.integers, outer)
    memory = laid_out(program, outer.keys())
    calls: list[str] = []
    held = _held(program, memory, outer)
    for number, step in enumerate(program.steps):
        name = f"@{number}_{step.layer}"
        code.line(f"/* {step.layer}: {_words(step)} */")
        with code.function(name, step):
            WRITERS[type(step)](code, step)
        distinct = dict.fromkeys(source.name for source in step.sources)
        calls.append(f"{name}({', '.join(held[each] for each in (*distinct, step.target.name))});")
    calls += _copies(program, held)
    body = "\n".join(code.lines)
    code.drop_unused(body)
    used = {source.name for step in program.steps for source in step.sources} | {v.name for _, v in program.outputs}
    calls = [f"(void)in{n};" for n, (_, value) in enumerate(program.inputs) if value.name not in used] + calls
    words = tuple(_describe(network, element, given, program, quantised))
    counts = [value.count for value in program.values]
    source = _assembled(code, memory, element, body, _signature(program, element, given), calls, stem, max(counts))
    header = _header(program, element, given, prefix, quantised)
    return Text(words, _named(source, prefix), _named(header, prefix), stem, prefix, memory, code, element, given)


def _named(text: str, prefix: str) -> str:
    text = re.sub(r"@(U8|I8|U16|I16|U32|I32|F32|FLASH)\b", lambda found: f"{prefix.upper()}_{found[1]}", text)
    return text.replace("@", f"{prefix}_")


def _outer(program: Program, element: str, given: str, quantised: Quantised | None) -> dict[str, str]:
    """The values that lie outside, and the types of their elements."""
    found = {value.name: element if value.classes is None else id_element(value.classes) for _, value in program.inputs}
    direct = {value.name for _, value in program.outputs} - found.keys()
    if quantised is not None:
        direct &= quantised.wide.keys()
    return found | dict.fromkeys(direct, given)


def _held(program: Program, memory: Memory, outer: Mapping[str, str]) -> dict[str, str]:
    """How each value is called where steps are."""
    found = {value.name: f"in{number}" for number, (_, value) in enumerate(program.inputs)}
    for number, (_, value) in enumerate(program.outputs):
        if value.name in outer:
            found.setdefault(value.name, f"out{number}")
    return {name: f"@memory + {at}" if at else "@memory" for name, at in memory.places.items()} | found


def _copies(program: Program, held: Mapping[str, str]) -> list[str]:
    """What fills outputs that no step has written."""
    lines: list[str] = []
    for number, (_, value) in enumerate(program.outputs):
        if held[value.name] != f"out{number}":
            lines.append(f"for (@at i = 0; i < {value.count}; i++) {{ out{number}[i] = ({held[value.name]})[i]; }}")
    return lines


def _words(step: Step) -> str:
    count = step.multiplications
    size = "x".join(map(str, step.target.shape))
    return f"{size}, {count} multiply-adds" if count else size


def _signature(program: Program, element: str, given: str) -> str:
    inputs = (
        f"const {element if value.classes is None else id_element(value.classes)} *in{number}"
        for number, (_, value) in enumerate(program.inputs)
    )
    outputs = (f"{given} *out{number}" for number in range(len(program.outputs)))
    return f"void @run({', '.join((*inputs, *outputs))})"


def _describe(network: Network, element: str, given: str, program: Program, quantised: Quantised | None) -> list[str]:
    """What the head of both files says."""
    lines = [f"{MARK.decode()}.", f"digest {network.digest}", ""]
    for number, (port, value) in enumerate(program.inputs):
        shape = " x ".join(map(str, value.shape)) or "1"
        what = f"numbers ({element})" if value.classes is None else f"ids from 0 to {value.classes - 1}"
        lines.append(f"in{number}: layer {port.layer}, {shape}, {what}")
        if quantised is not None and value.classes is None:
            scale = quantised.scales[value.name]
            lines.append(f"    whole = number / {scale.step:.9g} + {scale.zero}, rounded, from -128 to 127")
    for number, (port, value) in enumerate(program.outputs):
        shape = " x ".join(map(str, port.shape or value.shape)) or "1"
        lines.append(f"out{number}: layer {port.layer}, {shape} ({given})")
        if quantised is not None:
            step, zero = quantised.given(value)
            lines.append(f"    number = (whole - {zero}) * {step:.9g}")
    return lines


def _comment(lines: Sequence[str]) -> str:
    return "/* " + "\n".join(f"   {line}".rstrip() for line in lines).strip() + "\n */\n"


def _assembled(
    code: Code,
    memory: Memory,
    element: str,
    body: str,
    signature: str,
    calls: list[str],
    stem: str,
    largest: int,
) -> str:
    macros = sorted({table.element for table, _ in code.tables.values()})
    helpers = [text for name, text in HELPERS.items() if f"@{name}(" in body]
    math = ["#include <math.h>"] if re.search(r"\b(?!@)[a-z0-9]+f\(", body) else []
    wide = max([memory.count, largest, *(table.count for table, _ in code.tables.values()), 0]) >= 2**15
    parts = [
        "\n".join([*math, f'#include "{stem}.h"', ""]),
        _flash(macros),
        *(f"#ifdef __AVR__\n{lacking}#endif\n" for lacking in [replacements(body)] if lacking),
        f"typedef uint_fast{32 if wide else 16}_t @at;\n",
        *(f"static {element} @memory[{memory.count}];\n" for _ in [0] if memory.count),
        "\n".join(_array(table, values) for table, values in code.tables.values()) + "\n",
        *helpers,
        body,
        signature + " {\n" + "".join(f"    {call}\n" for call in calls) + "}\n",
    ]
    return "\n".join(part for part in parts if part.strip())


def _flash(elements: Sequence[str]) -> str:
    """How constants are kept in flash and read from it: on AVR by instructions of its own."""
    if not elements:
        return ""
    avr = {"U8": "byte", "I8": "byte", "U16": "word", "I16": "word", "U32": "dword", "I32": "dword", "F32": "float"}
    names = [(element, READS[element]) for element in elements]  # pyright: ignore[reportArgumentType]
    special = "\n".join(f"#define @{name}(p) (({element})pgm_read_{avr[name]}(p))" for element, name in names)
    plain = "\n".join(f"#define @{name}(p) (*(p))" for _, name in names)
    return (
        f"#ifdef __AVR__\n#include <avr/pgmspace.h>\n#define @FLASH PROGMEM\n{special}\n#else\n#define @FLASH\n"
        f"{plain}\n#endif\n"
    )


def _array(table: Table, values: Any) -> str:
    numbers = constants(values, table.element)
    return f"static const {table.element} {table.name}[{max(table.count, 1)}] @FLASH = {{\n{numbers}\n}};"


def constants(values: AnyArray, element: str) -> str:
    """What stands between the braces of an array of a type, in lines; a 0 where there is nothing."""
    numbers = [single(number) if element == "float" else str(number) for number in values.tolist()]
    suffix = "U" if element == "uint32_t" else ""
    lines, line = list[str](), ""
    for number in numbers:
        if len(line) + len(number) > 110:
            lines.append(line)
            line = ""
        line += f"{number}{suffix},"
    return "\n".join([*lines, line or "0"])


def _header(program: Program, element: str, given: str, prefix: str, quantised: Quantised | None) -> str:
    guard = f"{prefix.upper()}_H"
    lines = [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    for kind, values in (("IN", [v for _, v in program.inputs]), ("OUT", [v for _, v in program.outputs])):
        for number, value in enumerate(values):
            lines.append(f"#define {prefix.upper()}_{kind}{number}_COUNT {value.count}")
            lines += _scale_macros(f"{prefix.upper()}_{kind}{number}", kind, value, quantised)
    lines += ["", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    lines += ["/* Computes one sample. It is not to be called by two threads at a time: its memory is one. */"]
    lines += [f"{_signature(program, element, given)};", "", "#ifdef __cplusplus", "}", "#endif", "", "#endif", ""]
    return "\n".join(lines)


def _scale_macros(name: str, kind: str, value: Value, quantised: Quantised | None) -> list[str]:
    if quantised is None or value.classes is not None:
        return []
    step, zero = (
        quantised.given(value)
        if kind == "OUT"
        else (
            quantised.scales[value.name].step,
            quantised.scales[value.name].zero,
        )
    )
    return [f"#define {name}_SCALE {literal(step)}", f"#define {name}_ZERO ({zero})"]
