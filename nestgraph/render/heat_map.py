"""The input heat map: where in the image networks read, which on MNIST comes to be the centre of the digit."""

# Matplotlib's keyword arguments are untyped.
# pyright: reportUnknownMemberType=false

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from nestgraph.errors import RenderError
from nestgraph.graph.network import Network
from nestgraph.graph.readings import readings
from nestgraph.render.chart import write_chart
from nestgraph.render.slices import as_image, slice_grid
from nestgraph.render.style import FAINT, HEAT, INK, MUTED, PAPER, plain
from nestgraph.render.style import PANEL as HOLE
from nestgraph.render.theme import Theme
from nestgraph.spec.arrays import AnyArray

Size = tuple[int, int]
MOST_PANELS = 12
LOWEST = 0.72  # height over width of a panel, for the words beside it
WIDEST_SPAN = 1000  # how many times the faintest colour the strongest may be
PANEL, GAP, LEFT, TOP, BOTTOM, BAR = 2.4, 0.14, 0.1, 0.55, 0.22, 0.95  # inches
HOLES = "Empty places: pixels that nothing reads"


def input_heat_map(
    networks: Mapping[str, Network],
    path: str | os.PathLike[str],
    size: Size | None = None,
    theme: Theme = "light",
    overwrite: bool = False,
) -> Path:
    """Draw how much networks read each input pixel into an .svg, .png or .pdf file; returns its path.

    A panel for each network, all on one scale: above, the live connections of each pixel; below, the sum of their
    absolute weights. Where the input is convolved, a connection counts once for each position that reads the pixel.
    Pixels that nothing reads are holes.

    Args:
        networks: by title, such as those of a run's stages; each with one input layer.
        path: the file to write.
        size: (height, width) of the image that a flat input is; by default a square. Maps have their own size.
        theme: light or dark.
        overwrite: replace a file that is no picture of ours.

    Raises:
        RenderError: there are no or too many networks, an input is no image of that size, the suffix is unknown, or
            the file cannot be written.
    """
    if not 1 <= len(networks) <= MOST_PANELS:
        raise RenderError(f"input_heat_map expected 1 to {MOST_PANELS} networks, got {len(networks)}")
    rows = [[pixel_readings(n, size, strength) for n in networks.values()] for strength in (False, True)]
    often = any(p.window or p.gates for n in networks.values() for p in n.outgoing(n.input_names[0]))
    names = ("Readings per pixel" if often else "Live connections per pixel", "Sum of |weight| per pixel")
    hole = HOLES if any((image == 0).any() for image in rows[0]) else ""
    return write_chart(path, lambda: _figure(networks, names, rows, hole), theme, overwrite)


def pixel_readings(network: Network, size: Size | None = None, strength: bool = False) -> AnyArray:
    """How often a network reads each pixel of its input, summed over channels; see `input_heat_map`.

    Args:
        network: with one input layer.
        size: (height, width) of a flat input; by default a square.
        strength: sum |weight| instead of counting.

    Returns:
        float64 (height, width); 0 where the input is absent. A series is a row of pixels; the slices of a volume lie
        side by side.

    Raises:
        RenderError: the network has several input layers, or its input is no image of that size.
    """
    if len(network.input_names) != 1:
        raise RenderError(f"an input heat map expected one input layer, got {', '.join(network.input_names)}")
    name = network.input_names[0]
    layer = network.layer(name)
    total = sum(readings(network, p.name, strength) for p in network.outgoing(name))
    if layer.size is not None:
        return as_image(np.sum(total, axis=0), len(layer.size))
    features = layer.features or 0
    side = math.isqrt(features)
    height, width = size or (side, side)
    if height * width != features:
        words = "a square" if size is None else f"{height} x {width} pixels"
        raise RenderError(f"an input heat map expected an input of {words}, got {features} values: give their size")
    image = np.zeros(features)
    image[network.units(name)] = total
    return image.reshape(height, width)


def _counts(network: Network) -> str:
    name = network.input_names[0]
    inputs = f"{len(network.units(name)):,} inputs, " if network.layer(name).size is None else ""
    return f"{inputs}{network.connection_count:,} connections"


def _figure(
    networks: Mapping[str, Network], names: Sequence[str], rows: Sequence[Sequence[AnyArray]], hole: str
) -> Figure:
    """Panels of fixed inches, so that a picture of many networks is wider and not smaller."""
    tall = PANEL * max(max(image.shape[0] / image.shape[1] for image in rows[0]), LOWEST)
    width = LEFT + len(networks) * (PANEL + GAP) + BAR
    height = TOP + len(rows) * (tall + GAP) + (BOTTOM if hole else 0.0)
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    for place, (name, images) in enumerate(zip(names, rows, strict=True)):
        low = (height - TOP - tall - place * (tall + GAP)) / height
        lefts = [(LEFT + column * (PANEL + GAP)) / width for column in range(len(networks))]
        panels = [figure.add_axes((left, low, PANEL / width, tall / height)) for left in lefts]
        bar = figure.add_axes(((width - BAR) / width, low, 0.12 / width, tall / height))
        _row(panels, bar, name, images, rows[0])
        for axes, network, image in zip(panels, networks.values(), images, strict=True):
            _part(axes, network.layer(network.input_names[0]).size or (), image)
        if not place:
            _head(panels, networks)
    figure.text(LEFT / width, 0.1 / height, hole, fontsize=8.5, color=MUTED)
    return figure


def _part(axes: Axes, size: tuple[int, ...], image: AnyArray) -> None:
    """Lines between the slices of a volume."""
    (below, beside), (high, wide) = slice_grid(size), image.shape
    for place in range(1, below):
        axes.axhline(place * high / below - 0.5, color=PAPER, linewidth=1.5)
    for place in range(1, beside):
        axes.axvline(place * wide / beside - 0.5, color=PAPER, linewidth=1.5)


def _head(panels: Sequence[Axes], networks: Mapping[str, Network]) -> None:
    for axes, (title, network) in zip(panels, networks.items(), strict=True):
        place: dict[str, Any] = {"xytext": (0, 5), "textcoords": "offset points", "xycoords": "axes fraction"}
        axes.annotate(_counts(network), (0, 1), color=MUTED, fontsize=8.5, **place)
        axes.set_title(plain(title)[:40], loc="left", fontsize=10, fontweight="bold", color=INK, pad=19)


def _row(panels: Sequence[Axes], bar: Axes, name: str, images: Sequence[AnyArray], counts: Sequence[AnyArray]) -> None:
    """One measure of all networks, on a logarithmic scale that they share; holes are where the counts are 0."""
    values = np.concatenate([image[image > 0] for image in images])
    least, most = (float(values.min()), float(values.max())) if values.size else (1.0, 1.0)
    floor = max(least, most / WIDEST_SPAN)
    norm = LogNorm(floor, max(most, floor * 1.001))
    for axes, image, count in zip(panels, images, counts, strict=True):
        read = np.ma.masked_where(count == 0, np.maximum(image, floor))
        axes.imshow(read, cmap=HEAT, norm=norm, interpolation="none", aspect="auto")
        _bare(axes)
    scale = Colorbar(bar, ScalarMappable(norm, HEAT), extend="min" if floor > least else "neither")
    scale.outline.set_visible(False)
    bar.set_ylabel(name, color=INK, fontsize=9.5)
    bar.tick_params(colors=MUTED, labelsize=8.5, length=3, which="both")
    bar.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if most / floor < 200 else (1,)))
    bar.yaxis.set_minor_locator(NullLocator())
    bar.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def _bare(axes: Axes) -> None:
    axes.set_facecolor(HOLE)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
