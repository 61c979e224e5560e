"""Connection matrices: for each projection a raster of which connections live, and one of their weights."""

from collections.abc import Sequence

import numpy as np

from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.render.comparison import compare
from nestgraph.render.encoding import Fate, signed
from nestgraph.render.panels import MOST_BLOCKS, Block, Panel, fate_panel, panel_scene, raster_side, reduced, shares
from nestgraph.render.scene import Scene
from nestgraph.render.slices import as_image
from nestgraph.render.style import BLUE, INK, PAPER, VERMILION
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection

ROWS = "rows are target units and columns source units, both by id"
SIGNS = "weights: blue positive, vermilion negative, stronger where larger within the projection"


def matrix_scene(network: Network) -> Scene:
    """Draw the connections of every projection as rasters; arguments of opaque layers have none."""
    names = _drawn(network)
    side = raster_side(2 * min(len(names), MOST_BLOCKS))
    blocks = [_matrices(network, name, side) for name in names[:MOST_BLOCKS]]
    total = sum(network.connection_columns(name).mask.size for name in names)
    words = f"{network.connection_count:,} of {total:,} connections live"
    notes = (f"{ROWS}; a kernel or a map takes several.", f"{SIGNS}; live: stronger where more are.", *_left_out(names))
    return panel_scene("Connection matrices", words, blocks, notes)


def _drawn(structure: Structure) -> list[str]:
    """The projections that have connections, living or not."""
    return [name for name in structure.projection_names if structure.connection_columns(name).mask.size]


def _left_out(names: Sequence[str]) -> tuple[str, ...]:
    more = len(names) - MOST_BLOCKS
    return (f"{more:,} of {len(names):,} projections are left out.",) if more > 0 else ()


def _matrices(structure: Structure, name: str, side: int) -> Block:
    projection, columns = structure.projection(name), structure.connection_columns(name)
    mask, weight = (flat(structure, projection, array) for array in (columns.mask, columns.weight))
    largest, least = reduced(weight, side, np.maximum), reduced(weight, side, np.minimum)
    extreme = np.where(largest >= -least, largest, least)
    scale = float(np.abs(extreme).max(initial=0)) or 1.0
    levels = np.sign(extreme) * np.sqrt(np.abs(extreme) / scale)
    panels = (
        Panel("live", shares(mask, side), (PAPER, INK)),
        Panel("weight", np.rint(127.5 + 127.5 * levels).astype(np.uint8), (VERMILION, PAPER, BLUE)),
    )
    return Block(name.replace("_to_", " → "), _words(projection, columns.active, mask, side), panels)


def _words(projection: Projection, active: int, mask: AnyArray, side: int) -> str:
    rows, columns = mask.shape
    steps = [-(-extent // side) for extent in mask.shape]
    pixel = f"; a pixel is {steps[0]} x {steps[1]}" if max(steps) > 1 else ""
    live = f"{active:,} of {mask.size:,} live ({active / max(mask.size, 1):.1%})"
    return f"{projection.words}, {rows:,} x {columns:,}: {live}{pixel}"


def flat(structure: Structure, projection: Projection, values: AnyArray) -> AnyArray:
    """Weights or masks as a matrix: units by id, kernels and maps unrolled; links of one-to-one lie in one row.

    A projection of a union has one number an edge, and no kernels.
    """
    if structure.connection_columns(projection.name).axes == 1:
        if values.ndim == 1:
            return values.reshape(1, -1)
        values = as_image(values, values.ndim - 1)
        return values.transpose(1, 0, 2).reshape(values.shape[1], -1)
    for axis, layer in enumerate((projection.target, projection.source)):
        ids = structure.units(layer)
        if (np.diff(ids) < 0).any():
            values = values.take(np.argsort(ids), axis=axis)
    if projection.window and values.ndim > 2:
        values = as_image(values, values.ndim - 2)
        out, into, high, wide = values.shape
        return values.transpose(0, 2, 1, 3).reshape(out * high, into * wide)
    return values.reshape(len(values), -1)


def matrix_difference(old: Network, new: Network) -> Scene:
    """Draw what became of the edges of every projection: a raster for each fate, told by its title."""
    comparison = compare(old, new)
    names = _drawn(comparison.union)
    side = raster_side(4 * min(len(names), MOST_BLOCKS))
    blocks = [_fates(comparison.union, name, side) for name in names[:MOST_BLOCKS]]
    words = f"{old.connection_count:,} → {new.connection_count:,} connections"
    notes = (f"{ROWS}.", "stronger where more edges are.", *_left_out(names))
    return panel_scene("Difference of connection matrices", words, blocks, notes)


def _fates(structure: Structure, name: str, side: int) -> Block:
    projection, columns = structure.projection(name), structure.connection_columns(name)
    codes = flat(structure, projection, columns.weight)
    marks: dict[Fate, AnyArray] = {
        "added": codes > 2,
        "removed": codes < 0,
        "changed": (codes > 1) & (codes <= 2),
        "unchanged": (codes > 0) & (codes <= 1),
    }
    counts = {became: int(np.count_nonzero(marked)) for became, marked in marks.items()}
    panels = tuple(fate_panel(fate, counts[fate], shares(marked, side)) for fate, marked in marks.items())
    words = signed(counts["added"], counts["removed"], counts["changed"]) or "the same"
    title = name.replace("_to_", " → ").partition("~")[0]
    return Block(title, f"{codes.shape[0]:,} x {codes.shape[1]:,} pairs of units: {words}", panels)
