"""Where convolutions compute: the area of each kernel and the coverage of each output map (NeST section 3.2.3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nestgraph.errors import RenderError
from nestgraph.graph.structure import Structure
from nestgraph.render.scene import Box, Mark, Raster, Scene, Words
from nestgraph.render.slices import as_image
from nestgraph.render.style import FAINT, HEAT, MUTED, OFF, ON, PAPER
from nestgraph.spec.arrays import AnyArray

MOST_OUTPUTS, MOST_INPUTS, MOST_BLOCKS = 20, 12, 12
TILE, LEFT, TOP, RIGHT, BOTTOM, GAP = 30.0, 54.0, 52.0, 12.0, 56.0, 4.0  # points
NARROWEST = 520.0  # points, for the words
SEAM = 0.09  # share of a tile that separates it from the next


@dataclass(frozen=True, eq=False)
class Block:
    """One convolution as it is drawn.

    Attributes:
        title: what it is.
        words: how much it computes and what is left out.
        outputs: ids of the output maps shown; `inputs`: of the input maps.
        kernels: bool (out, in): whether a pair of maps has a kernel.
        area: bool (out, in, height, width): where it is computed, of maps as images (`slices`).
        coverage: float (out, height, width): the share of a map's kernels that is computed; NaN for a map without.
        places: bool (height, width): which pixels are positions; the others lie between slices of a volume.
    """

    title: str
    words: str
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    kernels: AnyArray
    area: AnyArray
    coverage: AnyArray
    places: AnyArray


def area_scene(network: Structure) -> Scene:
    """Draw the areas of a network's convolutions.

    A block for each convolution: a column for each output map, its coverage on top (the share of its kernels that is
    computed at each position), below it a tile for each input map with the area of their kernel.

    Raises:
        RenderError: there is no convolution.
    """
    names = [name for name in network.projection_names if network.projection(name).areas]
    if not names:
        raise RenderError("a picture of areas expected a network with a convolution, got none: draw the view 'inputs'")
    blocks = [area_block(network, name) for name in names[:MOST_BLOCKS]]
    left_out = f"{len(names) - MOST_BLOCKS} more convolutions not shown" if len(names) > MOST_BLOCKS else ""
    width = LEFT + max(max(len(block.outputs) for block in blocks) * TILE, NARROWEST) + RIGHT
    marks: list[Mark] = []
    top = 0.0
    for block in blocks:
        marks.extend(_block_marks(block, top))
        top += TOP + TILE * (1 + len(block.inputs)) + GAP
    marks.extend(_legend(top, left_out))
    words = "; ".join(f"{block.title}: {block.words}" for block in blocks)
    return Scene(width, top + BOTTOM, "Where convolutions compute", words, tuple(marks))


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
        name.replace("_to_", " → "),
        f"{kept}; {', '.join(shown)}",
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


def _block_marks(block: Block, top: float) -> Iterator[Mark]:
    """The marks of a convolution below `top`."""
    yield Words(8, top + 17, block.title, 9.5, bold=True)
    yield Words(8, top + 30, block.words, 8.5, MUTED)
    strip, grid = top + TOP, top + TOP + TILE + GAP
    for place, unit in enumerate(block.outputs):
        yield Words(_centre(LEFT, place), strip - 4, str(unit), 7.5, MUTED, anchor="middle")
    for y, word in [(strip, "coverage"), *((grid + TILE * place, f"from {i}") for place, i in enumerate(block.inputs))]:
        yield Words(LEFT - 4, _centre(y, 0) + 3, word, 7.5, MUTED, anchor="end")
    across = TILE * len(block.outputs)
    least = 1 if block.places.all() else 3  # slices have lines of one pixel between them
    coverage, area = mosaic(coverage_tiles(block), least), mosaic(area_tiles(block), least)
    yield Raster(LEFT, strip, across, TILE, coverage, HEAT, apart=(PAPER, OFF))
    yield Raster(LEFT, grid, across, TILE * len(block.inputs), area, (PAPER,), apart=(PAPER, OFF, ON))


def coverage_tiles(block: Block) -> AnyArray:
    """Uint8 (1, out, height, width): how much of a map is computed, from 2 to 255; 1 for nothing, 0 for no kernel."""
    levels = np.where(block.coverage > 0, np.rint(2 + 253 * block.coverage), 1)
    return np.where(np.isnan(block.coverage), 0, levels).astype(np.uint8)[None]


def area_tiles(block: Block) -> AnyArray:
    """Uint8 (in, out, height, width): 2 where a kernel is computed, 1 where it is not; 0 where there is none."""
    return np.where(block.area, 2, block.kernels[:, :, None, None] & block.places).astype(np.uint8).swapaxes(0, 1)


def mosaic(tiles: AnyArray, least: int = 1) -> AnyArray:
    """One image of tiles (rows, columns, height, width), each with a seam of so many zeros at least behind it."""
    rows, columns, high, wide = tiles.shape
    seams = [(0, max(least, round(extent * SEAM))) for extent in (high, wide)]
    seamed = np.pad(tiles, ((0, 0), (0, 0), *seams))
    return seamed.swapaxes(1, 2).reshape(rows * seamed.shape[2], columns * seamed.shape[3])


def _centre(edge: float, place: int) -> float:
    return edge + TILE * (place + 0.5 - SEAM / 2)


def _legend(top: float, left_out: str) -> Iterator[Mark]:
    """What the colours mean, and which convolutions are not drawn."""
    for place, (colour, word) in enumerate([(ON, "computed"), (OFF, "switched off"), (PAPER, "no kernel")]):
        left = LEFT + place * 83
        yield Box(left, top + 16, 9, 9, colour, FAINT, 0.6)
        yield Words(left + 13, top + 24, word, 8, MUTED)
    yield Words(LEFT + 260, top + 24, left_out, 8, MUTED)
    yield Raster(LEFT, top + 34, 100, 7, np.arange(2, 256, dtype=np.uint8)[None], HEAT, apart=(PAPER, OFF))
    yield Words(LEFT + 108, top + 41, "coverage: share of a map's kernels computed, 0 to 100%", 8, MUTED)
