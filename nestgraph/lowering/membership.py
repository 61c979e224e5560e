"""Which group of which optimizer a parameter joins that an edit brought, by the rule that the others follow."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from nestgraph.graph import Network
from nestgraph.lowering.parameters import Key, Lowered, parameters_of

Place = tuple[int, int] | None
"""Number of the optimizer and of its group; None for what no optimizer has."""


@dataclass(frozen=True)
class Traits:
    """What rules of groups look at."""

    column: str
    rank: int
    layer: str


RULES: tuple[Callable[[Traits], Hashable], ...] = (lambda of: of.rank, lambda of: of.column, lambda of: of.layer)
"""How people group parameters: vectors apart (no weight decay, or an optimizer for matrices), by column, by layer."""


def homes(before: Lowered, after: Lowered, places: Mapping[int, Place]) -> Mapping[Key, Place]:
    """Where each parameter of the module after an edit belongs.

    What was there before stays where it was, in no optimizer too. What is new goes where the first of `RULES` says
    that explains all the places before and knows it. Without one it joins what it is most like: of the same rank, of
    its layer or of one that is linked to it, of the same column.

    Args:
        before: the network and its module before the edit.
        after: the network and its module after the edit.
        places: of the parameters before, by identity.
    """
    old, new = parameters_of(*before), parameters_of(*after)
    members = [(traits_of(before[0], key, p), places.get(id(p))) for key, p in old.items()]
    return {
        key: places.get(id(old[key])) if key in old else home_of(after[0], traits_of(after[0], key, p), members)
        for key, p in new.items()
    }


def traits_of(network: Network, key: Key, parameter: nn.Parameter) -> Traits:
    """The traits of a parameter; weights have the axes of their column, in whatever form a module holds them."""
    owner, column = key
    if column == "weight":
        return Traits(column, network.connection_columns(owner).weight.ndim, network.projection(owner).target)
    return Traits(column, parameter.ndim, owner)


def home_of(network: Network, traits: Traits, members: Sequence[tuple[Traits, Place]]) -> Place:
    """Where a parameter that is new belongs, by where the others are."""
    for rule in RULES:
        found: dict[Hashable, set[Place]] = {}
        for other, place in members:
            found.setdefault(rule(other), set()).add(place)
        if rule(traits) in found and all(len(told) == 1 for told in found.values()):
            return found[rule(traits)].pop()
    linked = {p.target for p in network.outgoing(traits.layer)} | {p.source for p in network.incoming(traits.layer)}

    def likeness(member: tuple[Traits, Place]) -> tuple[bool, int, bool]:
        other = member[0]
        near = 2 * (other.layer == traits.layer) or int(other.layer in linked)
        return other.rank == traits.rank, near, other.column == traits.column

    return max(members, key=likeness)[1] if members else None
