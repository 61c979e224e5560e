"""The layer diagram: a box a layer with its counts, an edge a projection, as DOT text."""

from html import escape as markup
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
        | {"rankdir": "LR", "bgcolor": PAPER, "pad": "0.3", "nodesep": "0.45", "ranksep": "0.5", "label": words + r"\l\n"}
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
            turns = places.row(ends[0]) != places.row(ends[1])
            dot.edge(*ends, **_edge(network, projection, turns), **_pull(dot, places, *ends))


def _edge(network: Structure, projection: Projection, turns: bool) -> dict[str, str]:
    live = network.connection_columns(projection.name).active
    words = (projection_words(projection), f"{live:,} live")
    clearance = "\u00a0" * 4 if turns else ""  # Graphviz sets the label of a vertical edge upon it
    label = r"\n".join(graphviz.escape(word + clearance) for word in words)
    return {"label": label} | ({"style": "dashed"} if isinstance(projection, OneToOne) else {})


def _pull(dot: graphviz.Digraph, places: Grid, source: str, target: str) -> dict[str, str]:
    """How an edge holds its boxes in line: edges to the left through an invisible one to the right."""
    if places.row(source) != places.row(target):
        return {"constraint": "false"}
    if places.row(source) % 2 == 0:
        return {"weight": "4"}
    dot.edge(target, source, style="invis", weight="4")
    return {"constraint": "false"}


def _hold_rows(dot: graphviz.Digraph, places: Grid) -> None:
    cells = places.cells()
    for column in range(places.row_length):
        keys = [key for (place, _), members in cells.items() if place == column for key in members]
        with dot.subgraph() as rank:
            rank.attr(rank="same")
            for key in keys:
                rank.node(key, group=f"row{places.row(key)}")
            for above, below in zip(keys, keys[1:], strict=False):
                rank.edge(above, below, style="invis")


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
    name = run.key if len(run.names) == 1 else f"{run.key} … {run.names[-1]}  x {len(run.names)}"
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
