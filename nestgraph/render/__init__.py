"""Pictures of networks and runs: layers and neurons as DOT, SVG, PNG and PDF, and charts of runs, inputs and areas."""

from nestgraph.render.area_maps import area_maps
from nestgraph.render.curves import curves
from nestgraph.render.draw import draw, mimebundle
from nestgraph.render.heat_map import input_heat_map
from nestgraph.render.layer_diagram import layer_diagram
from nestgraph.render.neuron_diagram import neuron_diagram
from nestgraph.render.neuron_dot import neuron_dot

__all__ = [
    "area_maps",
    "curves",
    "draw",
    "input_heat_map",
    "layer_diagram",
    "mimebundle",
    "neuron_diagram",
    "neuron_dot",
]
