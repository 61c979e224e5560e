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
from nestgraph.graph.matching import same_make
from nestgraph.graph.network import Network
from nestgraph.render.heat_map import pixel_readings
from nestgraph.render.slices import as_image
from nestgraph.reporting.packing import Bundle, Carried, Numbers, active_rows, numbered
from nestgraph.reporting.parts import layer_part, projection_part, unit_parts
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection

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
    _first: dict[str, Network] = field(default_factory=dict[str, Network])
    _numbers: Numbers = field(default_factory=Numbers)
    _parts: dict[str, dict[int, int]] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    _units: dict[str, dict[int, tuple[AnyArray, list[int]]]] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    _factors: dict[str, dict[int, tuple[AnyArray, AnyArray]]] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    _areas: dict[str, dict[int, tuple[AnyArray, AnyArray, AnyArray]]] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    _pixels: list[tuple[AnyArray, AnyArray]] | None = field(default_factory=list[tuple[AnyArray, AnyArray]])

    def add(self, network: Network) -> None:
        """Take in the network of the next moment."""
        for layer in network.layer_names:
            found = network.units(layer), normalisation_factor(network, layer)
            self._factors.setdefault(layer, {})[self._seen] = found
            states = [self._numbers.of(part) for part in unit_parts(network, layer)]
            self._units.setdefault(layer, {})[self._seen] = network.units(layer), states
            self._part(f"layer/{layer}", layer_part(network, layer))
        for name in network.projection_names:
            if name not in self._carried:
                self._carried[name] = Carried(ENTRIES // self.count, inner_shape(network, name))
                self._first[name] = network
            elif not same_make(self._first[name], network, name):
                self._omit(f"{name}: its connections are left out at moments where it has another form than at first")
                continue
            rows, weights, edges = active_rows(network, name)
            self._part(f"projection/{name}", projection_part(network, name, rows, weights))
            self._carried[name].add(self._seen, network.connection_columns(name), (rows, weights, edges))
            projection = network.projection(name)
            if projection.areas:
                self._add_area(network, projection)
        self._add_pixels(network)
        self._seen += 1

    def _part(self, key: str, part: bytes) -> None:
        self._parts.setdefault(key, {})[self._seen] = self._numbers.of(part)

    def _add_area(self, network: Network, projection: Projection) -> None:
        columns, size = network.connection_columns(projection.name), network.layer(projection.target).size or (1, 1)
        if math.prod((*columns.edges.shape, *size)) * self.count > CELLS:
            if not columns.everywhere:
                self._omit(f"{projection.name}: areas are left out, as they have too many positions")
            return
        edges = columns.edges.reshape(*columns.edges.shape, *(1,) * len(size))
        cells = as_image(np.where(edges, 1 + columns.kept(size).astype(np.uint8), 0).astype(np.uint8), len(size), 0)
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

    def write_states(self, layer: str, units: Units, bundle: Bundle) -> None:
        """`states/LAYER`, as `numbered` (moments, units): what values a unit has."""
        table = np.zeros((self._seen, len(units[layer])), np.int64)
        for moment, (ids, states) in self._units.get(layer, {}).items():
            table[moment, [units[layer][unit] for unit in ids.tolist()]] = states
        bundle.arrays[f"states/{layer}"] = numbered(table, table > 0)

    def versions(self, key: str) -> list[int]:
        """By moment, as `numbered`: what a layer (`layer/NAME`) or projection (`projection/NAME`) is as a whole."""
        found = self._parts.get(key, {})
        numbers = np.array([found.get(moment, 0) for moment in range(self._seen)])[:, None]
        return numbered(numbers, numbers > 0)[:, 0].tolist()

    def write_connections(self, projection: Projection, units: Units, bundle: Bundle) -> tuple[list[int], int]:
        """The weights of a projection; returns the shape of an edge, and how many connections one stands for."""
        carried = self._carried.get(projection.name, Carried(0, ()))
        packed = carried.packed(self._seen, units[projection.target], units[projection.source])
        bundle.arrays |= {f"{key}/{projection.name}": array for key, array in packed.items()}
        if carried.of > 1:
            shown = f"1 in {carried.of:,} connections is carried and drawn"
            counts = "counts in tables are of all, but for differences of moments that are no neighbours"
            self._omit(f"{projection.source} to {projection.target}: {shown}; {counts}")
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
    return network.connection_columns(projection).inner
