"""The input heat map: where in the image networks read, which on MNIST comes to be the centre of the digit."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestgraph.errors import RenderError
from nestgraph.graph.network import Network
from nestgraph.graph.readings import readings
from nestgraph.render.scene import Box, Mark, Raster, Scene, Words
from nestgraph.render.scene_file import write_scene
from nestgraph.render.slices import as_image, slice_grid
from nestgraph.render.style import FAINT, HEAT, MUTED, PAPER, fitted, plain
from nestgraph.render.style import PANEL as HOLE
from nestgraph.render.theme import Theme
from nestgraph.spec.arrays import AnyArray

Size = tuple[int, int]
MOST_PANELS = 12
LOWEST = 0.72  # height over width of a panel, for the words beside it
WIDEST_SPAN = 1000  # how many times the faintest colour the strongest may be
PANEL, GAP, LEFT, HEAD, ROW, BOTTOM, BAR = 174.0, 10.0, 10.0, 40.0, 22.0, 16.0, 62.0  # points
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
    return write_scene(path, lambda: _scene(networks, names, rows, hole), theme, overwrite)


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


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale from the least number, or from what is `WIDEST_SPAN` times less than the most."""

    low: float
    most: float
    clipped: bool

    @staticmethod
    def of(values: AnyArray) -> "Scale":
        """That of some numbers, all above 0; there may be none."""
        least, most = (float(values.min()), float(values.max())) if values.size else (1.0, 1.0)
        low = max(least, most / WIDEST_SPAN)
        return Scale(low, most, low > least)

    @property
    def high(self) -> float:
        """Where it ends: a little above its beginning where all numbers are one."""
        return max(self.most, self.low * 1.001)

    def levels(self, values: AnyArray) -> AnyArray:
        """Places of numbers on it, from 0 to 1."""
        return np.log(np.maximum(values, self.low) / self.low) / math.log(self.high / self.low)

    @property
    def ticks(self) -> list[float]:
        """Round numbers on it, or its ends where it is too short for any."""
        digits = (1, 2, 5) if self.high / self.low < 200 else (1,)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found = [digit * 10.0**power for power in powers for digit in digits]
        return [tick for tick in found if self.low <= tick <= self.most] or sorted({self.low, self.most})


def _scene(
    networks: Mapping[str, Network], names: Sequence[str], rows: Sequence[Sequence[AnyArray]], hole: str
) -> Scene:
    """Panels of one width, so that a picture of many networks is wider and not smaller."""
    tall = PANEL * max(max(image.shape[0] / image.shape[1] for image in rows[0]), LOWEST)
    width = LEFT + len(networks) * (PANEL + GAP) + BAR
    height = HEAD + len(rows) * (ROW + tall) + GAP + (BOTTOM if hole else 0.0)
    lefts = [LEFT + place * (PANEL + GAP) for place in range(len(networks))]
    marks: list[Mark] = []
    for left, (title, network) in zip(lefts, networks.items(), strict=True):
        marks.append(Words(left, 18, fitted(plain(title), 10, PANEL, bold=True), 10, bold=True))
        marks.append(Words(left, 32, _counts(network), 8.5, MUTED))
    for place, (name, images) in enumerate(zip(names, rows, strict=True)):
        top = HEAD + ROW + place * (ROW + tall)
        scale = Scale.of(np.concatenate([image[image > 0] for image in images]))
        marks.append(Words(LEFT, top - 7, name, 9.5))
        for left, network, image, count in zip(lefts, networks.values(), images, rows[0], strict=True):
            levels = np.where(count > 0, np.rint(1 + 254 * scale.levels(image)), 0).astype(np.uint8)
            marks.append(Raster(left, top, PANEL, tall, levels, HEAT, apart=(HOLE,)))
            marks.extend(_parts(left, top, tall, network.layer(network.input_names[0]).size or ()))
            marks.append(Box(left, top, PANEL, tall, "none", FAINT))
        marks.extend(_bar(width - BAR, top, tall, scale))
    if hole:
        marks.append(Words(LEFT, height - 8, hole, 8.5, MUTED))
    words = "; ".join(f"{plain(title)}: {_counts(network)}" for title, network in networks.items())
    return Scene(width, height, "Where networks read their input", words, tuple(marks))


def _counts(network: Network) -> str:
    name = network.input_names[0]
    inputs = f"{len(network.units(name)):,} inputs, " if network.layer(name).size is None else ""
    return f"{inputs}{network.connection_count:,} connections"


def _parts(left: float, top: float, tall: float, size: tuple[int, ...]) -> Iterator[Mark]:
    """Lines between the slices of a volume."""
    below, beside = slice_grid(size)
    for place in range(1, below):
        yield Box(left, top + place * tall / below - 0.75, PANEL, 1.5, PAPER)
    for place in range(1, beside):
        yield Box(left + place * PANEL / beside - 0.75, top, 1.5, tall, PAPER)


def _bar(left: float, top: float, tall: float, scale: Scale) -> Iterator[Mark]:
    """What the colours mean."""
    yield Raster(left, top, 9, tall, np.arange(255, 0, -1, dtype=np.uint8)[:, None], HEAT, apart=(HOLE,))
    for tick, place in zip(scale.ticks, scale.levels(np.array(scale.ticks)), strict=True):
        y = top + tall * (1 - float(place))
        yield Box(left + 9, y - 0.4, 3, 0.8, MUTED)
        yield Words(left + 15, y + 3, f"{tick:,g}", 8.5, MUTED)
    if scale.clipped:
        yield Words(left - 4, top + tall + 9, f"≤ {scale.low:,.2g}", 7.5, MUTED)
