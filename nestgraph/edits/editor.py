"""A network under edit, with its history."""

from collections.abc import Iterable
from copy import copy
from typing import Any, Self

import nestgraph.display as notebook
from nestgraph.edits.choosing import ChosenConnections, ChosenUnits, lit, selected_connections, selected_units
from nestgraph.edits.edit import Applied, Edit, recipe_function
from nestgraph.edits.history import History, Moment
from nestgraph.edits.preview import Preview, preview_of
from nestgraph.edits.selection import ConnectionSelection, UnitSelection
from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.graph.reference import Inputs
from nestgraph.graph.view import Node
from nestgraph.spec.arguments import checked


class Editor:
    """Holds the current network, and what leads back and forth from it."""

    @checked(EditError)
    def __init__(self, network: Network) -> None:
        self._network = network
        self._history = History()

    @property
    def network(self) -> Network:
        """The current network."""
        return self._network

    @property
    def history(self) -> tuple[Edit, ...]:
        """The edits that led from the first network to the current one."""
        return self._history.path

    @property
    def moments(self) -> tuple[Moment, ...]:
        """All networks that `back_to` leads to, the first one first: an edit after an undo drops none."""
        return self._history.moments

    @checked(EditError)
    def apply(self, edit: Edit) -> Applied:
        """Apply an edit to the current network. After an undo this begins a branch: `back_to` leads to the other one.

        Raises:
            EditError: the edit is not legal; the current network stays.
        """
        return self._advance(edit, edit.apply(self.network))

    @checked(EditError)
    def replay(self, edits: Iterable[Edit]) -> Network:
        """Apply many edits in order."""
        for edit in edits:
            self.apply(edit)
        return self.network

    def undo(self) -> Network:
        """Take the last edit back.

        Raises:
            EditError: there is none.
        """
        if self._history.before is None:
            raise EditError("undo expected an applied edit, got an empty history")
        return self._go(self._history.before)

    def redo(self) -> Network:
        """Apply the last undone edit again.

        Raises:
            EditError: there is none.
        """
        if self._history.ahead is None:
            raise EditError("redo expected an undone edit, got none")
        return self._go(self._history.ahead)

    def mark(self) -> Moment:
        """The present moment, to come back to."""
        return self._history.now

    @checked(EditError)
    def back_to(self, moment: Moment) -> Network:
        """Go to a moment on any branch; undo and redo walk on from there.

        Raises:
            EditError: it is none of this editor, or was let go.
        """
        return self._go(moment)

    @checked(EditError)
    def forget(self, before: Moment) -> None:
        """Let go of all moments but one and what came after it, and of the memory that they take.

        Raises:
            EditError: it is none of this editor, or the present moment does not come after it.
        """
        self._history.forget(before)

    def branch(self) -> Self:
        """An editor of its own with the same network and history: what either does, the other does not see."""
        twin = copy(self)
        twin._history = copy(self._history)
        return twin

    @checked(EditError)
    def preview(self, edit: Edit, sample: Inputs | None = None, named: Iterable[Node] = ()) -> Preview:
        """What `edit` would do, without doing it.

        Args:
            edit: any edit.
            sample: inputs on which to compare the outputs before and after.
            named: the units that were asked for, so that `coupled` lists the consequences alone.

        Raises:
            StructureError: the sample does not fit the network, is empty or not finite, or makes outputs that are not.
        """
        return preview_of(self.network, edit, sample, named)

    @recipe_function
    def select(self, chosen: ChosenUnits = None) -> UnitSelection:
        """Units to look at or to edit: `editor.select([("fc1", 3)]).prune()`.

        Args:
            chosen: a layer's name, nodes `(layer, id)` such as networkx gives, ids or booleans by layer, or a
                predicate of a node and its attributes; all units without.

        Raises:
            EditError: a unit is chosen that does not live.
        """
        network = self.network
        return UnitSelection(self, network, lit(selected_units(network, chosen)))

    @recipe_function
    def select_connections(
        self,
        chosen: ChosenConnections = None,
        *,
        source: ChosenUnits = None,
        target: ChosenUnits = None,
        dormant: bool = False,
    ) -> ConnectionSelection:
        """Connections to look at or to edit: `editor.select_connections(target="fc1").smallest(0.1).prune()`.

        Args:
            chosen: a projection's name, edges `(node, node)` such as networkx gives, positions or booleans by
                projection; all without.
            source: only connections that leave these units; see `select`.
            target: only connections that lead to these units.
            dormant: choose among the dormant connections rather than the active ones.

        Raises:
            EditError: an edge is chosen that has no such connection.
        """
        network = self.network
        masks = selected_connections(network, chosen, source, target, dormant)
        return ConnectionSelection(self, network, lit(masks))

    def _repr_mimebundle_(self, **chosen: Any) -> dict[str, str]:  # noqa: ARG002  (notebooks pass include and exclude)
        return notebook.shown(self)

    def _advance(self, edit: Edit, applied: Applied) -> Applied:
        self._history.add(edit, applied.inverse)
        self._network = applied.network
        return applied

    def _go(self, moment: Moment) -> Network:
        for each in self._history.route(moment):
            self._step(each)
        return self._network

    def _step(self, moment: Moment) -> None:
        """Go to a moment right before or after the present one."""
        self._network = self._history.leading_to(moment).apply(self._network).network
        self._history.go(moment)
