"""The layer diagram: a box a layer with its counts, an edge a projection, as DOT text."""

# The package graphviz has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from itertools import pairwise
from typing import Any, cast

import graphviz

from nestgraph.graph.cost import Cost, NetworkCost, cost
from nestgraph.graph.heads import slot_words
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.summary import operation_words
from nestgraph.render.boxes import BAR, FONT, bar_row, table_label, text_row, title_row
from nestgraph.render.folding import Grid, Run, grid, runs
from nestgraph.render.style import (
    BLUE,
    FAINT,
    GREY,
    INK,
    MUTED,
    PAPER,
    fitted,
    plain,
    size_words,
    unit_words,
)
from nestgraph.spec.projection import Projection

LABEL_WIDTH = 230
MOST_LABELS, MOST_EDGES = 60, 1500
QUICK = {
    "splines": "line",
    "mclimit": "0.1",
    "nslimit": "1",
    "nslimit1": "1",
    "size": "36,36",
}  # size in inches, at most
MOST_PARALLEL = 3  # projections between two boxes that are drawn one by one


def layer_diagram(network: Network) -> str:
    """The DOT text of a network's layers.

    A box shows a layer's name and label, kind, units in and out, operations, live of possible connections with a
    density bar, parameters and FLOPs (2 per multiply-accumulate); that of an opaque layer is dashed. Runs of equal
    layers are one box marked `x k` with their sums; diagrams of many layers run in rows, every second from right to
    left.
    """
    boxes, table = runs(network), cost(network)
    places = grid(network, boxes)
    dot = graphviz.Digraph("layers", **frame(_words(table.total, network) + r"\l"))
    for run in boxes:
        dot.node(run.key, label=_box(network, run, table), shape="plain")
    _add_projections(dot, network, boxes, places)
    hold_rows(dot, places)
    return dot.source


def _words(total: Cost, network: Structure) -> str:
    return (
        f"{network.unit_count:,} units, {total.connections:,} of {total.possible:,} connections live, "
        f"{total.parameters:,} parameters, {total.flops:,} FLOPs (2 per multiply-accumulate)"
    )


def frame(words: str) -> dict[str, Any]:
    """The attributes of a diagram under a line of words."""
    common = {"fontname": FONT, "fontsize": "10", "fontcolor": MUTED}
    return {
        "graph_attr": common
        | {
            "rankdir": "LR",
            "bgcolor": PAPER,
            "pad": "0.3",
            "nodesep": "0.45",
            "ranksep": "0.5",
            "label": words + r"\n",
        }
        | {"fontsize": "11", "labelloc": "t", "labeljust": "l"},
        "node_attr": {"fontname": FONT, "fontcolor": INK},
        "edge_attr": common | {"color": MUTED, "arrowsize": "0.7", "penwidth": "1.2"},
    }


def _add_projections(dot: graphviz.Digraph, network: Structure, boxes: tuple[Run, ...], places: Grid) -> None:
    joined = joined_boxes(network, boxes)
    bare = crowded(dot, joined, boxes)
    for ends, projections in joined.items():
        if len(projections) <= MOST_PARALLEL:
            for projection in projections:
                add_edge(dot, places, ends, _edge(network, projection), bare)
        else:
            live = sum(network.connection_columns(projection.name).active for projection in projections)
            label = rf"{len(projections):,} projections\n{live:,} live"
            add_edge(dot, places, ends, {"label": label}, bare)


def crowded(dot: graphviz.Digraph, joined: dict[tuple[str, str], list[Projection]], boxes: tuple[Run, ...]) -> bool:
    """Whether there are too many edges for labels, which then are tooltips; those beyond `MOST_EDGES` are dropped.

    Graphviz takes minutes over hundreds of labelled edges, and fails at some.
    """
    if len(joined) <= max(MOST_LABELS, 2 * len(boxes)):
        return False
    note = f"the labels of {len(joined):,} edges are left out"
    if len(joined) > MOST_EDGES:
        note += f", and {len(joined) - MOST_EDGES:,} of the edges"
        for ends in list(joined)[MOST_EDGES:]:
            del joined[ends]
    words = cast(str, dot.graph_attr["label"]).removesuffix(r"\n")
    dot.graph_attr.update(QUICK | {"label": rf"{words}{note}\l\n"})
    return True


