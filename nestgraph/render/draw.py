"""Drawing a network, and the difference of two: every view as a file, in four formats and two themes."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from nestgraph.errors import RenderError
from nestgraph.graph.network import Network
from nestgraph.render.area_maps import area_scene
from nestgraph.render.engine import NoEngineError, laid_out
from nestgraph.render.files import picture_path, write_whole
from nestgraph.render.heat_map import input_heat_map
from nestgraph.render.layer_diagram import layer_diagram
from nestgraph.render.layer_difference import layer_difference
from nestgraph.render.map_difference import area_difference, input_difference
from nestgraph.render.matrix import matrix_difference, matrix_scene
from nestgraph.render.neuron_diagram import MAX_EDGES, MAX_UNITS, neuron_scene
from nestgraph.render.neuron_difference import neuron_difference
from nestgraph.render.neuron_dot import neuron_dot
from nestgraph.render.scene import Scene
from nestgraph.render.scene_file import write_scene
from nestgraph.render.selection import edge_total
from nestgraph.render.theme import Theme, check_theme, shaded_dot
from nestgraph.spec.arguments import checked

View = Literal["layers", "neurons", "matrix", "inputs", "areas"]
VIEWS: tuple[View, ...] = ("layers", "neurons", "matrix", "inputs", "areas")
MOST_COLUMNS = 16  # of a neuron diagram that is chosen unasked
SCENES: Mapping[View, Callable[[Network], Scene]] = {"matrix": matrix_scene, "areas": area_scene}
DIFFERENCES: Mapping[View, Callable[[Network, Network], Scene]] = {
    "neurons": neuron_difference,
    "matrix": matrix_difference,
    "inputs": input_difference,
    "areas": area_difference,
}


@checked(RenderError)
def draw(
    network: Network,
    path: str | os.PathLike[str],
    view: View | None = None,
    *,
    theme: Theme = "light",
    among: Sequence[Network] = (),
    overwrite: bool = False,
) -> Path:
    """Draw a network into a file whose suffix (.svg, .png, .pdf, and .dot for layers and neurons) names the format.

    The same network gives the same bytes on one machine.

    Args:
        network: what to draw.
        path: the file to write.
        view: `layers`, a box a layer; `neurons`, every unit and edge or the strongest; `matrix`, the connections of
            each projection as a raster; `inputs`, what is read of the input image; `areas`, where convolutions are
            computed. Without one, a network of up to 300 units, 2,000 edges and 16 layers is drawn by neurons, a
            larger one by layers.
        theme: light or dark.
        among: other versions of the network. In the view of neurons, a unit has one place in the pictures of all, and
            one that is absent leaves a hole.
        overwrite: replace a file that is no picture of ours; one of ours is replaced without it.

    Returns:
        The path.

    Raises:
        RenderError: the suffix, view or theme is unknown, the network has no such view, the file cannot be written, or
            there is no Graphviz for a diagram of layers; then its DOT text is written beside the path, and the message
            says where.
    """
    chosen = _checked(view, theme) or fitting_view(network)
    target, picture_format = picture_path(path, overwrite)
    if chosen == "layers":
        return _laid_out(layer_diagram(network), target, picture_format, theme, overwrite)
    if chosen == "neurons" and picture_format == "dot":
        return write_whole(target, shaded_dot(neuron_dot(network), theme), overwrite)
    if chosen == "inputs":
        return input_heat_map({target.stem: network}, path, theme=theme, overwrite=overwrite)
    make = partial(neuron_scene, among=among) if chosen == "neurons" else SCENES[chosen]
    return write_scene(target, lambda: make(network), theme, overwrite)


@checked(RenderError)
def draw_difference(
    old: Network,
    new: Network,
    path: str | os.PathLike[str],
    view: View | None = None,
    *,
    theme: Theme = "light",
    overwrite: bool = False,
) -> Path:
    """Draw what changed from one network to another; see `draw` for paths, views, themes and `overwrite`.

    Units are matched by id. What was added is blue, solid and +; removed vermilion, dashed and -; changed purple
    and ~; what stayed the same is grey, and dormant light grey.

    Raises:
        RenderError: as `draw`; or the networks have no convolution, or no image as input, in common.
    """
    fitting: View = "neurons" if fitting_view(old) == fitting_view(new) == "neurons" else "layers"
    chosen = _checked(view, theme) or fitting
    target, picture_format = picture_path(path, overwrite)
    if chosen == "layers":
        return _laid_out(layer_difference(old, new), target, picture_format, theme, overwrite)
    return write_scene(target, lambda: DIFFERENCES[chosen](old, new), theme, overwrite)


def _checked(view: View | None, theme: Theme) -> View | None:
    if view is not None and view not in VIEWS:
        raise RenderError(f"draw expected a view among {', '.join(map(repr, VIEWS))}, got {str(view)[:40]!r}")
    check_theme(theme)
    return view


def fitting_view(network: Network) -> View:
    """By neurons where all of a network fits in, else by layers."""
    fits = (
        network.unit_count <= MAX_UNITS
        and len(network.layer_names) <= MOST_COLUMNS
        and edge_total(network) <= MAX_EDGES
    )
    return "neurons" if fits else "layers"


def _laid_out(text: str, target: Path, picture_format: str, theme: Theme, overwrite: bool) -> Path:
    toned = shaded_dot(text, theme)
    if picture_format == "dot":
        return write_whole(target, toned, overwrite)
    try:
        return write_whole(target, laid_out(toned, picture_format), overwrite)
    except NoEngineError as error:
        written = write_whole(target.with_suffix(".dot"), toned, overwrite)
        raise RenderError(
            f"drawing {target.name} {error}; the DOT text is in {written}: "
            "install pygraphviz or Graphviz, or draw the view 'neurons', which needs neither"
        ) from error
