"""The JSON document of a network: records whose schema is the network's own law.

Reading a document builds and verifies its network, so an island or a cycle is a problem of the document like a missing
key is. Weights are stored for active connections only.
"""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, PrivateAttr, StringConstraints, TypeAdapter, WithJsonSchema, model_validator

from nestgraph.errors import StructureError, VerificationError
from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import Booleans, Floats, Integers
from nestgraph.spec.layer import ColumnName, Layer
from nestgraph.spec.projection import Projection
from nestgraph.spec.record import ArrayRecord

VERSION = 1
MAX_LAYERS = 4096
MAX_PROJECTIONS = 16_384
MAX_ENTRIES = 2**28  # of all masks and areas together: one bit of the file becomes five bytes of memory


def _check_version(version: int) -> int:
    if version > VERSION:
        raise ValueError(f"made by a newer nestgraph (expected version {VERSION}, got {version}): update nestgraph")
    if version < VERSION:
        raise ValueError(f"unknown format (expected version {VERSION}, got {version})")
    return version


Version = Annotated[int, AfterValidator(_check_version), WithJsonSchema({"const": VERSION})]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""The hexadecimal SHA-256 of a network or of an entry."""


class LayerDocument(ArrayRecord):
    """A layer with the columns of its units.

    Attributes:
        layer: the record.
        ids: (units,) the ids in the order of positions.
        next_id: the smallest id that no unit of the layer ever had.
        values: (units,) for each column of the layer.
    """

    layer: Layer
    ids: Integers
    next_id: Annotated[int, Field(ge=0)]
    values: dict[ColumnName, Floats]

    @classmethod
    def of(cls, layer: Layer, columns: UnitColumns) -> Self:
        """The document of a layer, its columns in the order of `Layer.column_names`."""
        values: dict[ColumnName, Floats] = {name: columns.values[name] for name in layer.column_names}
        return cls(layer=layer, ids=columns.ids, next_id=columns.next_id, values=values)

    @property
    def columns(self) -> UnitColumns:
        """The columns as they stand in the document: a `next_id` that is too small is left for the verification."""
        return UnitColumns(self.ids, self.values, self.next_id)


class ProjectionDocument(ArrayRecord):
    """A projection with its connections.

    Attributes:
        projection: the record.
        mask: whether each connection is active, in the shape of the projection's weights.
        weights: (active,) the weights of the active connections in row-major order.
        area: as in `ConnectionColumns`.
        links: as in `ConnectionColumns`.
    """

    projection: Projection
    mask: Booleans
    weights: Floats
    area: Booleans | None = None
    links: Integers | None = None

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        active = int(np.count_nonzero(self.mask))
        if self.weights.shape != (active,):
            raise ValueError(f"expected one weight for each of {active} active connections, got {self.weights.shape}")
        if self.links is not None and (self.links.ndim != 2 or self.links.shape[1] != 2):
            raise ValueError(f"expected links of shape (links, 2), got {self.links.shape}")
        return self

    @classmethod
    def of(cls, projection: Projection, columns: ConnectionColumns) -> Self:
        """The document of a projection."""
        live = columns.weight[columns.mask]
        return cls(projection=projection, mask=columns.mask, weights=live, area=columns.area, links=columns.links)

    @property
    def columns(self) -> ConnectionColumns:
        """The connections, weights spread over the whole shape."""
        weight = np.zeros(self.mask.shape, np.float32)
        weight[self.mask] = self.weights
        return ConnectionColumns.of(weight, self.mask, self.area, self.links)

    @property
    def entries(self) -> int:
        """How many entries its arrays unfold to."""
        return self.mask.size + (0 if self.area is None else self.area.size)


class NetworkDocument(ArrayRecord):
    """A whole network. An instance that was read or written is proof that its network obeys every law."""

    format: Literal["nestgraph.network"]
    version: Version
    digest: Digest
    layers: Annotated[tuple[LayerDocument, ...], Field(max_length=MAX_LAYERS)]
    projections: Annotated[tuple[ProjectionDocument, ...], Field(max_length=MAX_PROJECTIONS)]

    _built: Network | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        self._check_whole()
        try:
            digest = self.network.digest
        except (StructureError, VerificationError) as error:
            raise ValueError(str(error)) from error
        if digest != self.digest:
            raise ValueError(f"digest: expected {digest}, which the content has, got {self.digest}: it was altered")
        return self

    def _check_whole(self) -> None:
        for names in ([d.layer.name for d in self.layers], [d.projection.name for d in self.projections]):
            if len(set(names)) != len(names):
                twice = next(name for place, name in enumerate(names) if name in names[:place])
                raise ValueError(f"expected distinct names, got {twice!r} twice: rename one")
        entries = sum(document.entries for document in self.projections)
        if entries > MAX_ENTRIES:
            raise ValueError(f"expected masks and areas of at most {MAX_ENTRIES:,} entries, got {entries:,}")

    @classmethod
    def of(cls, network: Network) -> Self:
        """The document of a network, which is not verified again. The order of its records depends on names alone.

        Raises:
            ValueError: the network is larger than a document may be.
        """
        layers = tuple(LayerDocument.of(network.layer(n), network.unit_columns(n)) for n in network.layer_names)
        projections = tuple(
            ProjectionDocument.of(network.projection(n), network.connection_columns(n))
            for n in network.projection_names
        )
        document = cls.model_construct(
            format="nestgraph.network", version=VERSION, digest=network.digest, layers=layers, projections=projections
        )
        document._check_whole()
        document._built = network
        return document

    @property
    def network(self) -> Network:
        """The network, built and verified once."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> Network:
        units = {document.layer.name: document.columns for document in self.layers}
        connections = {document.projection.name: document.columns for document in self.projections}
        layers = (document.layer for document in self.layers)
        projections = (document.projection for document in self.projections)
        return Network.of(Structure(layers, projections, units, connections))


NETWORK: TypeAdapter[NetworkDocument] = TypeAdapter(NetworkDocument)
"""Reads and writes networks as JSON."""
