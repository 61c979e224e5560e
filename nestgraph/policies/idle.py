"""Why a policy proposes nothing: the first of what it needs that network or evidence lack, in a sentence."""

from collections.abc import Collection, Iterable

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import asleep_entries
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.record import MAX_TEXT

Lack = tuple[bool, str]
"""Whether something is lacking, and the sentence that says so."""


def idle(*lacks: Lack) -> Batch:
    """The proposal of a policy that finds nothing to do; its title is the first sentence that holds.

    The last must hold where none before it does.
    """
    return Batch(edits=(), title=next(words for holds, words in lacks if holds)[:MAX_TEXT])


def no_projections(found: Collection[str], asked: Iterable[str] | None) -> Lack:
    """That a policy of connections has no projection to work on."""
    among = f" among {', '.join(asked)}" if asked else ""
    return not found, f"no projection{among} has trained connections that a sum adds up"


def none_dormant(structure: Structure, names: Iterable[str]) -> Lack:
    """That there is no connection to wake."""
    return not any(asleep_entries(structure, name).any() for name in names), "no connection is dormant"


def none_ranked(measure: str) -> Lack:
    """That connections are dormant, but none can be ranked."""
    return True, f"no dormant connection has a finite {measure} other than 0"


def none_active(structure: Structure, names: Iterable[str]) -> Lack:
    """That there is no connection to prune."""
    return not any(structure.connection_columns(name).active for name in names), "no connection is active"


def only_last(may_go: Iterable[AnyArray], what: str) -> Lack:
    """That all that is left must stay, as something that keeps its units has no other; `may_go` is bool."""
    needed = "an output unit, or one that an opaque layer reads, needs"
    return not any(np.any(each) for each in may_go), f"{needed} each {what} that is left"


def none_finite(measure: str) -> Lack:
    """That there is something to prune, but none of it can be ranked."""
    return True, f"nothing that may be pruned has a finite {measure}"