def joined_boxes(structure: Structure, boxes: tuple[Run, ...]) -> dict[tuple[str, str], list[Projection]]:
    """The projections from each box to each other, in order."""
    key_of = {name: run.key for run in boxes for name in run.names}
    found: dict[tuple[str, str], list[Projection]] = {}
    for name in structure.projection_names:
        projection = structure.projection(name)
        ends = key_of[projection.source], key_of[projection.target]
        if ends[0] != ends[1]:
            found.setdefault(ends, []).append(projection)
    return found


def _edge(network: Structure, projection: Projection) -> dict[str, str]:
    live = f"{network.connection_columns(projection.name).active:,} live"
    lines = (projection.words, *((live,) if projection.weighted else ()))
    label = r"\n".join(map(graphviz.escape, lines))
    return {"label": label} | ({"style": "dashed"} if projection.couples else {})


def add_edge(
    dot: graphviz.Digraph, places: Grid, ends: tuple[str, str], look: dict[str, str], bare: bool = False
) -> None:
    """Every edge is given to Graphviz from left to right, or it would be led around; `dir=back` turns its arrow."""
    left, right = (places.column(end) for end in ends)
    if bare:
        look = {key: value for key, value in look.items() if key != "label"} | {"tooltip": look["label"]}
    if left == right:
        dot.edge(*ends, **look | ({} if bare else {"label": _beside(look["label"])}))
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


def hold_rows(dot: graphviz.Digraph, places: Grid) -> None:
    """Keep the boxes of a wrapped diagram in their rows and columns."""
    if not places.wrapped:
        return
    cells = places.cells()
    for column in range(places.row_length):
        keys = [key for (place, _), members in cells.items() if place == column for key in members]
        rank = graphviz.Digraph(graph_attr={"rank": "same"})
        for key in keys:
            rank.node(key, group=f"row{places.row(key)}")
        for above, below in pairwise(keys):
            rank.edge(above, below, style="invis")
        dot.subgraph(rank)


def _box(network: Structure, run: Run, table: NetworkCost) -> str:
    """One box as an HTML-like label. Free text enters through `markup` only."""
    layer = network.layer(run.key)
    total = sum((table.by_layer[name] for name in run.names), Cost())
    rows = [title_row(run_words(run))]
    if layer.label:
        rows.append(text_row(fitted(plain(layer.label), 10, LABEL_WIDTH), 10, MUTED, italic=True))
    rows.append(text_row(_units(network, run), 10, INK))
    if (layer.operations or network.matches(run.key)) and not run.middle:
        rows.append(text_row(operation_words(layer, slot_words(network, run.key)).replace("_", " "), 10, MUTED))
    if total.possible:
        rows.append(_density(total))
    if layer.kind != "input":
        rows.append(text_row(f"{total.parameters:,} parameters, {total.flops:,} FLOPs", 10, MUTED))
    if layer.opaque is not None:
        rows.insert(1, text_row(fitted(plain(f"opaque: {layer.opaque}"), 10, LABEL_WIDTH), 10, MUTED, italic=True))
    pen = "2" if layer.kind == "input" or layer.output else "1"
    style = "ROUNDED" if layer.opaque is None else "ROUNDED,DASHED"
    return table_label(rows, pen, GREY, style)


def run_words(run: Run) -> str:
    """The name of a box."""
    if run.middle:
        return f"{run.key} … {run.names[-1]}: {len(run.names):,} layers"
    return run.key if len(run.names) == 1 else f"{run.key} … {run.names[-1]} x {len(run.names)}"


def _units(network: Structure, run: Run) -> str:
    layer, units = network.layer(run.key), len(network.unit_columns(run.key))
    if run.middle:
        return f"{sum(len(network.unit_columns(name)) for name in run.names):,} units, not shown one by one"
    size = size_words(layer)
    if layer.kind == "input":
        living = unit_words(layer, units) if units == layer.features else f"{units:,} of {layer.features:,} inputs"
        return f"{living} of {size}" if size else living
    sources = {projection.source for projection in network.incoming(run.key)}
    feeding = sum(len(network.unit_columns(source)) for source in sources)
    role, living = " (output)" if layer.output else "", unit_words(layer, units, bool(network.matches(run.key)))
    return f"{feeding:,} → {living}{f' of {size}' if size else ''}{role}"


def _density(total: Cost) -> str:
    share = total.connections / total.possible
    filled = min(BAR, max(2, round(BAR * share))) if total.connections else 0
    words = f"{total.connections:,} / {total.possible:,} connections ({share:.1%})"
    return bar_row((filled, BLUE), (BAR - filled, FAINT)) + text_row(words, 10, INK)
