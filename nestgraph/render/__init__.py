"""Pictures of networks and runs: layers and neurons as DOT, SVG, PNG and PDF, and the curves of a run."""

from nestgraph.render.curves import curves
from nestgraph.render.draw import draw, mimebundle
from nestgraph.render.layer_diagram import layer_diagram
from nestgraph.render.neuron_diagram import neuron_diagram
from nestgraph.render.neuron_dot import neuron_dot

__all__ = ["curves", "draw", "layer_diagram", "mimebundle", "neuron_diagram", "neuron_dot"]
