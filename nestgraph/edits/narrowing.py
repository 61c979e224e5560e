"""Make layers narrower by a share of their units, whole strands at a time: the way back from widening."""

from collections.abc import Collection, Iterator, Sequence
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.operations import normalisation_factor
from nestgraph.edits.pruning import followed
from nestgraph.edits.strands import Strands
from nestgraph.edits.units import RemoveUnits
from nestgraph.errors import EditError
from nestgraph.graph.groups import block_groups
from nestgraph.graph.pinning import why_pinned
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


@recipe_function
def narrow(structure: Structure, fraction: float, layers: Collection[str] | None = None) -> Batch:
    """Remove a share of the units of each layer, the weakest first, in one batch.

    Units that one-to-one links couple (see `coupled`) go together, as a strand. Strands that lie in the same layers,
    and in the same groups of grouped convolutions, are a family, and from each family the same share goes, so that
    groups stay equal. A unit's strength is the norm of its effective weights over the mean of its layer, a strand's
    the sum over its units. Inputs and outputs stay, and what is coupled to an output or frozen by an opaque layer.

    Args:
        structure: the network.
        fraction: of each family, rounded to whole strands; one always stays.
        layers: only families that lie in at least one of these; all where not given.

    Raises:
        EditError: the fraction is not between 0 and 1, or one above 0 takes no unit of any layer, or of a named one.
        StructureError: a layer is not there.
    """
    if not 0 <= fraction < 1:
        raise EditError(f"narrow expected a fraction of at least 0 and below 1, got {fraction}")
    for name in layers or ():
        structure.layer(name)
    strands = Strands.of(structure)
    strength, doomed = _strengths(structure, strands), set[int]()
    for names, family in _families(structure, strands).items():
        if layers is None or any(name in layers for name, _ in names):
            weakest = sorted(family, key=lambda strand: (strength[strand], strand))
            doomed.update(weakest[: min(round(fraction * len(family)), len(family) - 1)])
    gone = np.isin(strands.labels, sorted(doomed))
    if fraction:
        bare = [name for name, place in strands.places.items() if not gone[place].any()]
        stuck = bare if layers is None else [name for name in layers if name in bare or name not in strands.places]
        if stuck and (layers is not None or len(stuck) == len(strands.places)):
            _refuse(structure, strands, fraction, stuck)
    edits = [
        RemoveUnits(layer=name, units=structure.units(name)[gone[place]])
        for name, place in strands.places.items()
        if gone[place].any()
    ]
    removed = sum(len(edit.units) for edit in edits)
    return followed(structure, edits, f"narrow by {fraction:.0%}: remove {removed} units")


def _refuse(structure: Structure, strands: Strands, fraction: float, layers: Sequence[str]) -> NoReturn:
    """Say why none of the units of layers can go."""
    reasons = "; ".join(_obstacle(structure, strands, fraction, name) for name in layers[:4])
    more = f" and {len(layers) - 4} more" if len(layers) > 4 else ""
    raise EditError(
        f"narrow expected layers that can lose a unit, got {reasons}{more}: name others, or a larger fraction"
    )


def _obstacle(structure: Structure, strands: Strands, fraction: float, layer: str) -> str:
    if layer not in strands.places:
        return f"{layer!r}, which is one of {'inputs' if structure.layer(layer).kind == 'input' else 'outputs'}"
    kept, reason = strands.kept[strands.places[layer]], why_pinned(structure, layer)
    if kept.all():
        return reason or f"{layer!r}, which one-to-one links couple to an output or to what an opaque layer freezes"
    return f"{layer!r}, of whose families of up to {np.count_nonzero(~kept)} strands {fraction:.3g} is less than one"


Site = tuple[str, tuple[int, ...]]
"""A layer, and the groups of grouped convolutions that a unit of it is in."""


def _strengths(structure: Structure, strands: Strands) -> AnyArray:
    """float64 (units,): by the number of a strand its strength."""
    total = np.zeros(len(strands.labels))
    for name, place in strands.places.items():
        norms = np.sqrt(sum(_squares(structure, name), np.zeros(place.stop - place.start)))
        norms *= np.abs(normalisation_factor(structure, name))
        np.add.at(total, strands.labels[place], norms / max(norms.mean(), np.finfo(float).tiny))
    return total


def _families(structure: Structure, strands: Strands) -> dict[tuple[Site, ...], list[int]]:
    """The strands that may go, by the layers and groups that they lie in."""
    where: dict[int, list[Site]] = {}
    for name, place in strands.places.items():
        groups = _groups(structure, name)
        for position in np.flatnonzero(~strands.kept[place]).tolist():
            label = int(strands.labels[place.start + position])
            where.setdefault(label, []).append((name, groups[position]))
    families: dict[tuple[Site, ...], list[int]] = {}
    for label, lies in where.items():
        families.setdefault(tuple(lies), []).append(label)
    return families


def _squares(structure: Structure, layer: str) -> Iterator[AnyArray]:
    """By incoming trained projection, the sum of the squares of each unit's weights."""
    for projection in structure.incoming(layer):
        if projection.learns:
            columns, ends = structure.wired(projection.name)
            yield columns.total(np.square(columns.weight, dtype=np.float64), 0, ends)


def _groups(structure: Structure, layer: str) -> list[tuple[int, ...]]:
    """For each unit the groups that it is in, of the grouped convolutions into the layer and out of it."""
    count = len(structure.unit_columns(layer))
    sides = (*structure.incoming(layer), *structure.outgoing(layer))
    found = [block_groups(structure.connection_columns(p.name).edges) for p in sides if p.grouped]
    return [tuple(position * groups // count for groups in found if groups > 1) for position in range(count)]
