"""The moments that a page can show, taken in one by one: what each has that is not a number in a table.

Networks are not kept, so that a run of any length and size fits: of each moment the weights, areas, factors and pixels
are, within budgets. What is beyond them is left out and said.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nestgraph.edits.operations import normalisation_factor
from nestgraph.errors import RenderError
from nestgraph.graph.network import Network
from nestgraph.render.heat_map import pixel_readings
from nestgraph.reporting.packing import Bundle, Carried
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Conv, Projection

ENTRIES = 8_000_000
"""Weights of all moments together at most: with 200 moments, those of 40,000 connections."""

CELLS = 8_000_000
"""Positions of a projection's areas, and pixels, of all moments together at most."""

Units = Mapping[str, Mapping[int, int]]
"""By layer, the place of each unit among all that the layer ever had."""


@dataclass
class Frames:
    """What the page's pictures are drawn from.

    Attributes:
        count: how many moments there will be.
        omitted: what was left out, in sentences.
    """

    count: int
    omitted: list[str] = field(default_factory=list[str])
    _seen: int = 0
    _carried: dict[str, Carried] = field(default_factory=dict[str, Carried])
    _factors: dict[str, dict[int, tuple[AnyArray, AnyArray]]] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    _areas: dict[str, dict[int, tuple[AnyArray, AnyArray, AnyArray]]] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    _pixels: list[tuple[AnyArray, AnyArray]] | None = field(default_factory=list[tuple[AnyArray, AnyArray]])

    def add(self, network: Network) -> None:
        """Take in the network of the next moment."""
        for layer in network.layer_names:
            found = network.units(layer), normalisation_factor(network, layer)
            self._factors.setdefault(layer, {})[self._seen] = found
        for name in network.projection_names:
            if name not in self._carried:
                self._carried[name] = Carried(ENTRIES // self.count, inner_shape(network, name))
            self._carried[name].add(self._seen, network, name)
            projection = network.projection(name)
            if isinstance(projection, Conv):
                self._add_area(network, projection)
        self._add_pixels(network)
        self._seen += 1

    def _add_area(self, network: Network, projection: Conv) -> None:
        columns, size = network.connection_columns(projection.name), network.layer(projection.target).size or (1, 1)
        if math.prod((*columns.edges.shape, *size)) * self.count > CELLS:
            if columns.area is not None:
                self._omit(f"{projection.name}: areas are left out, as they have too many positions")
            return
        area = np.ones((1, 1, *size), bool) if columns.area is None else columns.area
        cells = np.where(columns.edges[:, :, None, None], 1 + area.astype(np.uint8), 0).astype(np.uint8)
        found = network.units(projection.target), network.units(projection.source), cells
        self._areas.setdefault(projection.name, {})[self._seen] = found

    def _add_pixels(self, network: Network) -> None:
        if self._pixels is None:
            return
        try:
            images = pixel_readings(network), pixel_readings(network, strength=True)
        except RenderError as error:
            self._omit(f"What is read of the input: {error}")
            self._pixels = None
            return
        if images[0].size * self.count > CELLS or (self._pixels and self._pixels[0][0].shape != images[0].shape):
            self._omit("What is read of the input is left out: it has too many pixels")
            self._pixels = None
            return
        self._pixels.append((images[0].astype(np.uint32), images[1].astype(np.float32)))

    def _omit(self, words: str) -> None:
        if words not in self.omitted:
            self.omitted.append(words)

    # -- writing -------------------------------------------------------------------------------------

    def thin(self) -> None:
        """Carry fewer connections of the largest projections until all fit the budget."""
        sizes = {name: carried.size for name, carried in self._carried.items()}
        while sum(sizes.values()) > ENTRIES // self.count:
            largest = max(sizes, key=lambda name: sizes[name])
            self._carried[largest].thin()
            sizes[largest] = self._carried[largest].size

    def write_factors(self, layer: str, units: Units, bundle: Bundle) -> None:
        """`factor/LAYER`: float32 (moments, units), what normalisation multiplies each unit's sum by; 0 if absent."""
        table = np.zeros((self._seen, len(units[layer])), np.float32)
        for moment, (ids, factors) in self._factors.get(layer, {}).items():
            table[moment, [units[layer][unit] for unit in ids.tolist()]] = factors
        bundle.arrays[f"factor/{layer}"] = table

    def write_connections(self, projection: Projection, units: Units, bundle: Bundle) -> tuple[list[int], int]:
        """The weights of a projection; returns the shape of an edge, and how many connections one stands for."""
        carried = self._carried.get(projection.name, Carried(0, ()))
        packed = carried.packed(self._seen, units[projection.target], units[projection.source])
        bundle.arrays |= {f"{key}/{projection.name}": array for key, array in packed.items()}
        if carried.of > 1:
            shown = f"1 in {carried.of:,} connections is carried and drawn"
            self._omit(f"{projection.source} to {projection.target}: {shown}; counts in tables are of all")
        return list(carried.inner), carried.of

    def write_areas(self, projection: Projection, units: Units, bundle: Bundle) -> list[int] | None:
        """`area/NAME`: uint8 (moments, out, in, P, Q), 0 no kernel, 1 switched off, 2 computed; returns (P, Q)."""
        found = self._areas.get(projection.name, {})
        if not any((cells == 1).any() for *_, cells in found.values()):
            return None
        target, source = units[projection.target], units[projection.source]
        size = next(iter(found.values()))[2].shape[2:]
        table = np.zeros((self._seen, len(target), len(source), *size), np.uint8)
        for moment, (out, inner, cells) in found.items():
            places = [target[unit] for unit in out.tolist()], [source[unit] for unit in inner.tolist()]
            table[moment][np.ix_(*places)] = cells
        bundle.arrays[f"area/{projection.name}"] = table
        return list(size)

    def write_pixels(self, bundle: Bundle) -> list[int] | None:
        """`pixels` and `strengths`, (moments, height, width): how often and with what weight; returns the size."""
        if not self._pixels:
            return None
        bundle.arrays["pixels"], bundle.arrays["strengths"] = (
            np.stack(images) for images in zip(*self._pixels, strict=True)
        )
        return list(self._pixels[0][0].shape)


def inner_shape(network: Network, projection: str) -> tuple[int, ...]:
    """The shape of the weights of one edge."""
    columns = network.connection_columns(projection)
    return columns.mask.shape[1 if columns.links is not None else 2 :]
