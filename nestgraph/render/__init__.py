"""Pictures of networks, of runs and of what changed: as DOT, SVG, PNG and PDF, in notebooks and for other viewers."""

from nestgraph.render.curves import curves, curves_svg
from nestgraph.render.draw import draw, draw_difference
from nestgraph.render.heat_map import input_heat_map
from nestgraph.render.interchange import layer_graph_data, model_explorer, overlays, write_interchange
from nestgraph.render.layer_diagram import layer_diagram
from nestgraph.render.layer_difference import layer_difference
from nestgraph.render.neuron_diagram import neuron_diagram
from nestgraph.render.neuron_dot import neuron_dot
from nestgraph.render.notebook import bundle, mimebundle

__all__ = [
    "bundle",
    "curves",
    "curves_svg",
    "draw",
    "draw_difference",
    "input_heat_map",
    "layer_diagram",
    "layer_difference",
    "layer_graph_data",
    "mimebundle",
    "model_explorer",
    "neuron_diagram",
    "neuron_dot",
    "overlays",
    "write_interchange",
]
