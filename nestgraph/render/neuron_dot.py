"""The neuron diagram as DOT text with fixed positions, for other tools: `neato -n` and `dot` draw it as placed."""

# The package graphviz has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import graphviz

from nestgraph.graph.network import Network
from nestgraph.graph.view import Node
from nestgraph.render.neuron_diagram import MAX_EDGES, MAX_UNITS
from nestgraph.render.neuron_plan import Column, Plan, Stroke, plan
from nestgraph.render.selection import select
from nestgraph.render.style import BLUE, GREY, INK, MUTED, PAPER, VERMILION, plain, unit_words

POINTS_PER_INCH = 72


def neuron_dot(network: Network, max_units: int = MAX_UNITS, max_edges: int = MAX_EDGES) -> str:
    """The DOT text of the neuron diagram: the units, edges, signs and positions of `neuron_scene`, without kernels.

    Nodes are named by layer and id, such as `"fc1 7"`; positions are points, so `pos` means the same to the
    engine `nop`, which the text asks for, and to `neato -n`.
    """
    places = plan(network, select(network, max_units, max_edges))
    statement = graphviz.escape(places.selection.statement())
    dot = graphviz.Digraph(
        "neurons",
        graph_attr={
            "layout": "nop",
            "splines": "line",
            "bgcolor": PAPER,
            "label": statement,
            "fontname": "Helvetica",
            "fontsize": "11",
        },
        node_attr={"fontname": "Helvetica", "fontsize": "8", "fixedsize": "true", "color": MUTED, "fontcolor": INK},
        edge_attr={"arrowhead": "none"},
    )
    for column in places.columns:
        _add_column(dot, places, column)
    for stroke in places.strokes:
        dot.edge(_key(stroke.source), _key(stroke.target), **_look(stroke))
    return dot.source


def _key(node: Node) -> str:
    return f"{node[0]} {node[1]}"


def _look(stroke: Stroke) -> dict[str, str]:
    tooltip = graphviz.escape(stroke.curve.title)
    if not stroke.projection.weighted:
        return {"color": GREY, "style": "dotted", "tooltip": tooltip}
    positive = stroke.value >= 0
    style = "solid" if positive else "dashed"
    return {
        "color": BLUE if positive else VERMILION,
        "style": style,
        "penwidth": f"{0.3 + 0.4 * stroke.level:.1f}",
        "tooltip": tooltip,
    } | ({"arrowhead": "odot"} if stroke.projection.gates else {})


def _add_column(dot: graphviz.Digraph, places: Plan, column: Column) -> None:
    layer = column.layer
    words = [layer.name, plain(layer.label), unit_words(layer, column.total, bool(column.slots))]
    heading = r"\n".join(graphviz.escape(word) for word in words if word)
    look = {"shape": "plaintext", "fontsize": "12", "width": "2", "height": "0.7"}
    dot.node(layer.name, label=heading, pos=_pos(places, column.x, 100), **look)
    side = f"{column.side / POINTS_PER_INCH:.3f}"
    for unit, y in column.places.items():
        shape = "square" if column.tiles else "circle"
        pos = _pos(places, column.x, y)
        dot.node(f"{layer.name} {unit}", label=str(unit), shape=shape, width=side, height=side, pos=pos)
    if column.hidden:
        look = {"shape": "box", "style": "dashed", "width": "1.4", "height": "0.28"}
        below = column.bottom + 18
        dot.node(f"{layer.name} more", label=column.hidden_words, pos=_pos(places, column.x, below), **look)


def _pos(places: Plan, x: float, y: float) -> str:
    return f"{x:.1f},{places.height - y:.1f}!"
