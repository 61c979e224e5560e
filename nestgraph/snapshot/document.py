"""The JSON document of a network: records whose schema is the network's own law.

Reading a document builds and verifies its network, so an island or a cycle is a problem of the document like a missing
key is. Weights are stored for active connections only. The arrays of a large network lie in a sidecar (`sidecar.py`).
"""

import math
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from nestgraph.errors import StructureError, VerificationError
from nestgraph.graph.columns import PART, ConnectionColumns, UnitColumns
from nestgraph.graph.network import Network
from nestgraph.graph.projections import MEANINGS
from nestgraph.graph.structure import Structure
from nestgraph.snapshot.limits import LIMITS, Limits
from nestgraph.spec.arrays import AnyArray, Booleans, Floats, Integers, owned
from nestgraph.spec.interface import Interface
from nestgraph.spec.layer import ColumnName, Layer
from nestgraph.spec.limits import MAX_LAYERS, MAX_PROJECTIONS
from nestgraph.spec.projection import AnyProjection
from nestgraph.spec.record import ArrayRecord, absent

VERSION = 2


def _check_version(version: int) -> int:
    if version > VERSION:
        raise ValueError(f"made by a newer nestgraph (expected version {VERSION}, got {version}): update nestgraph")
    if version < VERSION:
        raise ValueError(f"unknown format (expected version {VERSION}, got {version})")
    return version


