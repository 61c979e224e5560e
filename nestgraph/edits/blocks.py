"""The recipe function that stacks blocks of a residual stream: StackBERT (Gong et al. 2019), but the function stays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import AddLayer, AddProjection, Block, RemoveProjection, SetOperations, UnitValues
from nestgraph.edits.naming import free_name
from nestgraph.edits.preserving import preserving
from nestgraph.errors import EditError
from nestgraph.graph.columns import ConnectionColumns, Links
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Activation
from nestgraph.spec.projection import OneToOne, Projection


@preserving(1e-12)
@recipe_function
def copy_block(structure: Structure, source: str, target: str, name: str) -> Batch:
    """Put a copy of a residual block behind it, which adds nothing to its stream until it is trained.

    The block is what lies between two layers of a stream: each unit of the source leads on to one of the target by
    one-to-one links of weight 1, through sums to which branches add. The copy reads the target, and all that read the
    target reads the copy. It has the block's weights but for those with which its branches end; these are 0: a factor
    that a branch ends with, such as that of a normalisation, or else the weights into its last layer. What the target
    does with its sum, other than ReLU, goes to the copy: what normalises the whole stream stays at its end.
    Function-preserving.

    Args:
        structure: the network.
        source: the layer that the block begins behind.
        target: the layer that it ends with.
        name: what the names of the new layers begin with, in the place of what those of the block have in common.

    Raises:
        EditError: the two are not joined so, or are an output, or a layer between them is opaque, or a branch ends in
            what would not stay 0, or not train from there, or a name is taken.
    """
    return _Copy.of(structure, source, target, name).batch()


@dataclass
class _Copy:
    """A block and what its copy has otherwise.

    Attributes:
        structure: the network.
        source, target: where the block begins and ends.
        names: by layer of the block, the name of its copy; in the order of layers.
        way: the links of the stream, from the target back to the source.
        weights: by projection, other weights of the copy.
        values: by layer, other columns of the copy.
        kept: whether the target keeps its operations.
    """

    structure: Structure
    source: str
    target: str
    names: dict[str, str]
    way: Sequence[OneToOne]
    weights: dict[str, ConnectionColumns] = field(default_factory=dict[str, ConnectionColumns])
    values: dict[str, UnitValues] = field(default_factory=dict[str, UnitValues])
    kept: bool = False

    @classmethod
    def of(cls, structure: Structure, source: str, target: str, name: str) -> "_Copy":
        inside = _between(structure, structure.layer(source).name, structure.layer(target).name)
        stem = _common(inside)
        names = {layer: name + (layer.removeprefix(stem) if stem else f"_{layer}") for layer in inside}
        made = cls(structure, source, target, names, _stream(structure, source, inside))
        made.check(stem)
        return made

    def check(self, stem: str) -> None:
        """Refuse what is no block."""
        structure = self.structure
        if not self.way:
            self.refuse("expected layers whose units one-to-one links of weight 1 join, got none: a stream leads past")
        if structure.layer(self.target).output:
            self.refuse("expected a hidden layer behind which a copy can stand, got an output")
        if taken := [new for new in self.names.values() if structure.has_layer(new)]:
            self.refuse(f"expected a name that no layer has in the place of {stem!r}, got {taken[0]!r}: choose another")
        for layer in self.names:
            if structure.layer(layer).opaque is not None:
                self.refuse(f"expected layers whose weights can be copied, got the opaque layer {layer!r}")
        self.kept = _leaves(structure.layer(self.target), rectified=True)
        rectified = self.kept and structure.layer(self.target).activation is not None
        for layer in (link.target for link in self.way):
            if structure.gates(layer) or structure.matches(layer):
                self.refuse(f"expected a stream of sums, got {layer!r}, which is multiplied")
            if layer != self.target and not _leaves(structure.layer(layer), rectified=rectified):
                words = structure.layer(layer).operations[0].words
                self.refuse(f"expected a stream that is summed up alone, got {layer!r} with {words}")

    def batch(self) -> Batch:
        """The edits, once the copy adds nothing."""
        structure, target = self.structure, self.structure.layer(self.target)
        for link in self.way:
            self.values[link.target] = self._unadded(link.target)
            for projection in structure.summed(link.target):
                if projection.name != link.name:
                    self._end(projection)
        moved = structure.outgoing(self.target)
        edits: list[AnyEdit] = [RemoveProjection(projection=p.name) for p in moved]
        if not self.kept:
            edits.append(SetOperations(layer=self.target, operations=(), bias=target.bias))
        edits += [self._layer(layer) for layer in self.names]
        copied: list[AddProjection] = []
        for projection in (p for layer in self.names for p in structure.incoming(layer)):
            copied.append(self._projection(projection, [other.projection.name for other in copied]))
        edits += copied
        edits += [
            AddProjection(
                projection=p.model_copy(update={"source": self.names[self.target]}),
                connections=Block.of(structure.connection_columns(p.name)),
            )
            for p in moved
        ]
        return Batch(edits=tuple(edits), title=f"copy the block from {self.source} to {self.target}")

    def _layer(self, layer: str) -> AddLayer:
        """The copy of a layer, with the ids of its units."""
        structure = self.structure
        columns = structure.unit_columns(layer)
        record = structure.layer(layer).model_copy(update={"name": self.names[layer], "label": ""})
        record = Layer.model_validate(dict(record))  # a name may be too long
        values = {**columns.values, **self.values.get(layer, {})}
        return AddLayer(layer=record, ids=columns.ids, values=values, next_id=columns.next_id)

    def _projection(self, projection: Projection, taken: Sequence[str]) -> AddProjection:
        """The copy of a projection; what read the source reads the target."""
        new = self.names[projection.target]
        near = self.target if projection.source == self.source else projection.source
        near = self.names.get(near, near) if projection.source != self.source else near
        name = free_name(self.structure, f"{near}_to_{new}", taken)
        record = projection.untied.model_copy(update={"source": near, "target": new, "name": name})
        columns = self.weights.get(projection.name, self.structure.connection_columns(projection.name))
        if projection.source == self.source:
            columns = self._led_on(projection, columns)
        return AddProjection(projection=record, connections=Block.of(columns))

    def _led_on(self, projection: Projection, columns: ConnectionColumns) -> ConnectionColumns:
        """Connections out of the source as those out of the units of the target to which its units lead."""
        ends, pairs = self.structure.ends(projection.name), self._pairs()
        if isinstance(columns, Links):
            new = dict(pairs.tolist())
            links = columns.links.copy()
            links[:, 0] = [new[unit] for unit in links[:, 0].tolist()]
            return columns.relinked(links)
        order = np.argsort(self.structure.unit_columns(self.target).positions(pairs[:, 1]))
        return columns.take(ends.source.positions(pairs[order, 0]), 1, ends)

    def _pairs(self) -> AnyArray:
        """(units, 2): the ids of the units of the source and of those of the target to which each leads."""
        pairs = np.repeat(self.structure.units(self.source)[:, None], 2, 1)
        for link in reversed(self.way):
            next_one = dict(self.structure.linked(link.name)[0].links.tolist())
            pairs[:, 1] = [next_one[unit] for unit in pairs[:, 1].tolist()]
        return pairs

    def _end(self, projection: Projection) -> None:
        """Let a branch end here: what the projection brings is 0, and trains from there."""
        if projection.learns and not projection.held:
            columns = self.structure.connection_columns(projection.name)
            self.weights[projection.name] = columns.with_weight(np.zeros_like(columns.weight))
        elif projection.source in self.names and all(link.target != projection.source for link in self.way):
            self._silence(projection.source)
        else:
            self.refuse(f"expected branches that end in weights that train, got {projection.name!r}")

    def _silence(self, layer: str) -> None:
        """Let a layer give 0, by a factor that it ends with or else by all that it sums up."""
        record, columns = self.structure.layer(layer), self.structure.unit_columns(layer)
        factors = [at for at, each in enumerate(record.operations) if any(c.name == "gamma" for c in each.columns)]
        start = 0
        if factors and "gamma" not in record.frozen:
            start, last = factors[-1] + 1, record.operations[factors[-1]]
            known = {column.name for column in last.columns} & {"gamma", "beta"}
            self.values[layer] = {name: np.zeros(len(columns), np.float32) for name in known}
        else:
            self.values[layer] = self._unadded(layer)
            for projection in self.structure.summed(layer):
                self._end(projection)
        x = np.zeros((1, len(columns), *(record.size or ())))
        for operation in record.operations[start:]:
            x = operation.apply(x, {**columns.values, **self.values[layer]}, columns.ids)
            if operation.facts.never_negative or np.any(x):
                self.refuse(
                    f"expected a branch that stays at 0 and trains from there, got {layer!r}: {operation.words}"
                )

    def _unadded(self, layer: str) -> UnitValues:
        """The columns of a layer that its sum goes up by, as 0."""
        known = self.structure.unit_columns(layer).values
        return {name: np.zeros_like(known[name]) for name in ("bias", "places") if name in known}

    def refuse(self, problem: str) -> NoReturn:
        raise EditError(f"copy_block from {self.source!r} to {self.target!r}: {problem}")


def _between(structure: Structure, source: str, target: str) -> list[str]:
    """The layers on ways from one to another, this one among them, in the order of layers."""
    behind, before = {source}, {target}
    for name in structure.layer_names:
        if any(p.source in behind for p in structure.incoming(name)):
            behind.add(name)
    for name in reversed(structure.layer_names):
        if any(p.target in before for p in structure.outgoing(name)):
            before.add(name)
    return [name for name in structure.layer_names if name in behind & before and name != source]


def _common(names: Sequence[str]) -> str:
    """What all names begin with, up to an underscore or their end."""
    first, last = min(names, default=""), max(names, default="")
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    ends = (end for end in range(alike, 0, -1) if all(name[end : end + 1] in ("", "_") for name in names))
    return first[: next(ends, 0)]


def _stream(structure: Structure, source: str, inside: Sequence[str]) -> list[OneToOne]:
    """The links by which each unit of a source leads on to one of the last layer as it is, last first; or none."""
    led: dict[str, OneToOne] = {}
    for layer in inside:
        for projection in structure.summed(layer):
            known = projection.source == source or projection.source in led
            if known and isinstance(projection, OneToOne) and _as_it_is(structure, projection):
                led[layer] = projection
    way: list[OneToOne] = []
    layer = inside[-1] if inside else source
    while layer in led:
        way.append(led[layer])
        layer = led[layer].source
    return way


def _as_it_is(structure: Structure, projection: OneToOne) -> bool:
    """Whether each unit of a layer is added as it is to one of another, which all have one."""
    if projection.learns or projection.window is not None or projection.placed or projection.gates:
        return False
    columns, ends = structure.linked(projection.name)
    whole = bool(columns.mask.all()) and bool((columns.weight == 1).all())
    return whole and all(np.array_equal(np.sort(columns.ids(end)), np.sort(ends[end].ids)) for end in (0, 1))


def _leaves(layer: Layer, rectified: bool) -> bool:
    """Whether a layer gives its sum as it is in inference, or, where that was rectified before, rectifies it."""
    return all(
        operation.facts.idle or (rectified and isinstance(operation, Activation) and operation.function == "relu")
        for operation in layer.operations
    )
