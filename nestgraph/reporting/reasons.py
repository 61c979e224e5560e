"""Why units came and went, and what connections were chosen by: from the reasons in the journal and the edits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nestgraph.edits.batch import Batch, Reason
from nestgraph.edits.connections import SetMask
from nestgraph.edits.layers import AddLayer, RemoveLayer
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.graph.structure import Structure
from nestgraph.policies.pruning import LAMP, WEIGHT, effective_weight
from nestgraph.reporting.moments import Moment, Part


@dataclass
class Life:
    """When a unit came and went, by moments, and why; `died` is None while it lives."""

    born: int
    why: str
    died: int | None = None
    cause: str = ""


@dataclass
class Reasons:
    """Collects over a run what each unit's card says.

    Attributes:
        lives: by layer and id.
    """

    lives: dict[str, dict[int, Life]] = field(default_factory=dict[str, dict[int, Life]])

    def follow(self, moment: Moment) -> list[dict[str, Any]]:
        """Take in the next moment; returns its thresholds, one for each projection that an edit pruned or grew."""
        if not moment.number:
            for layer in moment.network.layer_names:
                self.lives[layer] = {unit: Life(0, "part of the seed") for unit in moment.network.units(layer).tolist()}
            return []
        thresholds: list[dict[str, Any]] = []
        for part in moment.parts:
            if isinstance(part.edit, SetMask):
                thresholds += _thresholds(part, part.edit)
            self._births(part, moment.number)
            self._deaths(part, moment.number)
        return thresholds

    def _births(self, part: Part, number: int) -> None:
        edit = part.edit
        if isinstance(edit, AddLayer):
            self.lives[edit.layer.name] = {int(unit): Life(number, part.proposal.title) for unit in edit.ids}
        elif isinstance(edit, AddUnits):
            reads, feeds = _born_with(part.before, edit)
            words = f"{part.proposal.title}: born with {_connections(reads)} in and {_connections(feeds)} out"
            reasons = _words(part.proposal, edit.layer, "the next best {}")
            for unit in edit.ids.tolist():
                self.lives[edit.layer][unit] = Life(number, words + reasons.get(unit, ""))

    def _deaths(self, part: Part, number: int) -> None:
        edit = part.edit
        if isinstance(edit, RemoveLayer):
            for life in self.lives[edit.layer].values():
                if life.died is None:
                    life.died, life.cause = number, part.proposal.title
        elif isinstance(edit, RemoveUnits):
            reads, feeds = part.before.fans(edit.layer)
            reasons = _words(part.proposal, edit.layer, "below the threshold of {}")
            for unit in edit.units.tolist():
                place = part.before.unit_columns(edit.layer).position[unit]
                life = self.lives[edit.layer][unit]
                is_input = part.before.layer(edit.layer).kind == "input"
                words = f"{part.proposal.title}: {_end(int(reads[place]), int(feeds[place]), is_input)}"
                life.died, life.cause = number, words + reasons.get(unit, "")


def _thresholds(part: Part, edit: SetMask) -> Iterator[dict[str, Any]]:
    """What the last of the connections that an edit woke, and of those that it pruned, was chosen by."""
    columns = part.before.connection_columns(edit.projection)
    mask = columns.mask.reshape(-1)
    woken, gone = edit.entries[edit.active & ~mask[edit.entries]], edit.entries[~edit.active & mask[edit.entries]]
    by = [reason for reason in part.proposal.reasons if reason.place == edit.projection and reason.unit is None]
    facts = {"projection": edit.projection, "edit": part.proposal.title}
    if len(woken):
        yield facts | {"woken": len(woken)} | _measured(by[:1])
    if len(gone):
        size = np.abs(effective_weight(part.before, edit.projection)).reshape(-1)
        rest = mask.copy()
        rest[gone] = False
        sizes = {"largest": float(size[gone].max()), "kept": float(size[rest].min()) if rest.any() else None}
        last = _measured(by[-1:])
        yield facts | {"pruned": len(gone)} | sizes | last | {"magnitude": last["measure"] in (WEIGHT, LAMP)}


def _measured(reasons: Sequence[Reason]) -> dict[str, Any]:
    """What connections were chosen by; nothing is known of edits that no policy made."""
    return {"measure": reasons[0].measure, "value": reasons[0].value} if reasons else {"measure": None, "value": None}


def _words(proposal: Batch, layer: str, bound: str) -> dict[int, str]:
    """By unit of a layer, what a proposal chose it by; `bound` has a place for the number that it was held against."""
    found: dict[int, str] = {}
    for reason in proposal.reasons:
        if reason.place == layer and reason.unit is not None:
            held = "" if reason.bound is None else f", {bound.format(f'{reason.bound:.3g}')}"
            found[reason.unit] = f"; {reason.measure}: {reason.value:.3g}{held}"
    return found


def _born_with(structure: Structure, edit: AddUnits) -> tuple[int, int]:
    """Connections that new units read and feed, all together."""
    into = {projection.name for projection in structure.incoming(edit.layer)}
    counts = {name: int(np.count_nonzero(block.mask)) for name, block in edit.blocks.items()}
    reads = sum(count for name, count in counts.items() if name in into)
    return reads, sum(counts.values()) - reads


def _end(reads: int, feeds: int, is_input: bool) -> str:
    if is_input or not feeds:
        return "nothing read it any more" if is_input or reads else "no connection was left"
    return f"it read nothing any more, {_connections(feeds)} out fell with it" if not reads else _whole(reads, feeds)


def _whole(reads: int, feeds: int) -> str:
    return f"removed as a whole, with {_connections(reads)} in and {_connections(feeds)} out"


def _connections(count: int) -> str:
    return f"{count:,} connection{'' if count == 1 else 's'}"