Version = Annotated[int, AfterValidator(_check_version), WithJsonSchema({"const": VERSION})]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""The hexadecimal SHA-256 of a network or of an entry."""

Shape = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(max_length=8), Strict(False)]
"""The extents of an array of which only part is stored, or that is stored as one row."""


class LayerDocument(ArrayRecord):
    """A layer with the columns of its units.

    Attributes:
        layer: the record.
        next_id: the smallest id that no unit of the layer ever had.
        ids: (units,) the ids in the order of positions; absent where there is a sidecar.
        values: (units,) for each column of the layer, (units, *size) by place; absent where there is a sidecar.
    """

    needed: ClassVar = 2

    layer: Layer
    next_id: Annotated[int, Field(ge=0)]
    ids: Annotated[Integers | None, Field(exclude_if=absent)] = None
    values: Annotated[dict[ColumnName, Floats] | None, Field(exclude_if=absent)] = None

    @classmethod
    def of(cls, layer: Layer, columns: UnitColumns) -> Self:
        """The document of a layer, its columns in the order of `Layer.column_names`."""
        values: dict[ColumnName, Floats] = {name: columns.values[name] for name in layer.column_names}
        return cls.model_construct(layer=layer, next_id=columns.next_id, ids=columns.ids, values=values)

    @property
    def arrays(self) -> tuple[object, ...]:
        """What the document holds itself, or None in place of it; without a sidecar the first `needed` are there."""
        return (self.ids, self.values)

    @property
    def columns(self) -> UnitColumns:
        """The columns as they stand in the document: a `next_id` that is too small is left for the verification."""
        if self.ids is None or self.values is None:
            raise StructureError(f"layer {self.layer.name!r}: expected ids and values, got none")
        return UnitColumns(self.ids, self.values, self.next_id)


class ProjectionDocument(ArrayRecord):
    """A projection with its connections.

    Attributes:
        projection: the record.
        shape: of all its weights, active and dormant.
        live: (weights,) whether each connection is active, in row-major order; absent where all are.
        weights: (active,) the weights of the active connections in row-major order; absent where there is a sidecar.
        area_shape: of the areas, as in `ConnectionColumns`; absent where convolutions are computed everywhere.
        area: (positions,) the areas in row-major order.
        links: (links, 2) as in `ConnectionColumns`; one-to-one projections only.
    """

    needed: ClassVar = 1

    projection: AnyProjection
    shape: Shape
    live: Annotated[Booleans | None, Field(exclude_if=absent)] = None
    weights: Annotated[Floats | None, Field(exclude_if=absent)] = None
    area_shape: Annotated[Shape | None, Field(exclude_if=absent)] = None
    area: Annotated[Booleans | None, Field(exclude_if=absent)] = None
    links: Annotated[Integers | None, Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        if self.weights is not None:
            self.check(self.weights)
        return self

    def check(self, weights: AnyArray) -> None:
        """Refuse arrays that do not fit each other.

        Raises:
            ValueError: says which.
        """
        size = math.prod(self.shape)
        if self.live is not None and self.live.shape != (size,):
            raise ValueError(f"expected live of shape {(size,)}, as there are so many weights, got {self.live.shape}")
        active = size if self.live is None else int(np.count_nonzero(self.live))
        if weights.shape != (active,):
            raise ValueError(f"expected one weight for each of {active} active connections, got {weights.shape}")
        positions = None if self.area_shape is None else (math.prod(self.area_shape),)
        if positions != (None if self.area is None else self.area.shape):
            raise ValueError("expected area and area_shape to fit, or neither")
        if self.links is not None and (self.links.ndim != 2 or self.links.shape[1] not in (2, 3)):
            raise ValueError(f"expected links of shape (links, 2), or (links, 3) to slots, got {self.links.shape}")

    @classmethod
    def of(cls, projection: AnyProjection, columns: ConnectionColumns) -> Self:
        """The document of a projection."""
        mask, area = columns.mask, columns.area
        dense = columns.active == mask.size
        return cls.model_construct(
            projection=projection,
            shape=mask.shape,
            live=None if dense else mask.reshape(-1),
            weights=columns.weight.reshape(-1) if dense else np.compress(mask.reshape(-1), columns.weight.reshape(-1)),
            area_shape=None if area is None else area.shape,
            area=None if area is None else area.reshape(-1),
            links=columns.parts.get("links"),
        )

    @property
    def arrays(self) -> tuple[object, ...]:
        """As of a layer's document."""
        return (self.weights, self.live, self.area, self.links)

    @property
    def columns(self) -> ConnectionColumns:
        """The connections, weights spread over the whole shape."""
        if self.weights is None:
            raise StructureError(f"projection {self.projection.name!r}: expected weights, got none")
        if self.live is None:
            weight, mask = self.weights.reshape(self.shape), owned(np.ones(self.shape, bool))
        else:
            weight, mask = _spread(self.weights, self.live).reshape(self.shape), self.live.reshape(self.shape)
        area = None if self.area is None or self.area_shape is None else self.area.reshape(self.area_shape)
        kind = MEANINGS[type(self.projection)].kind
        try:
            return kind.made_of(weight, mask, {"area": area, "links": self.links})
        except ValueError as error:
            raise StructureError(f"projection {self.projection.name!r}: {error}") from None

    @property
    def entries(self) -> int:
        """How many entries its arrays unfold to."""
        shapes = (self.shape,) if self.area_shape is None else (self.shape, self.area_shape)
        return sum(math.prod(max(extent, 1) for extent in shape) for shape in shapes)  # NumPy refuses vast empty ones


def _spread(weights: AnyArray, live: AnyArray) -> AnyArray:
    """A row with the weights where it is live, and 0 elsewhere; filled in parts, so that it takes no other memory."""
    row, taken = np.zeros(live.size, np.float32), 0
    for at in range(0, live.size, PART):
        places = np.flatnonzero(live[at : at + PART])
        row[at : at + PART][places] = weights[taken : taken + len(places)]
        taken += len(places)
    return owned(row)


