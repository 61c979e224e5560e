"""The layer diagram: a box a layer with its counts, an edge a projection, as DOT text."""

# The package graphviz has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from html import escape
from itertools import pairwise
from typing import Any

import graphviz

from nestgraph.graph.cost import Cost, NetworkCost, cost
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.summary import operation_words
from nestgraph.render.folding import Grid, Run, grid, runs
from nestgraph.render.style import (
    BLUE,
    FAINT,
    GREY,
    INK,
    MUTED,
    PANEL,
    PAPER,
    fitted,
    plain,
    projection_words,
    size_words,
    unit_words,
)
from nestgraph.spec.projection import OneToOne, Projection

FONT = "Helvetica"
BAR = 168  # points: the width of a density bar and the least width of a box
LABEL_WIDTH = 230


def layer_diagram(network: Network) -> str:
    """The DOT text of a network's layers.

    A box shows a layer's name and label, kind, units in and out, operations, live of possible connections with a
    density bar, parameters and FLOPs (2 per multiply-accumulate). Runs of equal layers are one box marked
    `x k` with their sums; diagrams of many layers run in rows, every second from right to left.
    """
    boxes, table = runs(network), cost(network)
    places = grid(network, boxes)
    dot = graphviz.Digraph("layers", **_frame(table.total, network))
    for run in boxes:
        dot.node(run.key, label=_box(network, run, table), shape="plain")
    _add_projections(dot, network, boxes, places)
    if places.wrapped:
        _hold_rows(dot, places)
    return dot.source


def _frame(total: Cost, network: Structure) -> dict[str, Any]:
    words = (
        f"{network.unit_count:,} units, {total.connections:,} of {total.possible:,} connections live, "
        f"{total.parameters:,} parameters, {total.flops:,} FLOPs (2 per multiply-accumulate)"
    )
    common = {"fontname": FONT, "fontsize": "10", "fontcolor": MUTED}
    return {
        "graph_attr": common
        | {
            "rankdir": "LR",
            "bgcolor": PAPER,
            "pad": "0.3",
            "nodesep": "0.45",
            "ranksep": "0.5",
            "label": words + r"\l\n",
        }
        | {"fontsize": "11", "labelloc": "t", "labeljust": "l"},
        "node_attr": {"fontname": FONT, "fontcolor": INK},
        "edge_attr": common | {"color": MUTED, "arrowsize": "0.7", "penwidth": "1.2"},
    }


def _add_projections(dot: graphviz.Digraph, network: Structure, boxes: tuple[Run, ...], places: Grid) -> None:
    key_of = {name: run.key for run in boxes for name in run.names}
    for name in network.projection_names:
        projection = network.projection(name)
        ends = key_of[projection.source], key_of[projection.target]
        if ends[0] != ends[1]:
            _add_edge(dot, places, ends, _edge(network, projection))


def _edge(network: Structure, projection: Projection) -> dict[str, str]:
    live = network.connection_columns(projection.name).active
    label = r"\n".join(graphviz.escape(words) for words in (projection_words(projection), f"{live:,} live"))
    return {"label": label} | ({"style": "dashed"} if isinstance(projection, OneToOne) else {})


def _add_edge(dot: graphviz.Digraph, places: Grid, ends: tuple[str, str], look: dict[str, str]) -> None:
    """Every edge is given to Graphviz from left to right, or it would be led around; `dir=back` turns its arrow."""
    left, right = (places.column(end) for end in ends)
    if left == right:
        dot.edge(*ends, **look | {"label": _beside(look["label"])})
        return
    weight = "4" if places.row(ends[0]) == places.row(ends[1]) else "0"
    if left < right:
        dot.edge(*ends, **look, weight=weight)
    else:
        dot.edge(*reversed(ends), **look, weight=weight, dir="back")


