"""Where convolutions compute: the area of each kernel and the coverage of each output map (NeST section 3.2.3)."""

# Matplotlib's keyword arguments are untyped.
# pyright: reportUnknownMemberType=false

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nestgraph.errors import RenderError
from nestgraph.graph.structure import Structure
from nestgraph.render.chart import write_chart
from nestgraph.render.slices import as_image
from nestgraph.render.style import FAINT, HEAT, INK, MUTED, OFF, ON, PAPER
from nestgraph.render.theme import Theme
from nestgraph.spec.arrays import AnyArray

MOST_OUTPUTS, MOST_INPUTS, MOST_BLOCKS = 20, 12, 12
TILE, LEFT, TOP, RIGHT, BOTTOM, GAP = 0.42, 0.75, 0.56, 0.15, 0.72, 0.06  # inches
NARROWEST = 7.2  # inches, for the words
SEAM = 0.09  # share of a tile that separates it from the next


@dataclass(frozen=True, eq=False)
class Block:
    """One convolution as it is drawn.

    Attributes:
        title: what it is, how much it computes and what is left out.
        outputs: ids of the output maps shown; `inputs`: of the input maps.
        kernels: bool (out, in): whether a pair of maps has a kernel.
        area: bool (out, in, height, width): where it is computed, of maps as images (`slices`).
        coverage: float (out, height, width): the share of a map's kernels that is computed; NaN for a map without.
        places: bool (height, width): which pixels are positions; the others lie between slices of a volume.
    """

    title: str
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    kernels: AnyArray
    area: AnyArray
    coverage: AnyArray
    places: AnyArray


def area_maps(
    network: Structure, path: str | os.PathLike[str], theme: Theme = "light", overwrite: bool = False
) -> Path:
    """Draw the areas of a network's convolutions into an .svg, .png or .pdf file; returns its path.

    A block for each convolution: a column for each output map, its coverage on top (the share of its kernels that is
    computed at each position), below it a tile for each input map with the area of their kernel.

    Args:
        network: whose.
        path: the file to write.
        theme: light or dark.
        overwrite: replace a file that is no picture of ours.

    Raises:
        RenderError: there is no convolution, the suffix or theme is unknown, or the file cannot be written.
    """
    names = [name for name in network.projection_names if network.projection(name).areas]
    if not names:
        raise RenderError("area_maps expected a network with a convolution, got none: draw its input_heat_map")
    blocks = [area_block(network, name) for name in names[:MOST_BLOCKS]]
    left_out = f"{len(names) - MOST_BLOCKS} more convolutions not shown" if len(names) > MOST_BLOCKS else ""
    return write_chart(path, lambda: _figure(blocks, left_out), theme, overwrite)


def area_block(structure: Structure, name: str) -> Block:
    """What is drawn of a convolution; what exceeds the limits is left out, and the title says so."""
    projection, columns = structure.projection(name), structure.connection_columns(name)
    outputs, inputs = structure.units(projection.target), structure.units(projection.source)
    positions = structure.layer(projection.target).size or ()
    whole, axes = columns.kept(positions), len(positions)
    edges = columns.edges.reshape(*columns.edges.shape, *(1,) * axes)
    computed = np.broadcast_to(edges & whole, (*columns.edges.shape, *positions))
    kernels = columns.edges.sum(axis=1)
    share = np.where(kernels == 0, np.nan, computed.sum(axis=1).T / np.maximum(kernels, 1)).T
    possible = int(kernels.sum()) * int(np.prod(positions))
    kept = f"{int(computed.sum()) / max(possible, 1):.1%} of {possible:,} kernel positions computed"
    shown = [_shown("output", len(outputs), MOST_OUTPUTS), _shown("input", len(inputs), MOST_INPUTS)]
    return Block(
        f"{name}: {kept} | {', '.join(shown)}",
        tuple(outputs[:MOST_OUTPUTS].tolist()),
        tuple(inputs[:MOST_INPUTS].tolist()),
        columns.edges[:MOST_OUTPUTS, :MOST_INPUTS],
        as_image(computed[:MOST_OUTPUTS, :MOST_INPUTS], axes, False),
        as_image(share[:MOST_OUTPUTS], axes, np.nan),
        as_image(np.ones(positions, bool), axes, False),
    )


def _shown(word: str, count: int, most: int) -> str:
    maps = f"{word} map" if count == 1 else f"{word} maps"
    return f"first {most} of {count:,} {maps} shown" if count > most else f"{count:,} {maps}"


def _figure(blocks: Sequence[Block], left_out: str) -> Figure:
    widest = max(len(block.outputs) for block in blocks)
    width = LEFT + max(widest * TILE, NARROWEST) + RIGHT
    height = sum(_height(block) for block in blocks) + BOTTOM
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    top = height
    for block in blocks:
        _draw_block(figure, block, top, width, height)
        top -= _height(block)
    _legend(figure, width, height, left_out)
    return figure


