"""The plain-text table of a network."""

from collections.abc import Sequence

from nestgraph.graph.cost import Cost, cost
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import slot_words
from nestgraph.graph.structure import Structure
from nestgraph.spec.extents import in_words
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Projection

HEADINGS = ("layer", "from", "units", "output", "operations", "connections", "possible", "live", "parameters", "FLOPs")
LEFT = 5  # columns of text are aligned left, counts right


def operation_words(layer: Layer, slots: str = "") -> str:
    """The layer's chain of operations in words, such as `batch_norm, relu, max 2x2`; before it what is special.

    Args:
        layer: the layer.
        slots: of heads, how many they compare at (see `slot_words`).
    """
    marks = (*["opaque"] * (layer.opaque is not None), *["frozen"] * bool(layer.frozen))
    return ", ".join((*marks, *[slots] * bool(slots), *(operation.words for operation in layer.operations)))


def summary(structure: Structure) -> str:
    """A table of layers with their counts, a line of totals, and how FLOPs are counted."""
    table = cost(structure)
    rows: list[tuple[str, ...]] = [HEADINGS]
    for name in structure.layer_names:
        layer = structure.layer(name)
        sources = ", ".join(_source(projection) for projection in structure.incoming(name))
        size = output_size(layer)
        form = "scalar" if size is None else in_words(size)
        words = operation_words(layer, slot_words(structure, name))
        rows.append((name, sources, *_counts(table.by_layer[name], form, words)))
    rows.append(("total", "", *_counts(table.total, "", "")))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(_cell(row, column, widths) for column in range(len(HEADINGS))).rstrip() for row in rows]
    rule = "-" * max(len(line) for line in lines)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], _foot(table.unmeasured, table.uncounted)])


def _source(projection: Projection) -> str:
    """What a layer reads: `x` before a gate, `query` or `key` before a side, and behind it what is special of how."""
    before = "x " if projection.gates else f"{projection.words} " if projection.matches else ""
    words = before + projection.source
    return f"{words} ({', '.join(projection.marks)})" if projection.marks else words


def _foot(unmeasured: Sequence[str], uncounted: Sequence[str]) -> str:
    """How FLOPs are counted, and what is not."""
    words = "FLOPs = 2 per multiply-accumulate, static"
    if unmeasured:
        words += f"; not those of {len(unmeasured)} opaque layer{'s'[: len(unmeasured) > 1]}"
    if uncounted:
        words += f", nor the parameters inside {', '.join(uncounted)[:80]}"
    return words


def _counts(entry: Cost, form: str, operations: str) -> tuple[str, ...]:
    live = f"{entry.connections / entry.possible:.1%}" if entry.possible else ""
    numbers = (f"{entry.connections:,}", f"{entry.possible:,}", live, f"{entry.parameters:,}", f"{entry.flops:,}")
    return (f"{entry.units:,}", form, operations, *numbers)


def _cell(row: tuple[str, ...], column: int, widths: list[int]) -> str:
    text, width = row[column], widths[column]
    return text.ljust(width) if column < LEFT and column != 2 else text.rjust(width)
