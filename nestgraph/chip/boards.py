"""What boards have, and whether a file fits one: measured by the board's compiler where there is one."""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from nestgraph.chip.building import put, ran
from nestgraph.chip.code import BYTES
from nestgraph.chip.program import Program
from nestgraph.chip.text import Text
from nestgraph.errors import ExportError

WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        title: its name and that of its chip.
        flash: bytes for programs, without what its boot loader takes.
        ram: bytes.
        compiler: for its processor.
        options: for that.
        word: bytes of instructions that `-Os` makes of a word or sign of C, about.
        around: bytes of instructions beside, about.
        stack: bytes that functions take of it, at most.
        core: bytes of flash and RAM that the Arduino core, its serial line and the sketch of an example take beside,
            about; none where they hardly count.
    """

    title: str
    flash: int
    ram: int
    compiler: str
    options: tuple[str, ...]
    word: float = 1.16
    around: int = 15
    stack: int = 160
    core: tuple[int, int] = (0, 0)


_ARM = "arm-none-eabi-gcc"
BOARDS: Mapping[str, Board] = {
    "uno": Board(
        "Arduino Uno (ATmega328P)", 32_256, 2_048, "avr-gcc", ("-mmcu=atmega328p",), 1.75, 215, 96, (4_096, 384)
    ),
    "nano33": Board("Arduino Nano 33 BLE (nRF52840)", 983_040, 262_144, _ARM, ("-mcpu=cortex-m4", "-mthumb")),
    "pico": Board("Raspberry Pi Pico (RP2040)", 2_097_152, 270_336, _ARM, ("-mcpu=cortex-m0plus", "-mthumb")),
    "stm32f4": Board("STM32F401RE", 524_288, 98_304, _ARM, ("-mcpu=cortex-m4", "-mthumb")),
    "esp32": Board("ESP32-WROOM-32 (application of 1.25 MB)", 1_310_720, 327_680, "xtensa-esp32-elf-gcc", ()),
}
"""By name: what their makers' pages and the Arduino cores say."""


@dataclass(frozen=True)
class Sizes:
    """What a file takes, in bytes.

    Attributes:
        flash: of its tables and instructions, which without a compiler are guessed.
        ram: of its static memory.
        handed: of what is handed in and out, which belongs to the caller.
        stack: that its functions take at most, without those of libraries; None without a compiler.
        compiler: by which it was measured; None where only tables and memory are known.
    """

    flash: int
    ram: int
    handed: int
    stack: int | None
    compiler: str | None

    def fits(self, board: Board) -> bool:
        """Whether a board has room for it, with what is handed in and out."""
        return self.flash <= board.flash and self.ram + self.handed + (self.stack or 0) <= board.ram


def board_of(name: str) -> Board:
    """The board of a name.

    Raises:
        ExportError: there is none.
    """
    if name not in BOARDS:
        raise ExportError(f"target: expected a board of {', '.join(BOARDS)}, got {name[:40]!r}")
    return BOARDS[name]


def handed_bytes(text: Text, program: Program) -> int:
    """Bytes of inputs and outputs."""
    bytes_of = {str(element): count for element, count in BYTES.items()}
    inputs = sum(value.count * bytes_of[text.code.element(value)] for _, value in program.inputs)
    return inputs + sum(value.count * bytes_of[text.given] for _, value in program.outputs)


def guessed(text: Text, board: Board) -> int:
    """About what instructions take, by how many words and signs they are in C."""
    lines = (line for line in text.code.lines if not line.lstrip().startswith("/*"))
    return board.around + round(board.word * sum(len(WORDS.findall(line)) for line in lines))


def sizes_of(text: Text, program: Program, board: Board) -> Sizes:
    """What a file takes, by `-Os` of the board's compiler where it is found; what is too large is not compiled.

    Raises:
        ExportError: it does not compile.
    """
    handed, compiler = handed_bytes(text, program), board.compiler
    tables = sum(text.tables.values())
    found, measure = shutil.which(compiler), shutil.which(compiler.removesuffix("gcc") + "size")
    if found is None or measure is None or tables > board.flash or text.buffer_bytes > board.ram:
        return Sizes(tables + guessed(text, board), text.buffer_bytes, handed, None, None)
    with tempfile.TemporaryDirectory() as folder:
        place = put(text, folder)
        command = [found, *board.options, "-Os", "-std=c99", "-fstack-usage", "-c", f"{text.stem}.c", "-o", "chip.o"]
        ran(text, command, place)
        (line,) = ran(text, [measure, "chip.o"], place).decode().splitlines()[1:]
        usage = next(place.glob("*.su")).read_text(encoding="utf-8").splitlines()
    code, data, zeros = (int(word) for word in line.split()[:3])
    return Sizes(code + data, data + zeros, handed, _stack(text, usage), compiler)


def _stack(text: Text, usage: list[str]) -> int:
    """The longest way down: the function, a step, and what the step asks."""
    taken = {line.split("\t")[0].rpartition(":")[2]: int(line.split("\t")[1]) for line in usage}
    run = taken.pop(f"{text.prefix}_run", 0)
    steps = [count for name, count in taken.items() if name[len(text.prefix) + 1 :][:1].isdigit()]
    asked = [count for name, count in taken.items() if not name[len(text.prefix) + 1 :][:1].isdigit()]
    return run + max(steps, default=0) + max(asked, default=0)
