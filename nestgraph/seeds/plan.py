"""A seed under construction: layers one after the other, what feeds each, and how many units each has."""

import math
from collections.abc import Sequence

import numpy as np

from nestgraph.errors import RecordError, StructureError
from nestgraph.graph.columns import ConnectionColumns, Links, UnitColumns
from nestgraph.graph.geometry import output_size
from nestgraph.graph.network import Network
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.seeds.choices import check_density
from nestgraph.seeds.sparse import he_connections
from nestgraph.spec.extents import Size
from nestgraph.spec.interface import InputPort, Interface, OutputPort
from nestgraph.spec.layer import Layer
from nestgraph.spec.limits import MAX_LAYERS, MAX_PROJECTIONS, MAX_UNITS, MAX_WEIGHTS
from nestgraph.spec.operations import Activation, ActivationFunction, BatchNorm, Operation, Pooling
from nestgraph.spec.projection import Conv, Dense, OneToOne, Projection
from nestgraph.spec.windows import swept_size

Operations = tuple[Operation, ...]


class Plan:
    """Layers and projections in the order in which they were planned, which is that of the random numbers.

    Each method that plans a layer returns its name, for the layers that read it.

    Attributes:
        normalisation: batch normalisation, if there is to be any; hidden layers have biases only without it.
        hidden: the operations of an ordinary hidden layer: normalisation and activation.
    """

    def __init__(
        self,
        features: int,
        size: Size | None,
        activation: ActivationFunction,
        batch_norm: bool,
        name: str = "input",
    ) -> None:
        """Begin with an input layer of values, or of channels of `size` (height, width).

        Raises:
            StructureError: there is no such activation.
        """
        self.normalisation: Operations = (BatchNorm(),) if batch_norm else ()
        self.hidden: Operations = (*self.normalisation, _activation(activation))
        self._layers = {name: Layer(name=name, kind="input", features=features, size=size)}
        self._widths = {name: features}
        self._projections: list[Projection] = []
        self._groups: dict[str, int] = {}
        self._links: dict[str, ConnectionColumns] = {}

    def input(self, name: str, features: int) -> str:
        """One more input layer of values."""
        return self._add(Layer(name=name, kind="input", features=features), features)

    def neurons(self, name: str, source: str | Sequence[str], count: int) -> str:
        """Hidden neurons that read all of a layer, or of several."""
        layer = Layer(name=name, kind="neurons", operations=self.hidden, bias=not self.normalisation)
        return self._add(layer, count, *_dense(source, name))

    def output(self, source: str | Sequence[str], count: int, name: str = "output") -> str:
        """Output neurons that read all of a layer, or of several."""
        return self._add(Layer(name=name, kind="neurons", output=True), count, *_dense(source, name))

    def maps(
        self,
        name: str,
        source: str,
        count: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        operations: Operations = (),
    ) -> str:
        """Feature maps by a square convolution.

        Raises:
            StructureError: the kernel or a pooling does not fit the maps.
        """
        before = self.size(source)
        record = Conv(
            source=source, target=name, kernel=(kernel, kernel), stride=(stride, stride), padding=(padding, padding)
        )
        size = swept_size(before, record.kernel, record.stride, record.padding)
        if min(size) < 1:
            raise StructureError(
                f"layer {name!r}: expected images large enough for a kernel of {kernel} x {kernel}, "
                f"got maps of {before} there: choose a larger size"
            )
        self._groups[record.name] = groups
        return self._add(self._map_layer(name, size, operations), count, record)

    def total(self, name: str, sources: Sequence[str], operations: Operations = ()) -> str:
        """Maps that are the sums of the maps of layers, one to one (a residual sum)."""
        return self._linked(name, dict.fromkeys(sources, 0), self._widths[sources[0]], operations)

    def concatenation(self, name: str, sources: Sequence[str], operations: Operations = ()) -> str:
        """Maps that are those of several layers, side by side."""
        ends = np.cumsum([self._widths[source] for source in sources]).tolist()
        return self._linked(name, dict(zip(sources, (0, *ends), strict=False)), ends[-1], operations)

    def size(self, layer: str) -> Size:
        """(height, width) of a layer's maps after its poolings."""
        size = output_size(self._layers[layer])
        assert size is not None, "only maps are asked for their size"
        return size

    def width(self, layer: str) -> int:
        """The number of a layer's units."""
        return self._widths[layer]

    def network(self, density: float, seed: int) -> Network:
        """The network, with a share of the possible connections and He weights, both random.

        Raises:
            StructureError: no such density.
        """
        check_density(density)
        self._check_size()
        layers, projections = self._layers.values(), self._projections
        units = {
            name: UnitColumns.neutral(self._widths[name], self._layers[name].column_names) for name in self._layers
        }
        bare = Structure(layers, projections, units, self._links, interface=self._interface())
        rng = np.random.default_rng(seed)
        drawn = {
            name: he_connections(meaning_of(bare, record).shape, density, rng, self._groups.get(name, 1))
            for name, record in bare.projections_by_name.items()
            if name not in self._links
        }
        return Network.of(bare.replace(connections=drawn))

    def _interface(self) -> Interface | None:
        """Several inputs or outputs in the order in which they were planned; else nothing needs to be said."""
        inputs = tuple(InputPort(layer=name) for name, layer in self._layers.items() if layer.kind == "input")
        outputs = tuple(OutputPort(layer=name) for name, layer in self._layers.items() if layer.output)
        return Interface(inputs=inputs, outputs=outputs) if len(inputs) > 1 or len(outputs) > 1 else None

    def _check_size(self) -> None:
        """Refuse, before any of it is made, what takes more memory than a network may."""
        for name, width in self._widths.items():
            self._check_width(name, width)
        weights = sum(map(self._weights, self._projections))
        if weights > MAX_WEIGHTS:
            raise StructureError(f"a seed expected at most {MAX_WEIGHTS:,} possible connections, got {weights:,}")

    def _check_width(self, name: str, width: int) -> None:
        if width > MAX_UNITS:
            raise StructureError(f"a seed expected at most {MAX_UNITS:,} units a layer, got {width:,} in {name!r}")

    def _weights(self, record: Projection) -> int:
        if record.couples:
            return self._widths[record.source]
        inner = record.window or output_size(self._layers[record.source]) or ()
        return self._widths[record.source] * self._widths[record.target] * math.prod(inner)

    def _linked(self, name: str, starts: dict[str, int], width: int, operations: Operations) -> str:
        """Maps of which each source gives those from its start on, one to one."""
        self._check_width(name, width)
        self._check_size()  # of what these layers are, before links between them are made
        records = [OneToOne(source=source, target=name) for source in starts]
        for record, start in zip(records, starts.values(), strict=True):
            units = np.arange(self._widths[record.source])
            self._links[record.name] = Links.of(np.ones(len(units)), links=np.stack([units, units + start], 1))
        size = self.size(records[0].source)
        return self._add(self._map_layer(name, size, operations), width, *records)

    def _map_layer(self, name: str, size: Size, operations: Operations) -> Layer:
        layer = Layer(name=name, kind="feature_maps", size=size, operations=operations, bias=not self.normalisation)
        try:
            output_size(layer)
        except StructureError as problem:
            raise StructureError(f"{problem}, or a larger size of images") from None
        return layer

    def _add(self, layer: Layer, count: int, *projections: Projection) -> str:
        if len(self._layers) >= MAX_LAYERS or len(self._projections) + len(projections) > MAX_PROJECTIONS:
            expected = f"at most {MAX_LAYERS:,} layers and {MAX_PROJECTIONS:,} projections"
            raise StructureError(f"a seed expected {expected}, got more: choose fewer layers")
        if layer.name in self._layers:
            raise StructureError(f"a seed expected a name of its own for each layer, got {layer.name!r} twice")
        self._layers[layer.name] = layer
        self._widths[layer.name] = count
        self._projections += projections
        return layer.name


def _dense(source: str | Sequence[str], target: str) -> list[Projection]:
    sources = [source] if isinstance(source, str) else source
    return [Dense(source=each, target=target) for each in sources]


def _activation(function: ActivationFunction) -> Activation:
    try:
        return Activation(function=function)
    except RecordError as error:
        raise StructureError(f"a seed expected a known activation, got {error.problem}") from None


def max_pooling(kernel: int, stride: int, padding: int = 0) -> Pooling:
    """Maximum pooling over square windows."""
    return Pooling(function="max", kernel=(kernel, kernel), stride=(stride, stride), padding=(padding, padding))


def average_pooling(size: Size) -> Pooling:
    """Average pooling over windows side by side."""
    return Pooling(function="average", kernel=size, stride=size)
