"""Policies that are not of this package, in recipes: found by their kind, or kept as records of their fields."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, NoReturn, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, JsonValue, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from nestgraph.errors import RecipeError
from nestgraph.policies import Policy
from nestgraph.policies.evidence import EvidenceKind
from nestgraph.policies.registry import builtin, find, kind_of, members, offered
from nestgraph.spec.record import as_text

SECTIONS = ("growth", "pruning")
"""The sections of a recipe that have policies."""


SHOWN = 64
"""Characters of a kind or a package in messages."""

UNNAMED = "the package that offers it"


class UnknownPolicy(Policy):
    """A policy whose code is not at hand: what a recipe says of it, field by field. It cannot propose anything."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    needs: ClassVar[frozenset[EvidenceKind]] = frozenset()
    kind: str

    def propose(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: nothing is known of it but its fields.

        Raises:
            RecipeError: always.
        """
        raise RecipeError(without_code("policy", self.kind))


@dataclass(frozen=True)
class Recorded:
    """How the recipe of a run is read: what is not known is kept as a record, so that nothing has to be installed.

    Attributes:
        classes: by kind, those that are given.
        refused: the JSON of policies that stay records of their fields, as their classes refuse them now.
    """

    classes: Mapping[str, type[Policy]] = field(default_factory=dict[str, type[Policy]])
    refused: list[Any] = field(default_factory=list[Any])


class Own:
    """Marks a union of policies, which it is told, as open: kinds of others are found in the registry."""

    def __init__(self, union: Any) -> None:
        self._union = union

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        here = frozenset(kind_of(each) for each in members(self._union))

        def read(value: Any, within: Callable[[Any], Any], info: core_schema.ValidationInfo) -> Any:
            try:
                found = _own(value, info.context, here)
            except RecipeError as error:
                raise ValueError(str(error)) from None
            if found is None:
                return _of_json(self._union, value) if info.mode == "json" else within(value)
            return found if isinstance(found, Policy) else _of_json(found, value)

        def written(value: Any, within: Callable[[Any], Any], info: core_schema.SerializationInfo) -> Any:
            own = isinstance(value, Policy) and getattr(value, "kind", None) not in here
            return value.model_dump(mode=info.mode, warnings=False) if own else within(value)

        inner = handler(source)
        writing = core_schema.wrap_serializer_function_ser_schema(written, info_arg=True, schema=inner)
        return core_schema.with_info_wrap_validator_function(read, inner, serialization=writing)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core)
        own = [handler(policy.__pydantic_core_schema__) for policy in offered()]
        return {**schema, "oneOf": [*schema["oneOf"], *own]} if own else schema


def _own(value: Any, context: Any, here: frozenset[str]) -> Policy | type[Policy] | None:
    """A policy that is not of this package, or its class; None for what is, or is none. `here` are the section's kinds.

    Raises:
        RecipeError: there is no such kind, or it cannot be had.
    """
    read = context if isinstance(context, Recorded) else None
    if read and value in read.refused:
        return UnknownPolicy
    kind = cast("dict[str, Any]", value).get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    if not isinstance(kind, str) or kind in builtin():
        return None
    if isinstance(value, Policy):
        return value
    try:
        found = read.classes.get(kind) or find(kind) if read else find(kind)
    except RecipeError:
        if read is None:
            raise
        found = None
    if found or read:
        return found or UnknownPolicy
    known = ", ".join(map(repr, sorted(here)))
    raise RecipeError(
        f"expected a kind of policy of this package ({known}), of one that is installed or of a class that is "
        f"registered, got {kind[:SHOWN]!r}"
    )


def _of_json(kinds: Any, value: Any) -> Any:
    """A policy in a JSON document that was parsed: as JSON, so that lists are tuples."""
    return _reader(kinds).validate_json(json.dumps(value))


@cache
def _reader(kinds: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kinds)


def without_code(place: str, kind: str, package: str = UNNAMED) -> str:
    """That the code of a policy is missing, and how to bring it."""
    return (
        f"{place}: expected a policy whose code is known, got one of kind {kind[:SHOWN]!r} as a record of its fields: "
        f"install {package}, or give its class, as in resume(..., policies=[TheClass]) or --plugin FILE"
    )


def policies_of(recipe: BaseModel) -> dict[str, Policy]:
    """The policies of a recipe by their place."""
    sections = {name: getattr(recipe, name) for name in SECTIONS}
    return {
        f"{name}.policies[{number}]": policy
        for name, section in sections.items()
        for number, policy in enumerate(section.policies if section else ())
    }


def classes_of(recipe: BaseModel) -> list[type[Policy]]:
    """The classes of a recipe's own policies, whose code is known."""
    return [type(policy) for policy in policies_of(recipe).values() if not isinstance(policy, UnknownPolicy)]


def refuse_unknown(recipe: BaseModel, packages: Any = None) -> None:
    """Refuse a recipe that cannot be run, as the code of a policy is missing or some of it is refused.

    Args:
        recipe: to run.
        packages: what environment.json says of the packages of policies, as `packages_of` gives it.

    Raises:
        RecipeError: it cannot; the message names the place, and the kind or what is refused.
    """
    if left_aside := getattr(recipe, "left_aside", ""):
        expected = "recipe: expected one that this version runs, got one of another with what is refused now"
        raise RecipeError(f"{expected}: {left_aside}: write it without that and synthesize a run of its own")
    for place, policy in policies_of(recipe).items():
        if isinstance(policy, UnknownPolicy):
            raise RecipeError(without_code(place, policy.kind, _package(packages, policy.kind)))


def _package(packages: Any, kind: str) -> str:
    """What a file says that a policy is of, in words."""
    told = cast("dict[str, Any]", packages).get(kind) if isinstance(packages, dict) else None
    named = cast("dict[str, Any]", told).values() if isinstance(told, dict) else ()
    return as_text(" ".join(str(each)[:SHOWN] for each in named)) or UNNAMED


def recorded(classes: Iterable[type[Policy]]) -> Recorded:
    """How a recorded recipe is read where some classes are given.

    Raises:
        RecipeError: one is no class of a policy.
    """
    return Recorded({kind_of(each): each for each in cast("Iterable[Any]", classes)})