class NetworkDocument(ArrayRecord):
    """A whole network. One without a sidecar that was read or written is proof that its network obeys every law.

    Attributes:
        format: the kind of document.
        version: of the format.
        digest: SHA-256 of structure, weights and statistics: of what is here and in the sidecar.
        sidecar: whether the arrays lie in a file beside it, whose name follows from the digest.
        interface: what goes in and comes out, in order; absent where the order of the layers says it.
        layers: each after all that feed it.
        projections: in the order of their target layers.
    """

    format: Literal["nestgraph.network"]
    version: Version
    digest: Digest
    sidecar: bool
    interface: Annotated[Interface | None, Field(exclude_if=absent)] = None
    layers: Annotated[tuple[LayerDocument, ...], Field(max_length=MAX_LAYERS)]
    projections: Annotated[tuple[ProjectionDocument, ...], Field(max_length=MAX_PROJECTIONS)]

    _built: Network | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_network(self, info: ValidationInfo) -> Self:
        self._check_whole(info.context if isinstance(info.context, Limits) else LIMITS)
        if self.sidecar:
            return self
        try:
            self.check_digest(self.network.digest)
        except (StructureError, VerificationError) as error:
            raise ValueError(str(error)) from error
        return self

    def check_digest(self, digest: str) -> None:
        """Refuse a document whose content has another digest than it says.

        Raises:
            ValueError: it has.
        """
        if digest != self.digest:
            raise ValueError(f"digest: expected {digest}, which the content has, got {self.digest}: it was altered")

    def _check_whole(self, limits: Limits) -> None:
        for names in ([d.layer.name for d in self.layers], [d.projection.name for d in self.projections]):
            if len(set(names)) != len(names):
                twice = next(name for place, name in enumerate(names) if name in names[:place])
                raise ValueError(f"expected distinct names, got {twice!r} twice: rename one")
        for document in (*self.layers, *self.projections):
            held = [array is not None for array in document.arrays]
            if any(held) if self.sidecar else not all(held[: document.needed]):
                raise ValueError(
                    "expected all arrays in the document, or with a sidecar none, got some: it was altered"
                )
        entries = sum(document.entries for document in self.projections)
        if entries > limits.entries:
            raise ValueError(
                f"expected weights, masks and areas of at most {limits.entries:,} entries, got {entries:,}: "
                "pass limits with more entries if you trust it"
            )

    @classmethod
    def of(cls, network: Network, limits: Limits = LIMITS) -> Self:
        """The document of a network, which is not verified again. The order of its records depends on names alone.

        Raises:
            ValueError: the network is larger than a document may be.
        """
        layers = tuple(LayerDocument.of(network.layer(n), network.unit_columns(n)) for n in network.layer_names)
        projections = tuple(
            ProjectionDocument.of(network.projection(n), network.connection_columns(n))
            for n in network.projection_names
        )
        document = cls._of(network.digest, network.interface, layers, projections)
        document._check_whole(limits)
        document._built = network
        return document

    @classmethod
    def _of(
        cls,
        digest: str,
        interface: Interface | None,
        layers: tuple[LayerDocument, ...],
        projections: tuple[ProjectionDocument, ...],
        sidecar: bool = False,
    ) -> Self:
        return cls.model_construct(
            format="nestgraph.network",
            version=VERSION,
            digest=digest,
            sidecar=sidecar,
            interface=interface,
            layers=layers,
            projections=projections,
        )

    @property
    def bare(self) -> Self:
        """The same without its arrays, which then belong into a sidecar."""
        layers = (d.model_copy(update={"ids": None, "values": None}) for d in self.layers)
        gone = {"live": None, "weights": None, "area": None, "links": None}
        projections = (d.model_copy(update=gone) for d in self.projections)
        return self._of(self.digest, self.interface, tuple(layers), tuple(projections), sidecar=True)

    @property
    def text(self) -> str:
        """The canonical JSON: a line for each layer and each projection, so that people can read and compare it."""
        head = self.model_dump_json(exclude={"layers", "projections"}).removesuffix("}")
        layers = ",\n".join(document.model_dump_json() for document in self.layers)
        projections = ",\n".join(document.model_dump_json() for document in self.projections)
        return f'{head},\n"layers":[\n{layers}\n],\n"projections":[\n{projections}\n]}}\n'

    @property
    def network(self) -> Network:
        """The network, built and verified once.

        Raises:
            StructureError: its arrays lie in a sidecar.
            VerificationError: it breaks a law.
        """
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> Network:
        units = {document.layer.name: document.columns for document in self.layers}
        connections = {document.projection.name: document.columns for document in self.projections}
        layers = (document.layer for document in self.layers)
        projections = (document.projection for document in self.projections)
        return Network.of(Structure(layers, projections, units, connections, interface=self.interface))


NETWORK: TypeAdapter[NetworkDocument] = TypeAdapter(NetworkDocument)
"""Reads and writes networks as JSON."""
