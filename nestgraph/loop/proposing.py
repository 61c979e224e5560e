"""What the policies of a step propose in turn, as the journal has it."""

from collections.abc import Callable, Iterable

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.policies import Evidence, Policy
from nestgraph.snapshot import Proposal
from nestgraph.spec.record import as_text

UNTOLD = "it gave no reason"
"""Of a policy that proposes nothing without a title."""


def ask(
    policies: Iterable[tuple[Policy, float]],
    network: Network,
    measured: Callable[[Network, Policy], Evidence],
    rng: np.random.Generator,
) -> tuple[Proposal, ...]:
    """What policies would do in turn, each with its scale and on the result of the one before."""
    asked: list[Proposal] = []
    for policy, scale in policies:
        try:
            edit = policy.propose(network, measured(network, policy), rng, scale)
            network = edit.apply(network).network
        except EditError as error:  # it would cut an output off, say: the others may still find something
            edit = Batch(edits=(), title=as_text(str(error)))
        if not edit.edits and not edit.title:
            edit = Batch(edits=(), title=UNTOLD)
        kind = as_text(str(getattr(policy, "kind", type(policy).__name__)))
        asked.append(Proposal(policy=kind, scale=scale, edit=edit))
    return tuple(asked)
