"""Tasks by name: those of this package, those registered in this process, those that installed packages offer."""

from typing import Any, NoReturn, Self

from pydantic import ConfigDict, JsonValue, model_validator

from nestgraph.errors import RecipeError, TrainingError
from nestgraph.spec.kinds import Kinds
from nestgraph.tasks.task import Task


class UnknownTask(Task):
    """A task whose code is not at hand: what a recipe says of it, field by field. It can only be read."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    kind: str = ""

    @model_validator(mode="after")
    def _check_goal(self) -> Self:
        return self  # who knows what it measures is not here

    def with_code_of(self, given: Task | None) -> Task:
        """See `Task`: the same with its class, where that is given again."""
        if given is None or given.kind != self.kind:
            return self
        told, whole = self.model_dump(mode="json", exclude_unset=True), given.model_dump(mode="json")
        other = next((name for name, value in told.items() if name not in whole or whole[name] != value), None)
        if other is not None:
            expected = f"it with the options that the run began with, got another {other[:64]!r}"
            raise TrainingError(f"task {self.kind[:64]!r}: expected {expected}: give task= as it was")
        return given

    def _missing(self) -> NoReturn:
        raise RecipeError(TASKS.without_code("task", self.kind))

    def each(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: nothing is known of it but its fields.

        Raises:
            RecipeError: always, as all that follows.
        """
        self._missing()

    def score(self, *_: Any, **__: Any) -> NoReturn:
        """See `each`."""
        self._missing()

    def floor(self, *_: Any, **__: Any) -> NoReturn:
        """See `each`."""
        self._missing()

    def outputs(self, *_: Any, **__: Any) -> NoReturn:
        """See `each`."""
        self._missing()

    def prepared(self, *_: Any, **__: Any) -> NoReturn:
        """See `each`."""
        self._missing()


TASKS = Kinds("task", "tasks", Task, UnknownTask)
