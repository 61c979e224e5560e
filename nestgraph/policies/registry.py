"""Policies by name: those of this package, those registered in this process, those that installed packages offer."""

from typing import Any, ClassVar, NoReturn

from pydantic import ConfigDict, JsonValue

from nestgraph.errors import RecipeError
from nestgraph.policies import GrowthPolicy, PruningPolicy
from nestgraph.policies.evidence import EvidenceKind
from nestgraph.policies.policy import Policy
from nestgraph.spec.kinds import Kinds
from nestgraph.spec.open_kinds import members


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
        raise RecipeError(POLICIES.without_code("policy", self.kind))


POLICIES = Kinds("policy", "policies", Policy, UnknownPolicy)

for _union in (GrowthPolicy, PruningPolicy):
    for _each in members(_union):
        POLICIES.included(_each)
