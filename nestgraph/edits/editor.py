"""A network under edit, with its history."""

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Any, Self

import nestgraph.display as notebook
from nestgraph.edits.choosing import ChosenConnections, ChosenUnits, lit, selected_connections, selected_units
from nestgraph.edits.edit import Applied, Edit, recipe_function
from nestgraph.edits.history import History, Moment
from nestgraph.edits.joining import mapped_onward, merging_edit, way_over
from nestgraph.edits.preview import Preview, preview_of
from nestgraph.edits.selection import ConnectionSelection, UnitSelection
from nestgraph.errors import EditError
from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.network import Network
from nestgraph.graph.reference import Inputs
from nestgraph.graph.structure import Structure
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
        return self._advance(edit.apply(self.network))

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

    @recipe_function
    def merge(self, branch: "Editor") -> Applied:
        """Do here, as one edit, what a branch did since both parted.

        Units that lose their last path to both sides together go as well.

        Args:
            branch: an editor that `branch` gave, or this one was branched from.

        Raises:
            ConflictError: both sides changed the same thing otherwise; its `conflicts` list the units and reasons.
            EditError: the editors have no moment in common, or one side builds on what the other took away.
        """
        parted, mine, theirs = self._parted(branch)
        return self.apply(merging_edit(parted, self.network, mine, theirs))

    @recipe_function
    def rebase(self, onto: "Editor") -> Network:
        """Do what was done here since a branch parted again, edit by edit, on top of what the branch did.

        The way as it was stays in the history: `mark` before leads back to it.

        Raises:
            EditError: one edit cannot be done there, a conflict say, or the editors have no moment in common; then
                nothing changed.
        """
        was = self.mark()
        parted, mine, theirs = self._parted(onto)
        mapped = list(mapped_onward(mine, way_over(parted, theirs)))
        try:
            self.back_to(self._history.shared(onto._history))
            return self.replay([*theirs, *(edit for edit in mapped if not edit.idle)])
        except EditError:
            self.back_to(was)
            raise

    @recipe_function
    def take_back(self, moment: Moment) -> Applied:
        """Undo the edit that led to a moment, out of order, as a new edit; what came after it stays.

        Raises:
            EditError: a later edit builds on it or changed the same, or it is no moment on the way to the present one.
        """
        self.mark()
        after, step = self._history.since(moment), self._history.step_to(moment)
        here = self._at(moment)
        return self.apply(merging_edit(here, self.network, [each.edit for each in after], [step.inverse]))

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

    def _parted(self, other: "Editor") -> tuple[Structure, list[Edit], list[Edit]]:
        """The network at which another editor parted from this one, and what each did since, training included."""
        for editor in (self, other):
            editor.mark()  # a bench takes in what it trained
        moment = self._history.shared(other._history)
        mine, theirs = (each._history.since(moment) for each in (self, other))
        base = self._at(moment)
        for step in (*mine[:1], *theirs[:1]):
            base = base.replace(units={name: _numbered(base, name, step.fresh[name]) for name in base.layers_by_name})
        return base, [step.edit for step in mine], [step.edit for step in theirs]

    def _at(self, moment: Moment) -> Structure:
        """The network at a moment before now."""
        structure: Structure = self._network
        for step in reversed(self._history.since(moment)):
            structure, _ = step.inverse.change(structure)
        return structure

    def _advance(self, applied: Applied) -> Applied:
        self._history.add(applied)
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


def _numbered(structure: Structure, layer: str, next_id: int) -> UnitColumns:
    """The units of a layer, with the smallest id that none of them ever had: an undo does not lower it again."""
    return replace(structure.unit_columns(layer), next_id=min(next_id, structure.unit_columns(layer).next_id))
