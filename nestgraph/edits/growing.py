"""Recipe functions that add connections and units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.connections import SetMask, chosen_entries
from nestgraph.edits.copying import Copies, check_headless
from nestgraph.edits.coupling import check_free, chosen_units, coupled
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import Block, UnitValues
from nestgraph.edits.preserving import preserving
from nestgraph.edits.units import AddUnits
from nestgraph.errors import EditError
from nestgraph.graph.columns import Ends, UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import lone_entries
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


@preserving(1e-12)
@recipe_function
def wake_connections(
    structure: Structure, projection: str, entries: AnyArray, weights: AnyArray | None = None
) -> SetMask:
    """Make dormant connections active, with weight 0 unless given.

    Raises:
        EditError: an entry is active already, or of a tied table and its other end lacks it.
    """
    chosen = chosen_entries(structure, projection, entries)
    if structure.connection_columns(projection).mask.reshape(-1)[chosen].any():
        raise EditError(f"wake_connections in {projection!r}: expected dormant entries, got active ones")
    lone = lone_entries(structure, projection)
    if lone is not None and lone.reshape(-1)[chosen].any():
        raise EditError(
            f"wake_connections in {projection!r}: expected entries that both ends of its tied table have, got some of "
            f"classes that no unit behind {structure.tied[projection]!r} stands for"
        )
    given = np.zeros(len(chosen), np.float32) if weights is None else np.asarray(weights, np.float32)
    return SetMask(projection=projection, entries=chosen, active=np.ones(len(chosen), bool), weights=given)


def added_unit(
    structure: Structure, layer: str, weights: Mapping[str, AnyArray], values: UnitValues | None = None
) -> AddUnits:
    """The edit that adds one unit to a layer, connected where its weights are not zero, and nothing beside it.

    Args:
        structure: the network.
        layer: the layer that gains a unit.
        weights: by projection, the unit's incoming weights (in, ...) or outgoing weights (out, ...).
        values: the unit's columns, (1,) each; neutral where not given.
    """
    blocks: dict[str, Block] = {}
    for name, given in weights.items():
        axis = 0 if structure.projection(name).target == layer else 1
        weight = np.expand_dims(np.asarray(given, np.float32), axis)
        blocks[name] = Block(weight=weight, mask=weight != 0)
    return AddUnits(layer=layer, ids=np.array(structure.fresh_ids(layer, 1)), values=values or {}, blocks=blocks)


@recipe_function
def grow_unit(
    structure: Structure,
    layer: str,
    weights: Mapping[str, AnyArray],
    values: UnitValues | None = None,
    like: int | None = None,
) -> Batch:
    """Add one unit to a layer, and a partner wherever one-to-one projections give one to the units it has.

    Args:
        structure: the network.
        layer: the layer that gains a unit.
        weights: by projection, the new unit's incoming weights (in, ...) or outgoing weights (out, ...), connected
            where they are not zero. Those of a projection that does not touch the layer are the new partner's at its
            source, or else at its target; where several are there, each one's.
        values: the new unit's columns, (1,) each; neutral where not given, as the partners' are.
        like: the unit as which the new one is coupled, by links of the same weights; the layer's last where not
            given. See `coupled`.

    Raises:
        EditError: weights do not fit, or leave a new unit without a connection into it or out of it, or an opaque layer
            freezes the layer or what is coupled to it.
    """
    if structure.layer(layer).kind == "input":
        raise EditError(
            f"grow_unit on {layer!r}: expected neurons or maps, got inputs: restore_inputs brings them back"
        )
    model = structure.units(layer)[-1:] if like is None else chosen_units(structure, layer, [like])
    strand = coupled(structure, layer, model)
    check_free(structure, f"grow_unit on {layer!r}", strand)
    check_headless(structure, strand)
    growth = _Growth(structure, layer, weights, Copies.plan(structure, [strand]))
    growth.check_weights()
    edits, grown = growth.copies.edits(structure, lambda name: (values or {}) if name == layer else {}, growth.block)
    growth.check_joined(grown)
    return Batch(edits=tuple(edits), title=f"grow a unit of {layer}")


@dataclass(frozen=True)
class _Growth:
    """One new unit with its partners, and the weights given for them."""

    structure: Structure
    layer: str
    weights: Mapping[str, AnyArray]
    copies: Copies

    def block(self, grown: Structure, projection: Projection, axis: int) -> Block | None:
        """The given weights of each new unit at an axis of a projection; dormant from partners that came before."""
        if projection.matches:
            return self.copies.slotted(grown, projection, axis)
        if projection.name not in self.weights or self._axis(projection) != axis:
            return None
        shape = list(self.structure.connection_columns(projection.name).weight.shape)
        del shape[axis]
        weight = np.asarray(self.weights[projection.name], np.float32)
        if weight.shape != tuple(shape):
            self._refuse(f"expected weights of shape {tuple(shape)} for {projection.name!r}, got {weight.shape}")
        if axis == 0:
            born = len(grown.units(projection.source)) - len(weight)
            weight = np.pad(weight, [(0, born), *[(0, 0)] * (weight.ndim - 1)])
        count = len(self.copies.models[projection.target if axis == 0 else projection.source])
        stacked = np.stack([weight] * count, axis)
        return Block(weight=stacked, mask=stacked != 0)

    def _axis(self, projection: Projection) -> int:
        """Whether the weights given for a projection lead into a new unit (0) or out of it (1)."""
        return 0 if projection.target == self.layer or projection.source not in self.copies.models else 1

    def check_weights(self) -> None:
        """Refuse weights that are no new unit's."""
        known = {name for layer in self.copies.models for axis in (0, 1) for name in self._projections(layer, axis)}
        strange = sorted(self.weights.keys() - known)
        if strange:
            self._refuse(
                f"expected weights of dense or convolutional projections at what grows "
                f"({', '.join(sorted(known)) or 'none'}), got {', '.join(strange)}; links follow those of `like`"
            )

    def check_joined(self, grown: Structure) -> None:
        """Refuse new units that no connection leads to or from in the network that has them."""
        for layer in self.copies.models:
            for end, way in enumerate(("into", "out of")):
                if end == 1 and grown.layer(layer).output:
                    continue
                if not self._joined(grown, layer, end).all():
                    whose = "the new unit" if layer == self.layer else f"its new partner in {layer!r}"
                    names = " or ".join(self._projections(layer, end))
                    remedy = f"give those of {names}" if names else "none can be, so none can grow here"
                    self._refuse(f"expected weights that are not 0 {way} {whose}, got none: {remedy}")

    def _joined(self, grown: Structure, layer: str, end: int) -> AnyArray:
        """Bool (new units,): whether an active connection leads into one of a layer, or out of it.

        A gate alone does not lead into a unit.
        """
        new = UnitColumns.of(self.copies.of(layer), {})
        found = np.zeros(len(new), bool)
        for projection in grown.outgoing(layer) if end else (*grown.summed(layer), *grown.arguments(layer)):
            if not projection.weighted:  # its partner answers for it
                return np.ones(len(new), bool)
            columns, ends = grown.wired(projection.name)
            part = columns.own(ends[end].positions(new.ids), end, ends)
            sides = (new, ends.source) if end == 0 else (ends.target, new)
            found |= part.touched(part.edges, end, Ends(*sides))
        return found

    def _projections(self, layer: str, axis: int) -> list[str]:
        """The names of the projections at a side of a layer whose weights can be given."""
        sides = (self.structure.incoming, self.structure.outgoing)
        return [p.name for p in sides[axis](layer) if p.weighted and not p.listed]

    def _refuse(self, problem: str) -> NoReturn:
        raise EditError(f"grow_unit on {self.layer!r}: {problem}")


