"""What the policies of a step propose together, and what is said of those that propose nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.policies import Evidence, Policy
from nestgraph.snapshot import Proposal
from nestgraph.spec.record import as_text

UNTOLD = "it gave no reason"
"""Of a policy that proposes nothing without a title."""


@dataclass(frozen=True)
class Asked:
    """A policy, the scale that it was asked for, and what it proposed; the title of an empty edit is the reason."""

    policy: Policy
    scale: float
    edit: Batch

    def proposal(self, step: int) -> Proposal | None:
        """What the journal says of it where it proposed nothing; `step` is the row of the metrics that comes next."""
        if self.edit.edits:
            return None
        kind = as_text(str(getattr(self.policy, "kind", type(self.policy).__name__)))
        return Proposal(policy=kind, step=step, scale=self.scale, reason=self.edit.title or UNTOLD)


def ask(
    policies: Iterable[tuple[Policy, float]],
    network: Network,
    measured: Callable[[Network, Policy], Evidence],
    rng: np.random.Generator,
) -> list[Asked]:
    """What policies would do in turn, each with its scale and on the result of the one before."""
    asked: list[Asked] = []
    for policy, scale in policies:
        try:
            edit = policy.propose(network, measured(network, policy), rng, scale)
            network = edit.apply(network).network
        except EditError as error:  # it would cut an output off, say: the others may still find something
            edit = Batch(edits=(), title=as_text(str(error)))
        asked.append(Asked(policy, scale, edit))
    return asked


def together(asked: Iterable[Asked]) -> Batch:
    """What was proposed, as one edit; its title is for people."""
    found = tuple(one.edit for one in asked if one.edit.edits)
    return Batch(edits=found, title=", ".join(edit.words for edit in found)[:256] or "nothing to do")
