"""What the policies of a step propose, in turn or side by side, as the journal has it."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.edit import Edit
from nestgraph.edits.joining import Joined
from nestgraph.edits.three_ways import Conflict
from nestgraph.errors import ConflictError, EditError
from nestgraph.graph.network import Network
from nestgraph.parallel.ranks import ALONE, Ranks
from nestgraph.policies import Evidence, EvidenceKind, Policy
from nestgraph.recipes.proposing import Proposals
from nestgraph.snapshot import Proposal
from nestgraph.snapshot.compact import Budget
from nestgraph.spec.record import as_text

UNTOLD = "it gave no reason"
"""Of a policy that proposes nothing without a title."""
DONE = "those of others do all of it"
TOGETHER = "remove what they leave without a path together"

Scaled = Sequence[tuple[Policy, float]]
"""Policies, each with the scale of its step."""
Measured = Callable[[Network, Collection[EvidenceKind]], Evidence]
"""Measures kinds of evidence on a network."""
Asked = Callable[[Scaled, Network, Measured, int, Ranks], tuple[Proposal, ...]]


def in_turn(
    policies: Scaled, network: Network, measured: Measured, seed: int, ranks: Ranks = ALONE
) -> tuple[Proposal, ...]:
    """What policies would do in turn, each on the result of the one before.

    The first process asks them; the others hear what it proposes. All measure.
    """
    asked, rng = list[Proposal](), np.random.default_rng(seed)
    for policy, scale in policies:
        one, network = _proposal(policy, scale, network, measured(network, policy.needs), rng, ranks)
        asked.append(one)
    return tuple(asked)


def side_by_side(
    policies: Scaled, network: Network, measured: Measured, seed: int, ranks: Ranks = ALONE
) -> tuple[Proposal, ...]:
    """What policies would do to one network, as far as it goes together, and what goes since all of that is done.

    They are told in an order of their own, so that whatever the order of the policies there is one result. That order
    says which of two proposals is left out where they do not go together: the later one.
    """
    needs = sorted({kind for policy, _ in policies for kind in policy.needs})
    evidence = measured(network, needs)  # type: ignore[arg-type]
    asked = [_proposal(*one, network, evidence, np.random.default_rng(seed), ranks)[0] for one in policies]
    order = sorted(range(len(asked)), key=lambda place: (*_name(*policies[place]), place))
    found = [place for place, one in enumerate(asked) if not one.idle]
    if len(found) < 2:
        return tuple(asked[place] for place in order)
    joined = _joined(network, asked, found)
    out = {found[n]: _why(network, [asked[place] for place in found], n, e) for n, e in joined.left_out.items()}
    kept = [place for place in order if place in found and place not in out]
    again = _joined(network, asked, kept)
    if again.left_out:  # it depends on the order whether they go together
        order, kept, again = list(range(len(asked))), found, joined
    parts = dict(zip(kept, again.parts, strict=True))
    asked = [_left(one, out[n]) if n in out else _part(one, parts.get(n, one.edit)) for n, one in enumerate(asked)]
    rest = Proposal(policy="", scale=1.0, edit=again.rest.model_copy(update={"title": TOGETHER}))
    return (*(asked[place] for place in order), *(() if rest.idle else (rest,)))


def _joined(network: Network, asked: Sequence[Proposal], places: Sequence[int]) -> Joined:
    return Joined.of(network, [asked[place].edit for place in places])


ASKED: Mapping[Proposals, Asked] = {"in_turn": in_turn, "side_by_side": side_by_side}


def _proposal(
    policy: Policy, scale: float, network: Network, evidence: Evidence, rng: np.random.Generator, ranks: Ranks
) -> tuple[Proposal, Network]:
    """What a policy would do to a network, and the network after that."""
    own = list[tuple[Proposal, Network]]()

    def told() -> str:
        own.append(_asked(policy, scale, network, evidence, rng))
        return own[0][0].model_dump_json() if ranks.several else ""

    text = ranks.led(told)
    if own:
        return own[0]
    one = Proposal.model_validate_json(text, context=Budget(sys.maxsize))
    return one, network if one.idle else one.edit.apply(network).network


def _asked(
    policy: Policy, scale: float, network: Network, evidence: Evidence, rng: np.random.Generator
) -> tuple[Proposal, Network]:
    try:
        edit = policy.propose(network, evidence, rng, scale)
        network = edit.apply(network).network
    except EditError as error:  # it would cut an output off, say: the others may still find something
        edit = Batch(edits=(), title=as_text(str(error)))
    if not edit.edits and not edit.title:
        edit = Batch(edits=(), title=UNTOLD)
    kind = as_text(str(getattr(policy, "kind", type(policy).__name__)))
    return Proposal(policy=kind, scale=scale, edit=edit), network


def _name(policy: Policy, scale: float) -> tuple[str, str, float]:
    """What tells a policy of a recipe from all that do something else."""
    return type(policy).__name__, policy.model_dump_json(), scale


def _part(one: Proposal, part: Edit) -> Proposal:
    """What is left of a proposal to do after those before it."""
    if one.idle or part is one.edit:
        return one
    return _left(one, DONE) if not isinstance(part, Batch) or part.idle else one.model_copy(update={"edit": part})


def _left(one: Proposal, why: str) -> Proposal:
    """A proposal of which nothing is done."""
    return one.model_copy(update={"edit": one.edit.model_copy(update={"edits": ()}), "left_out": as_text(why)})


def _why(network: Network, asked: Sequence[Proposal], place: int, error: EditError) -> str:
    """Why a proposal is left out: what it and the first one that it does not go with make of the same thing."""
    edit = asked[place].edit
    against = (one for one in asked[:place] if Joined.of(network, [one.edit, edit]).left_out)
    other = next((f"the {one.policy} before it" for one in against), "those before it")
    if isinstance(error, ConflictError) and isinstance(first := error.conflicts[0], Conflict):
        more = f"; and {len(error.conflicts) - 1} more" if error.conflicts[1:] else ""
        return f"{first.told(asked[place].policy, other)}{more}"
    return f"beside {other}: {error}"