@preserving(1e-12)
@recipe_function
def restore_inputs(structure: Structure, layer: str, units: Sequence[int] | AnyArray) -> Batch:
    """Bring back inputs that pruning dropped: each joins all that reads the layer, by connections of weight 0.

    The inputs take their places in the order of ids, where the layer is in that order. Function-preserving.

    Raises:
        EditError: an id is no absent feature's, or one-to-one projections alone read the layer, or an opaque layer
            freezes it.
    """
    check_free(structure, f"restore_inputs on {layer!r}", [layer])
    record, columns, given = structure.layer(layer), structure.unit_columns(layer), np.asarray(units)
    absent = np.setdiff1d(np.arange(record.features or 0), columns.ids)
    fits = given.ndim == 1 and (given.dtype.kind in "iu" or not given.size)
    if not fits or not np.isin(given, absent).all() or len(np.unique(given)) < len(given):
        got = str(given.tolist())[:80]
        raise EditError(f"restore_inputs on {layer!r}: expected distinct absent features of an input layer, got {got}")
    readers = [p.name for p in structure.outgoing(layer) if not p.listed]
    if not readers:
        raise EditError(f"restore_inputs on {layer!r}: expected a dense projection or convolution out of it, got none")
    if not len(given):
        return Batch(edits=(), title=f"restore no input of {layer}")
    ids = np.sort(given).astype(np.int64)
    ordered = bool((np.diff(columns.ids) > 0).all())
    positions = np.searchsorted(np.union1d(columns.ids, ids), ids) if ordered else None
    blocks = {name: _awake(structure, name, len(ids)) for name in readers}
    edit = AddUnits(layer=layer, ids=ids, positions=positions, blocks=blocks)
    return Batch(edits=(edit,), title=f"restore {len(ids)} inputs of {layer}")


def _awake(structure: Structure, projection: str, count: int) -> Block:
    """Active connections of weight 0 out of `count` new sources."""
    out, _, *rest = structure.connection_columns(projection).weight.shape
    shape = (out, count, *rest)
    return Block(weight=np.zeros(shape, np.float32), mask=np.ones(shape, bool))
