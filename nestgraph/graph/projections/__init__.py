"""What each kind of projection means: a room each, found by the class of the record."""

from typing import Any

from nestgraph.graph.projections.argument import ArgumentMeaning
from nestgraph.graph.projections.conv import ConvMeaning
from nestgraph.graph.projections.dense import DenseMeaning
from nestgraph.graph.projections.lookup import LookupMeaning
from nestgraph.graph.projections.match import MatchMeaning
from nestgraph.graph.projections.meaning import Meaning
from nestgraph.graph.projections.mix import MixMeaning
from nestgraph.graph.projections.one_to_one import OneToOneMeaning
from nestgraph.graph.structure import Structure
from nestgraph.spec.projection import PROJECTIONS, Argument, Conv, Dense, Lookup, Match, Mix, OneToOne, Projection

MEANINGS: dict[type[Projection], type[Meaning[Any, Any]]] = {
    Dense: DenseMeaning,
    Conv: ConvMeaning,
    Lookup: LookupMeaning,
    OneToOne: OneToOneMeaning,
    Argument: ArgumentMeaning,
    Match: MatchMeaning,
    Mix: MixMeaning,
}


def register(record: type[Projection], meaning: type[Meaning[Any, Any]]) -> None:
    """Let a kind of projections be used by the tag of its record, as those of this package are.

    How it is lowered is said in `lowering.emitters.PROJECTIONS` and `lowering.compact_emitters.TERMS`.

    Raises:
        StructureError: the tag is another record's.
    """
    PROJECTIONS.add(record)
    MEANINGS[record] = meaning


def meaning_of(structure: Structure, projection: Projection) -> Meaning[Any, Any]:
    """What a projection means where it stands."""
    return MEANINGS[type(projection)](structure, projection)


__all__ = ["MEANINGS", "Meaning", "meaning_of", "register"]
