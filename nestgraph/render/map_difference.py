"""Differences of what lies in an image: how often pixels are read, and where convolutions are computed."""

import numpy as np

from nestgraph.errors import RenderError
from nestgraph.graph.matching import same_make
from nestgraph.graph.network import Network
from nestgraph.render.area_maps import area_block, mosaic
from nestgraph.render.encoding import LOOKS, Fate, signed
from nestgraph.render.heat_map import pixel_readings
from nestgraph.render.panels import Block, Panel, fate_panel, panel_scene
from nestgraph.render.scene import Scene
from nestgraph.render.style import INK, PAPER
from nestgraph.spec.arrays import AnyArray


def input_difference(old: Network, new: Network) -> Scene:
    """Draw how often each pixel of the input is read, before and after, and where that is more and less.

    Raises:
        RenderError: there is not one input that is an image, or its size changed.
    """
    before, after = pixel_readings(old), pixel_readings(new)
    if before.shape != after.shape:
        raise RenderError(f"a difference of inputs expected images of one size, got {before.shape} and {after.shape}")
    most = float(max(before.max(), after.max(), 1))
    more, less = np.maximum(after - before, 0), np.maximum(before - after, 0)
    panels = (
        Panel("before", _levels(before, most), (PAPER, INK)),
        Panel("after", _levels(after, most), (PAPER, INK)),
        Panel(f"+ read more: {np.count_nonzero(more):,} pixels", _levels(more, most), (PAPER, LOOKS["added"].colour)),
        Panel(f"- read less: {np.count_nonzero(less):,} pixels", _levels(less, most), (PAPER, LOOKS["removed"].colour)),
    )
    words = f"{before.sum():,.0f} → {after.sum():,.0f} readings of the image"
    block = Block("Readings of each pixel", f"at most {most:,.0f}", panels)
    return panel_scene("Difference of the inputs", words, (block,), ("one scale for all, stronger where more.",))


def _levels(values: AnyArray, most: float) -> AnyArray:
    return np.ceil(255 * np.sqrt(values / most)).astype(np.uint8)


def area_difference(old: Network, new: Network) -> Scene:
    """Draw at which positions kernels that both networks have are computed no more, and where again.

    Raises:
        RenderError: there is no convolution that both networks have in the same form.
    """
    names = [
        name
        for name in new.projection_names
        if new.projection(name).areas and old.has_projection(name) and same_make(old, new, name)
    ]
    if not names:
        raise RenderError("a difference of areas expected a convolution that both networks have, got none")
    blocks = [_areas(old, new, name) for name in names]
    notes = ("a column is an output map, a row an input map, a tile the area of their kernel.",)
    return panel_scene("Difference of areas", f"{len(names)} convolutions", blocks, notes)


def _areas(old: Network, new: Network, name: str) -> Block:
    """What is drawn of a convolution: maps that both versions have, as many as area maps show."""
    before, after = area_block(old, name), area_block(new, name)
    outputs = [unit for unit in before.outputs if unit in after.outputs]
    inputs = [unit for unit in before.inputs if unit in after.inputs]
    first, second = (
        block.area[np.ix_([block.outputs.index(u) for u in outputs], [block.inputs.index(u) for u in inputs])]
        for block in (before, after)
    )
    marks: dict[Fate, AnyArray] = {"added": second & ~first, "removed": first & ~second, "unchanged": first & second}
    counts = {fate: int(np.count_nonzero(marked)) for fate, marked in marks.items()}
    tiles = {fate: mosaic(np.where(marked, 255, 0).astype(np.uint8).swapaxes(0, 1)) for fate, marked in marks.items()}
    panels = tuple(fate_panel(fate, counts[fate], tiles[fate]) for fate in marks)
    kept = signed(counts["added"], counts["removed"]) or "the same"
    words = f"{len(outputs)} x {len(inputs)} maps shown; positions computed: {kept}"
    return Block(name.replace("_to_", " → "), words, panels)
