"""Recipe functions that make a layer wider by copies of its units: Net2Wider (Chen et al. 2016, arXiv:1511.05641)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetMask
from nestgraph.edits.copying import Copies, check_apart, check_headless
from nestgraph.edits.coupling import check_free, coupled
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import Block, SetOperations, UnitValues
from nestgraph.edits.preserving import preserving
from nestgraph.errors import EditError
from nestgraph.graph.columns import ConnectionColumns, Grid
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.limits import MAX_UNITS, MAX_WEIGHTS
from nestgraph.spec.operations import Norm
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

    The shares of each connection sum to 1, so nothing changes; as they differ from one connection to the next, training
    tells the copies apart under any optimizer, for which Net2Wider adds noise. What is coupled to a unit (see
    `coupled`) is copied with it. Units that are normalised together, as those of a stream before layer normalisation,
    are all copied as often, and the normalisation counts on so many. Function-preserving.

    Raises:
        EditError: the layer is not hidden, the count is negative or more than a network may have, or no multiple of the
            units that are normalised together, or only outputs read a unit, one to one.
    """
    units = len(structure.units(layer))
    touching = (*structure.incoming(layer), *structure.outgoing(layer))
    weights = sum(structure.connection_columns(p.name).weight.size for p in touching)
    if not 0 <= count <= min(MAX_UNITS - units, MAX_WEIGHTS * units // max(weights, 1)):
        most = f"{MAX_UNITS:,} units and {MAX_WEIGHTS:,} weights"
        raise EditError(f"widen on {layer!r}: expected a count from 0 up, got {count:,}: a network has at most {most}")
    choices = _strands(structure, layer)
    drawn = np.bincount(rng.integers(0, len(choices), count), minlength=len(choices)).tolist()
    if count and _counting(structure, coupled(structure, layer, structure.units(layer))):
        if count % len(choices):
            raise EditError(
                f"widen on {layer!r}: expected as many copies of each unit where they are normalised together, a "
                f"multiple of {len(choices)}, got {count}"
            )
        drawn = [count // len(choices)] * len(choices)
    shares = [
        (unit, rng.dirichlet(np.full(copies + 1, 4.0)).tolist())
        for unit, copies in zip(choices, drawn, strict=True)
        if copies
    ]
    strands = _shares(structure, layer, shares)
    return shared(structure, "widen", layer, strands, f"widen {layer} by {count} units", rng=rng)


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
    structure: Structure,
    recipe: str,
    layer: str,
    strands: Shares,
    title: str,
    whole: Collection[str] = (),
    rng: np.random.Generator | None = None,
) -> Batch:
    """Copy strands: the first of its shares stays with each, each other makes a copy.

    Args:
        structure: the network.
        recipe: begins messages.
        layer: whose units are copied.
        strands: what is copied, with the shares.
        title: of the batch.
        whole: projections of which each copy has all.
        rng: draws shares anew for each connection whose weight is no fixed scale; those that are given where it is not.

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
    counting = _counting(structure, tied) if _all_alike(structure, strands) else {}
    check_apart(structure, recipe, [name for name in tied if name not in counting])
    _check_read(structure, recipe, [strand for strand, _ in strands])
    silent = {layer for strand, parts in strands if 0.0 in parts for layer in strand}
    if matched := [name for name in silent if any(p.matches for p in structure.outgoing(name))]:
        raise EditError(
            f"{recipe} on {layer!r}: expected units that no heads compare, got {matched[0]!r}: a slot of weight 0 "
            "never trains; split_unit shares one, widen_heads adds one"
        )
    times = len(strands[0][1]) if strands else 1
    edits: list[AnyEdit] = [_counted(structure, name, norm, times) for name, norm in counting.items()]
    drawn = {} if rng is None else _drawn(structure, strands, whole, rng)
    kept = _factors(structure, [(strand, parts[0]) for strand, parts in strands])
    edits += [edit for name, factor in kept.items() for edit in _scaled(structure, name, factor, whole, drawn)]
    given = [(strand, part) for strand, parts in strands for part in parts[1:]]
    copies = Copies.plan(structure, [strand for strand, _ in given])
    numbers = [number for _, parts in strands for number in range(1, len(parts))]
    sharing = _Sharing(structure, copies, [part for _, part in given], whole, numbers, drawn)
    after, _ = Batch(edits=tuple(edits)).change(structure)
    added, _ = sharing.copies.edits(after, sharing.values, sharing.block)
    return Batch(edits=(*edits, *added), title=title)


def _counting(structure: Structure, layers: Iterable[str]) -> dict[str, Norm]:
    """By layer, the one operation that mixes its units, where that is a normalisation of all of them together."""
    found: dict[str, Norm] = {}
    for layer in layers:
        mixing = [each for each in structure.layer(layer).operations if each.facts.reach == "layer"]
        if len(mixing) == 1 and isinstance(mixing[0], Norm) and mixing[0].groups == 1:
            found[layer] = mixing[0]
    return found


def _all_alike(structure: Structure, strands: Shares) -> bool:
    """Whether strands are as often copied as each other, and hold each unit of their layers once."""
    held: dict[str, list[int]] = {}
    for strand, _ in strands:
        for layer, units in strand.items():
            held.setdefault(layer, []).extend(units.tolist())
    whole = all(sorted(units) == sorted(structure.units(layer).tolist()) for layer, units in held.items())
    return whole and len({len(parts) for _, parts in strands}) == 1


def _counted(structure: Structure, layer: str, norm: Norm, times: int) -> SetOperations:
    """A layer's normalisation, which counts on so many times its units."""
    record = structure.layer(layer)
    more = norm.model_copy(update={"count": norm.count * times})
    operations = tuple(more if operation is norm else operation for operation in record.operations)
    return SetOperations(layer=layer, operations=operations, bias=record.bias)


def _drawn(
    structure: Structure, strands: Shares, whole: Collection[str], rng: np.random.Generator
) -> dict[str, AnyArray]:
    """By projection, (parts, targets, sources) float32: what each part of a source has of each pair's weights.

    The first part is what the unit keeps. Those of a pair sum to 1.
    """
    counts: dict[str, AnyArray] = {}
    for strand, parts in strands:
        for layer, units in strand.items():
            columns = structure.unit_columns(layer)
            counts.setdefault(layer, np.ones(len(columns), np.int64))[columns.positions(units)] = len(parts)
    found: dict[str, AnyArray] = {}
    for layer, count in counts.items():
        for projection in structure.outgoing(layer):
            columns = structure.connection_columns(projection.name)
            if projection.scales and projection.name not in whole and isinstance(columns, Grid):
                most = int(count.max())
                kept = np.arange(most).reshape(-1, 1, 1) < count
                drawn = np.where(kept, rng.gamma(4.0, size=(most, *columns.edges.shape)), 0.0)
                found[projection.name] = (drawn / drawn.sum(axis=0)).astype(np.float32)
    return found


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


def _scaled(
    structure: Structure, layer: str, factor: AnyArray, whole: Collection[str], drawn: Mapping[str, AnyArray]
) -> list[SetMask]:
    """Multiply what leaves each unit of a layer, but for one-to-one links: they lead on to shared units."""
    edits: list[SetMask] = []
    for projection in structure.outgoing(layer):
        columns, ends = structure.wired(projection.name)
        if projection.scales and projection.name not in whole and (factor != 1).any():
            per_source = columns.spread(factor, 1, ends)
            if projection.name in drawn:
                per_source = _between(drawn[projection.name][0], columns)
            entries = np.flatnonzero(columns.mask & (per_source != 1))
            weights = (columns.weight * per_source).flat[entries]
            live = np.ones(len(entries), bool)
            edits.append(SetMask(projection=projection.name, entries=entries, active=live, weights=weights))
    return edits


def _between(pairs: AnyArray, columns: ConnectionColumns) -> AnyArray:
    """Values (targets, sources) of pairs, shaped so that they broadcast to weights."""
    return pairs.reshape(*pairs.shape, *(1 for _ in columns.inner))


@dataclass(frozen=True)
class _Sharing:
    """Copies of the units of `structure`, and the share of the outgoing weights that each copy gets.

    Attributes:
        structure: the network.
        copies: of its units.
        shares: what each copy gets.
        whole: projections of which it gets all.
        numbers: which copy of its model each is, from 1 up.
        drawn: what it gets of projections instead; see `_drawn`.
    """

    structure: Structure
    copies: Copies
    shares: Sequence[float]
    whole: Collection[str]
    numbers: Sequence[int]
    drawn: Mapping[str, AnyArray]

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
            made = [copy for copy, _ in self.copies.models[layer]]
            if projection.name in self.drawn:
                numbers = [self.numbers[copy] for copy in made]
                pairs = self.drawn[projection.name][numbers, :, self.copies.places(self.structure, layer)].T
                return Block.of(part.with_weight(part.weight * _between(pairs, part)))
            share = np.array([self.shares[copy] for copy in made], np.float32)
            part = part.with_weight(part.weight * part.spread(share, 1, ends))
        return Block.of(part)
