"""What a file takes, layer by layer, before anything runs."""

from dataclasses import dataclass

from nestgraph.chip.boards import Board, Sizes
from nestgraph.chip.program import Program
from nestgraph.chip.text import Text


@dataclass(frozen=True)
class LayerReport:
    """What a layer takes.

    Attributes:
        layer: its name.
        flash: bytes of its tables, each counted with the first layer that reads it.
        ram: bytes of what its steps write, some of which lie where others have lain.
        multiply_adds: for one sample.
    """

    layer: str
    flash: int
    ram: int
    multiply_adds: int


@dataclass(frozen=True)
class Report:
    """What a file takes.

    Attributes:
        layers: in their order.
        tables: bytes of all tables.
        sizes: of the whole file, as measured or known.
        board: which it is for; None for a Cortex-M4.
        multiply_adds: of one sample.
    """

    layers: tuple[LayerReport, ...]
    tables: int
    sizes: Sizes
    board: Board | None
    multiply_adds: int

    @property
    def fits(self) -> bool | None:
        """Whether it fits the board; None without one."""
        return None if self.board is None else self.sizes.fits(self.board)

    @property
    def words(self) -> list[str]:
        """A line for each layer, and those of the whole."""
        lines = [f"{'layer':20} {'tables':>8} {'values':>8} {'multiply-adds':>14}"]
        lines += [f"{row.layer[:20]:20} {row.flash:>8,} {row.ram:>8,} {row.multiply_adds:>14,}" for row in self.layers]
        sizes = self.sizes
        how = (
            f"by {sizes.compiler} -Os"
            if sizes.compiler
            else "of which instructions are guessed: it was not compiled for a board"
        )
        stack = "" if sizes.stack is None else f", {sizes.stack:,} of stack"
        lines.append(f"flash {sizes.flash:,} bytes ({how})")
        lines.append(f"RAM {sizes.ram:,} bytes{stack}, {sizes.handed:,} handed in and out")
        if self.board is not None:
            fits = "fits" if self.fits else "does not fit"
            lines.append(f"{fits} {self.board.title}: {self.board.flash:,} of flash, {self.board.ram:,} of RAM,")
            lines.append("with nothing beside: start-up code, a core and its serial line take their share too")
        return lines


def report_of(text: Text, program: Program, sizes: Sizes, board: Board | None) -> Report:
    """What a file takes, by layer."""
    flash = text.tables
    element = 1 if text.element == "int8_t" else 4
    rows: list[LayerReport] = []
    for layer in dict.fromkeys(step.layer for step in program.steps):
        steps = [step for step in program.steps if step.layer == layer]
        ram = sum(step.target.count * element for step in steps if step.target.name in text.memory.places)
        multiply_adds = sum(step.multiplications for step in steps)
        rows.append(LayerReport(layer, flash.get(layer, 0), ram, multiply_adds))
    total = sum(row.multiply_adds for row in rows)
    return Report(tuple(rows), sum(flash.values()), sizes, board, total)
