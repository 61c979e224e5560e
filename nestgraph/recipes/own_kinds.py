"""Policies and tasks that are not of this package, in recipes: found by their kind, or kept as records of fields."""

from collections.abc import Iterable
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from nestgraph.errors import RecipeError
from nestgraph.policies import Policy
from nestgraph.policies.registry import POLICIES, UnknownPolicy
from nestgraph.spec.kinds import SHOWN, UNNAMED, Kinds
from nestgraph.spec.open_kinds import Recorded
from nestgraph.spec.record import as_text
from nestgraph.tasks.registry import TASKS
from nestgraph.tasks.several import Several
from nestgraph.tasks.task import Task

SECTIONS = ("growth", "pruning")
"""The sections of a recipe that have policies."""

OwnClass = TypeVar("OwnClass", bound=type[Policy] | type[Task])


def register(of: OwnClass) -> OwnClass:
    """Let recipes name a policy or a task of your own by its `kind`, in this process; a decorator of its class.

    A class that is defined again, as in a notebook, takes the place of the one before.

    Raises:
        RecipeError: it is no class of a policy or a task with a field `kind`, or its kind is one of this package or of
            another class.
    """
    kinds: Kinds[Any] = TASKS if isinstance(of, type) and issubclass(of, Task) else POLICIES  # pyright: ignore[reportUnnecessaryIsInstance]
    kinds.register(of)
    return of


def policies_of(recipe: BaseModel) -> dict[str, Policy]:
    """The policies of a recipe by their place."""
    sections = {name: getattr(recipe, name) for name in SECTIONS}
    return {
        f"{name}.policies[{number}]": policy
        for name, section in sections.items()
        for number, policy in enumerate(section.policies if section else ())
    }


def tasks_of(recipe: Any) -> dict[str, Task]:
    """The task of a recipe, or those of its outputs, by their place."""
    task: Task = recipe.task
    return (
        {f"task.tasks.{name}": each for name, each in task.tasks.items()}
        if isinstance(task, Several)
        else {"task": task}
    )


def classes_of(recipe: BaseModel) -> list[type[Policy]]:
    """The classes of a recipe's own policies, whose code is known."""
    return [type(policy) for policy in policies_of(recipe).values() if not isinstance(policy, UnknownPolicy)]


def packages_of(recipe: BaseModel) -> dict[str, Any]:
    """What environment.json says of the packages that policies and tasks of a recipe are of: where there are some."""
    own = {
        "policies": POLICIES.packages_of(policies_of(recipe).values()),
        "tasks": TASKS.packages_of(tasks_of(recipe).values()),
    }
    return {name: packages for name, packages in own.items() if packages}


def refuse_unknown(recipe: BaseModel, facts: Any = None) -> None:
    """Refuse a recipe that cannot be run, as the code of a policy or task is missing or some of it is refused.

    Args:
        recipe: to run.
        facts: what environment.json says, see `packages_of`.

    Raises:
        RecipeError: it cannot; the message names the place, and the kind or what is refused.
    """
    if left_aside := getattr(recipe, "left_aside", ""):
        expected = "recipe: expected one that this version runs, got one of another with what is refused now"
        raise RecipeError(f"{expected}: {left_aside}: write it without that and synthesize a run of its own")
    places: tuple[tuple[Kinds[Any], dict[str, Any]], ...] = ((POLICIES, policies_of(recipe)), (TASKS, tasks_of(recipe)))
    for kinds, own in places:
        for place, each in own.items():
            if isinstance(each, kinds.unknown):
                kind = str(getattr(each, "kind", ""))
                raise RecipeError(kinds.without_code(place, kind, _package(facts, kinds.many, kind)))


def _package(facts: Any, many: str, kind: str) -> str:
    """What a file says that a policy or task is of, in words."""
    packages = cast("dict[str, Any]", facts).get(many) if isinstance(facts, dict) else None
    told = cast("dict[str, Any]", packages).get(kind) if isinstance(packages, dict) else None
    named = cast("dict[str, Any]", told).values() if isinstance(told, dict) else ()
    return as_text(" ".join(str(each)[:SHOWN] for each in named)) or UNNAMED


def recorded(classes: Iterable[type[Policy]]) -> Recorded:
    """How a recorded recipe is read where some classes are given.

    Raises:
        RecipeError: one is no class of a policy.
    """
    return Recorded({POLICIES.kind_of(each): each for each in cast("Iterable[Any]", classes)})
