"""A network under edit, with its history."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from nestgraph.edits.edit import Applied, Edit
from nestgraph.errors import EditError, NestgraphError
from nestgraph.graph.cost import Cost, cost
from nestgraph.graph.network import Network
from nestgraph.graph.reference import Inputs, forward
from nestgraph.graph.structure import Structure


@dataclass(frozen=True)
class Preview:
    """What an edit would do.

    Attributes:
        legal: whether it can be applied.
        reason: why not; empty where it can.
        layers: the layers whose units or operations it changes.
        projections: the projections whose connections it changes, adds or removes.
        change: the change in units, connections, parameters and FLOPs.
        output_change: the largest absolute change of an output on the sample; None without one, or where the edit
            changes what the network reads or how many outputs it has.
    """

    legal: bool
    reason: str = ""
    layers: tuple[str, ...] = ()
    projections: tuple[str, ...] = ()
    change: Cost = field(default_factory=Cost)
    output_change: float | None = None


class Editor:
    """Holds the current network, and what leads back and forth from it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._done: list[tuple[Edit, Edit]] = []  # (edit, inverse)
        self._undone: list[Edit] = []

    @property
    def network(self) -> Network:
        """The current network."""
        return self._network

    @property
    def history(self) -> tuple[Edit, ...]:
        """The edits that led from the first network to the current one."""
        return tuple(edit for edit, _ in self._done)

    def apply(self, edit: Edit) -> Applied:
        """Apply an edit to the current network. What was undone before can no longer be redone.

        Raises:
            EditError: the edit is not legal; the current network stays.
        """
        applied = edit.apply(self._network)
        self._undone.clear()
        return self._advance(edit, applied)

    def replay(self, edits: Iterable[Edit]) -> Network:
        """Apply many edits in order."""
        for edit in edits:
            self.apply(edit)
        return self._network

    def undo(self) -> Network:
        """Take the last edit back.

        Raises:
            EditError: there is none.
        """
        if not self._done:
            raise EditError("undo expected an applied edit, got an empty history")
        edit, inverse = self._done[-1]
        self._network = inverse.apply(self._network).network
        self._done.pop()
        self._undone.append(edit)
        return self._network

    def redo(self) -> Network:
        """Apply the last undone edit again.

        Raises:
            EditError: there is none.
        """
        if not self._undone:
            raise EditError("redo expected an undone edit, got none")
        edit = self._undone[-1]
        self._advance(edit, edit.apply(self._network))
        self._undone.pop()
        return self._network

    def preview(self, edit: Edit, sample: Inputs | None = None) -> Preview:
        """What `edit` would do, without doing it; with a sample of inputs, also to the outputs."""
        try:
            after = edit.apply(self._network).network
        except NestgraphError as error:
            return Preview(legal=False, reason=str(error))
        layers, projections = _touched(self._network, after)
        change = cost(after).total - cost(self._network).total
        moved = None if sample is None else _output_change(self._network, after, sample)
        return Preview(True, "", layers, projections, change, moved)

    def _advance(self, edit: Edit, applied: Applied) -> Applied:
        self._done.append((edit, applied.inverse))
        self._network = applied.network
        return applied


def _touched(old: Structure, new: Structure) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the layers and projections whose records or columns are not shared by both versions."""
    layers = [
        name
        for name in sorted(old.layers_by_name.keys() | new.layers_by_name.keys())
        if not (old.has_layer(name) and new.has_layer(name))
        or old.layer(name) != new.layer(name)
        or old.unit_columns(name) is not new.unit_columns(name)
    ]
    projections = [
        name
        for name in sorted(old.projections_by_name.keys() | new.projections_by_name.keys())
        if not (old.has_projection(name) and new.has_projection(name))
        or old.projection(name) != new.projection(name)
        or old.connection_columns(name) is not new.connection_columns(name)
    ]
    return tuple(layers), tuple(projections)


def _output_change(old: Network, new: Network, sample: Inputs) -> float | None:
    before = forward(old, sample)
    if [old.layer(name) for name in old.input_names] != [new.layer(name) for name in new.input_names]:
        return None
    after = forward(new, sample)
    shared = [name for name in new.output_names if name in before and before[name].shape == after[name].shape]
    changes = [float(np.abs(after[name] - before[name]).max(initial=0.0)) for name in shared]
    return max(changes) if changes else None
