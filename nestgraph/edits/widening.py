"""Recipe functions that make a layer wider by copies of its units: Net2Wider (Chen et al. 2016, arXiv:1511.05641)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.connections import SetMask
from nestgraph.edits.copying import Copies, check_apart, check_headless
from nestgraph.edits.coupling import check_free, coupled
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import Block, UnitValues
from nestgraph.edits.preserving import preserving
from nestgraph.errors import EditError
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.limits import MAX_UNITS, MAX_WEIGHTS
from nestgraph.spec.projection import Projection


@preserving(1e-6)
@recipe_function
def split_unit(structure: Structure, layer: str, unit: int) -> Batch:
    """Split a unit in two with the same input, each with half of its outgoing weights.

    What is coupled to it (see `coupled`) splits with it. `merge_twins` is the way back. Function-preserving.

    Raises:
        EditError: the unit is no living hidden unit, or only outputs read it, one to one.
    """
    return shared(
        structure, "split_unit", layer, _shares(structure, layer, [(unit, (0.5, 0.5))]), f"split unit {unit} of {layer}"
    )


@preserving(1e-12)
@recipe_function
def duplicate_unit(structure: Structure, layer: str, unit: int) -> Batch:
    """Give a unit a twin with the same input, whose outgoing connections start at weight 0.

    What is coupled to it (see `coupled`) gets a twin, too. Function-preserving: the twin takes part as it is trained.

    Raises:
        EditError: the unit is no living hidden unit, or only outputs read it, one to one.
    """
    return shared(
        structure,
        "duplicate_unit",
        layer,
        _shares(structure, layer, [(unit, (1.0, 0.0))]),
        f"duplicate unit {unit} of {layer}",
    )


@preserving(1e-5)
@recipe_function
def widen(structure: Structure, layer: str, count: int, rng: np.random.Generator) -> Batch:
    """Add `count` copies of randomly chosen units, each unit sharing its outgoing weights with its copies at random.

    The shares sum to 1, so nothing changes; as they differ, training tells the copies apart, for which Net2Wider adds
    noise. What is coupled to a unit (see `coupled`) is copied with it. Function-preserving.

    Raises:
        EditError: the layer is not hidden, the count is negative or more than a network may have, or only outputs read
            a unit, one to one.
    """
    units = len(structure.units(layer))
    touching = (*structure.incoming(layer), *structure.outgoing(layer))
    weights = sum(structure.connection_columns(p.name).weight.size for p in touching)
    if not 0 <= count <= min(MAX_UNITS - units, MAX_WEIGHTS * units // max(weights, 1)):
        most = f"{MAX_UNITS:,} units and {MAX_WEIGHTS:,} weights"
        raise EditError(f"widen on {layer!r}: expected a count from 0 up, got {count:,}: a network has at most {most}")
    choices = _strands(structure, layer)
    drawn = np.bincount(rng.integers(0, len(choices), count), minlength=len(choices)).tolist()
    shares = [
        (unit, rng.dirichlet(np.full(copies + 1, 4.0)).tolist())
        for unit, copies in zip(choices, drawn, strict=True)
        if copies
    ]
    return shared(structure, "widen", layer, _shares(structure, layer, shares), f"widen {layer} by {count} units")


def _strands(structure: Structure, layer: str) -> list[int]:
    """The first unit of each coupled set that passes a layer."""
    if not any(p.listed for p in structure.projections_by_name.values()):
        return structure.units(layer).tolist()
    first: list[int] = []
    known: set[int] = set()
    for unit in structure.units(layer).tolist():
        if unit not in known:
            first.append(unit)
            known.update(coupled(structure, layer, [unit])[layer].tolist())
    return first


Shares = Sequence[tuple[Mapping[str, AnyArray], Sequence[float]]]
"""Strands, each with the shares of what it gives that it and its copies have."""


def _shares(structure: Structure, layer: str, units: Sequence[tuple[int, Sequence[float]]]) -> Shares:
    """Shares of units with all that is coupled to them.

    Raises:
        EditError: heads are among that.
    """
    strands = [(coupled(structure, layer, [unit]), parts) for unit, parts in units]
    check_headless(structure, dict.fromkeys(name for strand, _ in strands for name in strand))
    return strands


def shared(
    structure: Structure, recipe: str, layer: str, strands: Shares, title: str, whole: Collection[str] = ()
) -> Batch:
    """Copy strands: the first of its shares stays with each, each other makes a copy.

    Args:
        structure: the network.
        recipe: begins messages.
        layer: whose units are copied.
        strands: what is copied, with the shares.
        title: of the batch.
        whole: projections of which each copy has all.

    Raises:
        EditError: the layer is not hidden, or an opaque layer freezes it or what is coupled to it, or a copy would have
            no reader or other neighbours than its model.
    """
    record = structure.layer(layer)
    if record.kind == "input" or record.output:
        kind = "inputs" if record.kind == "input" else "outputs"
        raise EditError(f"{recipe} on {layer!r}: expected a hidden layer, got one of {kind}")
    tied = dict.fromkeys(name for strand, _ in strands for name in strand)
    check_free(structure, recipe, tied)
    check_apart(structure, recipe, tied)
    _check_read(structure, recipe, [strand for strand, _ in strands])
    silent = {layer for strand, parts in strands if 0.0 in parts for layer in strand}
    if matched := [name for name in silent if any(p.matches for p in structure.outgoing(name))]:
        raise EditError(
            f"{recipe} on {layer!r}: expected units that no heads compare, got {matched[0]!r}: a slot of weight 0 "
            "never trains; split_unit shares one, widen_heads adds one"
        )
    kept = _factors(structure, [(strand, parts[0]) for strand, parts in strands])
    scaled = [edit for name, factor in kept.items() for edit in _scaled(structure, name, factor, whole)]
    given = [(strand, part) for strand, parts in strands for part in parts[1:]]
    copies = Copies.plan(structure, [strand for strand, _ in given])
    sharing = _Sharing(structure, copies, [part for _, part in given], whole)
    after, _ = Batch(edits=tuple(scaled)).change(structure)
    added, _ = sharing.copies.edits(after, sharing.values, sharing.block)
    return Batch(edits=(*scaled, *added), title=title)


def _check_read(structure: Structure, recipe: str, strands: Iterable[Mapping[str, AnyArray]]) -> None:
    """Refuse units that only outputs read, one to one: an output links one unit, so a copy would have no reader."""
    for strand in strands:
        for layer, units in strand.items():
            places = structure.unit_columns(layer).positions(units)
            read = np.zeros(len(units), bool)
            for projection in structure.outgoing(layer):
                if not projection.couples or not structure.layer(projection.target).output:
                    columns, ends = structure.wired(projection.name)
                    read |= not projection.weighted or columns.touched(columns.edges, 1, ends)[places]
            if not read.all():
                unit = int(units[~read][0])
                raise EditError(
                    f"{recipe}: expected units that hidden units or dense projections read, got unit {(layer, unit)}, "
                    "which only outputs read, one to one: a copy would have no reader"
                )


def _factors(structure: Structure, strands: Iterable[tuple[Mapping[str, AnyArray], float]]) -> dict[str, AnyArray]:
    """By layer, (units,) float32: the share that each unit keeps."""
    factors: dict[str, AnyArray] = {}
    for strand, share in strands:
        for layer, units in strand.items():
            columns = structure.unit_columns(layer)
            factor = factors.setdefault(layer, np.ones(len(columns), np.float32))
            factor[columns.positions(units)] = share
    return factors


def _scaled(structure: Structure, layer: str, factor: AnyArray, whole: Collection[str]) -> list[SetMask]:
    """Multiply what leaves each unit of a layer, but for one-to-one links: they lead on to shared units."""
    edits: list[SetMask] = []
    for projection in structure.outgoing(layer):
        columns, ends = structure.wired(projection.name)
        if projection.scales and projection.name not in whole and (factor != 1).any():
            per_source = columns.spread(factor, 1, ends)
            entries = np.flatnonzero(columns.mask & (per_source != 1))
            weights = (columns.weight * per_source).flat[entries]
            live = np.ones(len(entries), bool)
            edits.append(SetMask(projection=projection.name, entries=entries, active=live, weights=weights))
    return edits


@dataclass(frozen=True)
class _Sharing:
    """Copies of the units of `structure`, and the share of the outgoing weights that each copy gets.

    Of projections that are `whole` it gets all.
    """

    structure: Structure
    copies: Copies
    shares: Sequence[float]
    whole: Collection[str] = ()

    def values(self, layer: str) -> UnitValues:
        """The columns of a layer's copies: their models'."""
        places = self.copies.places(self.structure, layer)
        return {name: column[places] for name, column in self.structure.unit_columns(layer).values.items()}

    def block(self, grown: Structure, projection: Projection, axis: int) -> Block | None:
        """Incoming connections as the models have them; of outgoing ones the share."""
        if projection.matches:
            shares = None if projection.name in self.whole else self.shares
            return self.copies.slotted(self.structure, projection, axis, shares)
        layer = projection.target if axis == 0 else projection.source
        columns, ends = (grown if axis == 0 else self.structure).wired(projection.name)
        part = columns.own(self.copies.places(self.structure, layer), axis, ends)
        if axis == 1 and projection.name not in self.whole:
            share = np.array([self.shares[copy] for copy, _ in self.copies.models[layer]], np.float32)
            part = part.with_weight(part.weight * part.spread(share, 1, ends))
        return Block.of(part)
