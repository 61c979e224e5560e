"""Drawing a network: the two diagrams as files in four formats, and as what a notebook shows."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from nestgraph.errors import RenderError
from nestgraph.graph.network import Network
from nestgraph.render.canvas import painted
from nestgraph.render.engine import NoEngineError, laid_out
from nestgraph.render.files import picture_path, write_whole
from nestgraph.render.layer_diagram import layer_diagram
from nestgraph.render.neuron_diagram import MAX_EDGES, MAX_UNITS, neuron_diagram, neuron_scene
from nestgraph.render.neuron_dot import neuron_dot
from nestgraph.render.selection import edge_total

View = Literal["layers", "neurons"]
MOST_COLUMNS = 16  # of a neuron diagram that is chosen unasked
NOTEBOOK_BYTES = 200_000
NOTEBOOK_LIMITS = ((MAX_UNITS, MAX_EDGES), (120, 600))


def draw(network: Network, path: str | os.PathLike[str], view: View | None = None) -> Path:
    """Draw a network into a file whose suffix (.dot, .svg, .png, .pdf) names the format; returns its path.

    Without a view, a network of up to 300 units, 2,000 edges and 16 layers is drawn by neurons, a larger one by
    layers. The same network gives the same bytes on one machine.

    Raises:
        RenderError: the suffix or view is unknown, the file cannot be written, or there is no Graphviz for a diagram
            of layers; then its DOT text is written beside the path, and the message says where.
    """
    target, picture_format = picture_path(path)
    if view not in ("layers", "neurons", None):
        raise RenderError(f"draw expected the view 'layers' or 'neurons', got {str(view)[:40]!r}")
    if (view or _fitting_view(network)) == "neurons":
        return write_whole(target, _neurons(network, picture_format))
    return _draw_layers(network, target, picture_format)


def _fitting_view(network: Network) -> View:
    fits = (
        network.unit_count <= MAX_UNITS
        and len(network.layer_names) <= MOST_COLUMNS
        and edge_total(network) <= MAX_EDGES
    )
    return "neurons" if fits else "layers"


def _neurons(network: Network, picture_format: str) -> str | bytes:
    if picture_format == "dot":
        return neuron_dot(network)
    if picture_format == "svg":
        return neuron_diagram(network)
    return painted(neuron_scene(network), "png" if picture_format == "png" else "pdf")


def _draw_layers(network: Network, target: Path, picture_format: str) -> Path:
    text = layer_diagram(network)
    if picture_format == "dot":
        return write_whole(target, text)
    try:
        return write_whole(target, laid_out(text, picture_format))
    except NoEngineError as error:
        written = write_whole(target.with_suffix(".dot"), text)
        raise RenderError(
            f"drawing {target.name} {error}; the DOT text is in {written}: "
            "install pygraphviz or Graphviz, or draw the view 'neurons', which needs neither"
        ) from error


def mimebundle(network: Network) -> dict[str, str]:
    """What a notebook shows: a line of text, and an SVG picture where one of up to 200 kB can be drawn."""
    bundle = {"text/plain": repr(network)}
    picture = _notebook_picture(network)
    return bundle if picture is None else bundle | {"image/svg+xml": picture}


def _notebook_picture(network: Network) -> str | None:
    if _fitting_view(network) == "layers":
        with suppress(RenderError):
            picture = laid_out(layer_diagram(network), "svg").decode()
            return picture if len(picture.encode()) <= NOTEBOOK_BYTES else None
    pictures = (neuron_diagram(network, *limits) for limits in NOTEBOOK_LIMITS)
    return next((picture for picture in pictures if len(picture.encode()) <= NOTEBOOK_BYTES), None)