def _height(block: Block) -> float:
    return TOP + TILE * (1 + len(block.inputs)) + GAP


def _draw_block(figure: Figure, block: Block, top: float, width: float, height: float) -> None:
    figure.text(0.1 / width, (top - 0.24) / height, block.title, fontsize=9.5, fontweight="bold", color=INK)
    across, low = TILE * len(block.outputs), top - TOP - TILE
    strip = figure.add_axes((LEFT / width, low / height, across / width, TILE / height))
    least = 1 if block.places.all() else 3  # slices have lines of one pixel between them
    strip.imshow(mosaic(coverage_tiles(block), least), interpolation="none", aspect="auto", extent=(0, across, TILE, 0))
    strip.set_xticks(_centres(block.outputs), [str(unit) for unit in block.outputs])
    strip.set_yticks(_centres((0,)), ["coverage"])
    tall = TILE * len(block.inputs)
    grid = figure.add_axes((LEFT / width, (low - GAP - tall) / height, across / width, tall / height))
    grid.imshow(mosaic(area_tiles(block), least), interpolation="none", aspect="auto", extent=(0, across, tall, 0))
    grid.set_xticks([])
    grid.set_yticks(_centres(block.inputs), [f"from {unit}" for unit in block.inputs])
    for axes in (strip, grid):
        axes.tick_params(length=0, labelsize=7.5, labelcolor=MUTED, pad=2, top=True, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)


def coverage_tiles(block: Block) -> AnyArray:
    """Bytes (1, out, height, width, 3): the coverage of each map in the colours of heat."""
    heat = HEAT(np.nan_to_num(block.coverage))[..., :3]
    heat[block.coverage == 0] = to_rgb(OFF)
    heat[np.isnan(block.coverage)] = to_rgb(PAPER)
    return np.rint(heat * 255).astype(np.uint8)[None]


def area_tiles(block: Block) -> AnyArray:
    """Bytes (in, out, height, width, 3): where each kernel is computed and where not; blank where there is none."""
    colours = np.array([to_rgb(PAPER), to_rgb(OFF), to_rgb(ON)])
    kinds = np.where(block.area, 2, (block.kernels[:, :, None, None] & block.places).astype(int))
    return np.rint(colours * 255).astype(np.uint8)[kinds.swapaxes(0, 1)]


def mosaic(tiles: AnyArray, least: int = 1) -> AnyArray:
    """One image of tiles (rows, columns, height, width, 3), each with a seam of so many pixels at least behind it."""
    rows, columns, high, wide = tiles.shape[:4]
    seams = max(least, round(high * SEAM)), max(least, round(wide * SEAM))
    padded = np.full((rows, columns, high + seams[0], wide + seams[1], 3), 255, np.uint8)
    padded[:, :, :high, :wide] = tiles
    return padded.swapaxes(1, 2).reshape(rows * padded.shape[2], columns * padded.shape[3], 3)


def mosaic_of(marks: AnyArray) -> AnyArray:
    """Uint8 (rows, columns): areas (out, in, height, width) as tiles, 255 where marked, with seams between them."""
    tiles = np.where(marks, 255, 0).astype(np.uint8).swapaxes(0, 1)
    seamed = np.pad(tiles, ((0, 0), (0, 0), (0, 1), (0, 1)))
    rows, columns, high, wide = seamed.shape
    return seamed.swapaxes(1, 2).reshape(rows * high, columns * wide)


def _centres(units: Sequence[int]) -> list[float]:
    return [TILE * (place + 0.5 - SEAM / 2) for place in range(len(units))]


def _legend(figure: Figure, width: float, height: float, left_out: str) -> None:
    """What the colours mean, and which convolutions are not drawn."""
    bar = figure.add_axes((LEFT / width, 0.2 / height, 1.4 / width, 0.1 / height))
    scale = figure.colorbar(ScalarMappable(Normalize(0, 1), HEAT), cax=bar, orientation="horizontal")
    scale.outline.set_visible(False)
    bar.set_xticks([])
    words = "coverage: share of a map's kernels computed, 0 to 100%"
    figure.text((LEFT + 1.5) / width, 0.2 / height, words, fontsize=8, color=MUTED)
    notes = [(ON, "computed"), (OFF, "switched off"), (PAPER, "no kernel")]
    for place, (colour, word) in enumerate(notes):
        left, low = LEFT + place * 1.15, 0.42
        patch = Rectangle((left / width, low / height), 0.12 / width, 0.12 / height, transform=figure.transFigure)
        patch.set(facecolor=colour, edgecolor=FAINT, linewidth=0.6)
        figure.add_artist(patch)
        figure.text((left + 0.18) / width, (low + 0.01) / height, word, fontsize=8, color=MUTED)
    figure.text((LEFT + 3.6) / width, 0.43 / height, left_out, fontsize=8, color=MUTED)