def _beside(label: str) -> str:
    """The label of a vertical edge, which Graphviz centres upon the line, with spaces that push it to the left."""
    lines = label.split(r"\n")
    space = "\u00a0" * max(4, 2 * max(map(len, lines)) - 12)
    return r"\n".join(line + space for line in lines)


def _hold_rows(dot: graphviz.Digraph, places: Grid) -> None:
    cells = places.cells()
    for column in range(places.row_length):
        keys = [key for (place, _), members in cells.items() if place == column for key in members]
        rank = graphviz.Digraph(graph_attr={"rank": "same"})
        for key in keys:
            rank.node(key, group=f"row{places.row(key)}")
        for above, below in pairwise(keys):
            rank.edge(above, below, style="invis")
        dot.subgraph(rank)


def markup(text: str) -> str:
    """Text as it can stand in an HTML-like label, where Graphviz expands backslashes too."""
    return escape(text).replace("\\", "\\\\")


def _box(network: Structure, run: Run, table: NetworkCost) -> str:
    """One box as an HTML-like label. Free text enters through `markup` only."""
    layer = network.layer(run.key)
    total = sum((table.by_layer[name] for name in run.names), Cost())
    rows = [_title(run)]
    if layer.label:
        rows.append(_row(fitted(plain(layer.label), 10, LABEL_WIDTH), 10, MUTED, italic=True))
    rows.append(_row(_units(network, run), 10, INK))
    if layer.operations:
        rows.append(_row(operation_words(layer).replace("_", " "), 10, MUTED))
    if total.possible:
        rows.append(_density(total))
    if layer.kind != "input":
        rows.append(_row(f"{total.parameters:,} parameters, {total.flops:,} FLOPs", 10, MUTED))
    pen = "2" if layer.kind == "input" or layer.output else "1"
    attributes = f'BORDER="{pen}" COLOR="{GREY}" STYLE="ROUNDED" BGCOLOR="{PANEL}" CELLBORDER="0" CELLPADDING="2"'
    return f'<<TABLE {attributes} CELLSPACING="2">{"".join(rows)}</TABLE>>'


def _title(run: Run) -> str:
    name = run.key if len(run.names) == 1 else f"{run.key} … {run.names[-1]} x {len(run.names)}"
    return f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="14"><B>{markup(name)}</B></FONT></TD></TR>'


def _row(text: str, size: int, colour: str, italic: bool = False) -> str:
    words = f"<I>{markup(text)}</I>" if italic else markup(text)
    return f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="{size}" COLOR="{colour}">{words}</FONT></TD></TR>'


def _units(network: Structure, run: Run) -> str:
    layer, units = network.layer(run.key), len(network.unit_columns(run.key))
    size = size_words(layer)
    if layer.kind == "input":
        living = unit_words(layer, units) if units == layer.features else f"{units:,} of {layer.features:,} inputs"
        return f"{living} of {size}" if size else living
    sources = {projection.source for projection in network.incoming(run.key)}
    feeding = sum(len(network.unit_columns(source)) for source in sources)
    role = " (output)" if layer.output else ""
    return f"{feeding:,} → {unit_words(layer, units)}{f' of {size}' if size else ''}{role}"


def _density(total: Cost) -> str:
    share = total.connections / total.possible
    filled = min(BAR, max(2, round(BAR * share))) if total.connections else 0
    cells = "".join(
        f'<TD WIDTH="{width}" HEIGHT="6" FIXEDSIZE="TRUE" BGCOLOR="{colour}"></TD>'
        for width, colour in ((filled, BLUE), (BAR - filled, FAINT))
        if width
    )
    size = f'ALIGN="LEFT" FIXEDSIZE="TRUE" WIDTH="{BAR}" HEIGHT="6"'
    bar = f'<TABLE {size} BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{cells}</TR></TABLE>'
    words = f"{total.connections:,} / {total.possible:,} connections ({share:.1%})"
    return f'<TR><TD ALIGN="LEFT">{bar}</TD></TR>{_row(words, 10, INK)}'
