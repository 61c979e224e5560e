"""Policies that are not of this package, in recipes: kept as records of their fields where their code is not known."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NoReturn, cast, get_args

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from nestgraph.errors import RecipeError
from nestgraph.policies import GrowthPolicy, Policy, PruningPolicy
from nestgraph.policies.evidence import EvidenceKind
from nestgraph.snapshot import problems_of

SECTIONS: Mapping[str, tuple[Any, dict[str, JsonValue]]] = {
    "growth": (GrowthPolicy, {"kind": "connection_growth"}),
    "pruning": (PruningPolicy, {"kind": "magnitude_pruning"}),
}
"""By the sections of a recipe that have policies: their kinds, and one that stands in while the rest is checked."""


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


def without_code(place: str, kind: str) -> str:
    """That the code of a policy is missing, and how to bring it."""
    return (
        f"{place}: expected a policy whose code is known, got one of kind {kind[:64]!r} as a record of its fields: "
        "give its class, as in resume(..., policies=[TheClass])"
    )


def kind_of(policy: Any) -> str:
    """The kind that a policy's class is called in recipes.

    Raises:
        RecipeError: it is no class of a policy, or has no field `kind` with a default.
    """
    known = isinstance(policy, type) and issubclass(policy, Policy)
    kind = getattr(cast(Any, policy).model_fields.get("kind"), "default", None) if known else None
    if not isinstance(kind, str):
        expected = "classes of policies, each with a field such as kind: Literal['mine'] = 'mine'"
        raise RecipeError(f"policies: expected {expected}, got {str(cast(Any, policy))[:80]!r}")
    return kind


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


def refuse_unknown(recipe: BaseModel) -> None:
    """Refuse a recipe that cannot be run, as the code of a policy is missing or some of it is refused.

    Raises:
        RecipeError: it cannot; the message names the place, and the kind or what is refused.
    """
    if left_aside := getattr(recipe, "left_aside", ""):
        expected = "recipe: expected one that this version runs, got one of another with what is refused now"
        raise RecipeError(f"{expected}: {left_aside}: write it without that and synthesize a run of its own")
    for place, policy in policies_of(recipe).items():
        if isinstance(policy, UnknownPolicy):
            raise RecipeError(without_code(place, policy.kind))


def set_apart(document: Any, classes: Iterable[type[Policy]]) -> dict[str, dict[int, Policy]]:
    """Take the policies that are not of this package out of a recipe's JSON, by section and number.

    In their place in the document stands one of the package, so that all else can be checked.

    Raises:
        RecipeError: what is said of a policy does not fit its class.
    """
    known, found = {kind_of(each): each for each in classes}, dict[str, dict[int, Policy]]()
    for section, (kinds, stand_in) in SECTIONS.items():
        builtin = {get_args(each.model_fields["kind"].annotation)[0] for each in get_args(get_args(kinds)[0])}
        policies: Any = _field(_field(document, section), "policies")
        for number, fields in enumerate(cast("list[Any]", policies) if isinstance(policies, list) else ()):
            kind = _field(fields, "kind")
            if isinstance(kind, str) and kind not in builtin:
                place = f"{section}.policies[{number}]"
                found.setdefault(section, {})[number] = _policy(fields, known.get(kind, UnknownPolicy), place)
                policies[number] = stand_in
    return found


def set_policy_apart(document: Any, apart: dict[str, dict[int, Policy]], section: str, number: int) -> None:
    """Keep one policy of a recipe's JSON as a record of its fields, whatever they are.

    Raises:
        RecipeError: it is not even a record with a kind.
    """
    policies = document[section]["policies"]
    apart.setdefault(section, {})[number] = _policy(policies[number], UnknownPolicy, f"{section}.policies[{number}]")
    policies[number] = SECTIONS[section][1]


def _field(table: Any, name: str) -> Any:
    return cast("dict[str, Any]", table).get(name) if isinstance(table, dict) else None


def _policy(fields: Any, kind: type[Policy], place: str) -> Policy:
    try:
        reader: TypeAdapter[Policy] = TypeAdapter(kind)
        return reader.validate_json(json.dumps(fields))
    except ValidationError as error:
        raise RecipeError(f"{place}: {problems_of(error)}") from None
