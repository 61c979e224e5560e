"""Policies by name: those of this package, those registered in this process, those that installed packages offer.

A kind in a recipe is a name, never a place: no module, path or attribute is looked up by what stands in data. A package
offers a policy by an entry point of the policy's very kind in the group `nestgraph.policies`, so what can be loaded is
what somebody installed.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Any, NamedTuple, TypeVar, cast, get_args

from nestgraph.errors import RecipeError
from nestgraph.policies import GrowthPolicy, PruningPolicy
from nestgraph.policies.policy import Policy
from nestgraph.spec.wording import foreign, quoted

GROUP = "nestgraph.policies"
SHOWN = 64
"""Characters of a kind in messages."""

AnyPolicy = TypeVar("AnyPolicy", bound=type[Policy])


class Package(NamedTuple):
    """An installed package, by name and version."""

    name: str
    version: str


_registered: dict[str, type[Policy]] = {}
_packages: dict[type[Policy], Package] = {}


def kind_of(policy: Any) -> str:
    """The kind that a policy's class is called in recipes.

    Raises:
        RecipeError: it is no class of a policy, has no field `kind` with a default, or does not propose anything.
    """
    known = isinstance(policy, type) and issubclass(policy, Policy)
    kind = getattr(cast(Any, policy).model_fields.get("kind"), "default", None) if known else None
    if not isinstance(kind, str) or not kind:
        expected = "classes of policies, each with a field such as kind: Literal['mine'] = 'mine'"
        raise RecipeError(f"policies: expected {expected}, got {_class_words(policy)}")
    if isabstract(cast(object, policy)):
        raise RecipeError(f"policies: expected classes with a method propose, got {_class_words(policy)} without one")
    return kind


def register(policy: AnyPolicy) -> AnyPolicy:
    """Let recipes name a policy of your own by its `kind`, in this process; a decorator of its class.

    A class that is defined again, as in a notebook, takes the place of the one before.

    Raises:
        RecipeError: it is no class of a policy with a field `kind`, or its kind is one of this package or of another
            class.
    """
    kind = kind_of(policy)
    known = builtin().get(kind) or _registered.get(kind)
    if known not in (None, policy) and (kind in builtin() or _place(known) != _place(policy)):
        of = "built in" if kind in builtin() else f"that of {_place(known)[-80:]}"
        raise RecipeError(f"register: expected a kind of its own, got {kind[:SHOWN]!r}, which is {of}: rename it")
    _registered[kind] = policy
    return policy


def find(kind: str) -> type[Policy] | None:
    """The class of a kind that is not of this package: registered, or offered by an installed package.

    Raises:
        RecipeError: two packages offer it, or what one offers cannot be loaded or is no policy of that kind.
    """
    if kind in _registered:
        return _registered[kind]
    offers = entry_points(group=GROUP, name=kind)
    packages = sorted({_words(offer) for offer in offers})
    if len(packages) > 1:
        raise RecipeError(
            f"policies: expected one package that offers the kind {kind[:SHOWN]!r}, got {' and '.join(packages)}: "
            "uninstall one of them"
        )
    return _loaded(next(iter(offers))) if packages else None


def package_of(source: EntryPoint | type[Policy]) -> Package | None:
    """The package that offers a policy, or that a class was loaded from; None where none is known."""
    if not isinstance(source, EntryPoint):
        return _packages.get(source)
    return Package(source.dist.name, source.dist.version) if source.dist else None


def offered() -> Iterator[type[Policy]]:
    """All classes that are registered or offered, but for what this package has and what cannot be loaded."""
    kinds = dict.fromkeys((*_registered, *sorted({offer.name for offer in entry_points(group=GROUP)})))
    for kind in kinds:
        try:
            found = None if kind in builtin() else find(kind)
        except RecipeError:
            found = None
        if found is not None:
            yield found


@cache
def builtin() -> dict[str, type[Policy]]:
    """The policies of this package, by kind."""
    return {kind_of(each): each for union in (GrowthPolicy, PruningPolicy) for each in members(union)}


def members(union: Any) -> tuple[type[Policy], ...]:
    """The classes of a union of policies."""
    return get_args(get_args(union)[0])


def packages_of(policies: Iterable[Policy]) -> dict[str, dict[str, str]]:
    """By kind, the package and version that policies come from, where they come from one."""
    known = {kind_of(type(policy)): package_of(type(policy)) for policy in policies}
    return {kind: package._asdict() for kind, package in sorted(known.items()) if package}


def _loaded(offer: EntryPoint) -> type[Policy]:
    package, who = package_of(offer), f"policies: the package {_words(offer)}"
    try:
        policy: Any = offer.load()
    except Exception as error:  # whatever the package's own code raises
        problem = f"{type(error).__name__}: {foreign(error)}"
        raise RecipeError(f"{who} offers {offer.name[:SHOWN]!r}, which cannot be loaded ({problem}): mend it") from None
    try:
        kind = kind_of(policy)
    except RecipeError as error:
        raise RecipeError(f"{who} offers {offer.name[:SHOWN]!r}, which is no policy: {error}") from None
    if kind != offer.name:
        expected = f"{who}: expected its entry point {offer.name[:SHOWN]!r} to be a policy of that kind"
        raise RecipeError(f"{expected}, got one of kind {kind[:SHOWN]!r}: name the entry point as the kind")
    if package:
        _packages[policy] = package
    return policy


def _words(offer: EntryPoint) -> str:
    package = package_of(offer)
    return " ".join(package) if package else "without a name"


def _class_words(policy: Any) -> str:
    return repr(_place(policy)[-80:]) if isinstance(policy, type) else quoted(policy)


def _place(policy: Any) -> str:
    return f"{policy.__module__}.{policy.__qualname__}"
