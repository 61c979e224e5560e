"""The history of a network under edit: a tree of moments, in which an edit after an undo begins a branch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nestgraph.edits.edit import Applied, Edit
from nestgraph.errors import EditError


@dataclass(frozen=True, eq=False)
class Moment:
    """A network on the way of an editor, to come back to.

    Attributes:
        words: what the edit did that led to it; empty for the first.
    """

    words: str = ""


@dataclass(frozen=True)
class Step:
    """What leads from one moment to the next, and back.

    Attributes:
        before: the moment before.
        edit: leads on from it.
        inverse: leads back to it.
        fresh: by layer, the smallest id that no unit had at the moment before: an undo does not lower it again.
    """

    before: Moment
    edit: Edit
    inverse: Edit
    fresh: Mapping[str, int]


class History:
    """Which moments there are, what leads from one to another, and which of them is now.

    Attributes:
        first: where all began, or what is left of it.
        now: the present moment.
    """

    def __init__(self) -> None:
        self.first = self.now = Moment()
        self._steps: dict[Moment, Step] = {}
        self._ahead: dict[Moment, Moment] = {}

    def __copy__(self) -> "History":
        twin = History()
        twin.first, twin.now = self.first, self.now
        twin._steps, twin._ahead = dict(self._steps), dict(self._ahead)
        return twin

    @property
    def moments(self) -> tuple[Moment, ...]:
        """All that there are, in the order in which they were reached first."""
        return (self.first, *self._steps)

    @property
    def path(self) -> tuple[Edit, ...]:
        """The edits that lead from the first moment to now."""
        return tuple(reversed([self._steps[moment].edit for moment in self._back(self.now) if moment != self.first]))

    @property
    def before(self) -> Moment | None:
        """The moment before now; None at the first."""
        return self._steps[self.now].before if self.now in self._steps else None

    @property
    def ahead(self) -> Moment | None:
        """The moment after now that was left last; None where there is none."""
        return self._ahead.get(self.now)

    def add(self, applied: Applied) -> Moment:
        """An edit led from now to a new moment, which is now from here on."""
        moment, before = Moment(applied.edit.words), applied.before
        fresh = {name: before.unit_columns(name).next_id for name in before.layers_by_name}
        self._steps[moment] = Step(self.now, applied.edit, applied.inverse, fresh)
        self._ahead[self.now] = moment
        self.now = moment
        return moment

    def check(self, moment: Moment) -> None:
        """Refuse a moment that `way` does not lead to.

        Raises:
            EditError: there is no such moment.
        """
        if moment != self.first and moment not in self._steps:
            raise EditError(
                f"expected a moment of this editor, got {moment.words!r} of another, or one that was let go: mark() "
                "gives the present one"
            )

    def route(self, moment: Moment) -> tuple[Moment, ...]:
        """The moments that lead from now to one, which is the last: back to where both parted, and on from there.

        Raises:
            EditError: there is no such moment.
        """
        self.check(moment)
        behind, on = {each: place for place, each in enumerate(self._back(self.now))}, list[Moment]()
        while moment not in behind:
            on.append(moment)
            moment = self._steps[moment].before
        return (*list(behind)[1 : behind[moment] + 1], *reversed(on))

    def leading_to(self, moment: Moment) -> Edit:
        """The edit that leads to the moment before now, or to one right after it."""
        return self._steps[self.now].inverse if moment is self.before else self._steps[moment].edit

    def go(self, moment: Moment) -> None:
        """The moment before now, or one right after it, is now; redo leads back, or on here again."""
        earlier, later = (moment, self.now) if moment is self.before else (self.now, moment)
        self._ahead[earlier] = later
        self.now = moment

    def shared(self, other: "History") -> Moment:
        """The last moment on the way to now that lies on the other history's way to its now, too.

        Raises:
            EditError: there is none.
        """
        there = set(other._back(other.now))
        for moment in self._back(self.now):
            if moment in there:
                return moment
        raise EditError("expected an editor with a moment in common, got one of another network: branch() gives one")

    def step_to(self, moment: Moment) -> Step:
        """What led to a moment.

        Raises:
            EditError: nothing did: it is the first, or of another editor.
        """
        self.check(moment)
        if moment not in self._steps:
            raise EditError("expected a moment that an edit led to, got the first one, to which none did")
        return self._steps[moment]

    def since(self, moment: Moment) -> tuple[Step, ...]:
        """The steps that led from a moment to now.

        Raises:
            EditError: now does not come after it.
        """
        steps = list[Step]()
        for each in self._back(self.now):
            if each is moment:
                return tuple(reversed(steps))
            if each in self._steps:
                steps.append(self._steps[each])
        raise EditError("expected a moment on the way to the present one, got one of another branch")

    def forget(self, moment: Moment) -> None:
        """Let go of all but a moment and what came after it.

        Raises:
            EditError: there is no such moment, or now does not come after it.
        """
        self.check(moment)
        if moment not in self._back(self.now):
            raise EditError("forget expected a moment on the way to the present one, got one of another branch")
        kept = {moment}
        for each, step in self._steps.items():  # each comes after the one before it
            if step.before in kept:
                kept.add(each)
        self.first = moment
        self._steps = {each: step for each, step in self._steps.items() if each in kept and each != moment}
        self._ahead = {each: after for each, after in self._ahead.items() if each in kept}

    def _back(self, moment: Moment) -> Iterator[Moment]:
        """A moment and all before it."""
        yield moment
        while moment in self._steps:
            moment = self._steps[moment].before
            yield moment
