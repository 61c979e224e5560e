"""Kinds by name: of this package, registered in this process, or offered by installed packages.

A kind in a recipe is a name, never a place: no module, path or attribute is looked up by what stands in data. A package
offers a kind by an entry point of that very name in a group, so what can be loaded is what somebody installed.
"""

from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Any, Generic, NamedTuple, TypeVar, cast

from nestgraph.errors import RecipeError
from nestgraph.spec.record import Record
from nestgraph.spec.wording import foreign, quoted

SHOWN = 64
"""Characters of a kind or a package in messages."""

UNNAMED = "the package that offers it"

Base = TypeVar("Base", bound=Record)
OneOf = TypeVar("OneOf", bound=type[Record])


class Package(NamedTuple):
    """An installed package, by name and version."""

    name: str
    version: str


class Kinds(Generic[Base]):
    """The classes of records of one form, by their `kind`.

    Attributes:
        one: what a record is called.
        many: what several are called, in recipes and environment.json.
        group: of entry points.
        base: the form, an abstract class.
        unknown: the class of records whose code is not at hand.
        builtin: those of this package.
        registered: those of this process.
    """

    def __init__(self, one: str, many: str, base: type[Base], unknown: type[Base]) -> None:
        """Without any class yet."""
        self.one, self.many, self.group, self.base, self.unknown = one, many, f"nestgraph.{many}", base, unknown
        self.builtin: dict[str, type[Base]] = {}
        self.registered: dict[str, type[Base]] = {}
        self.packages: dict[type[Base], Package] = {}

    def kind_of(self, given: Any) -> str:
        """The kind that a class is called in recipes.

        Raises:
            RecipeError: it is no class of the form, has no field `kind` with a default, or lacks a method.
        """
        known = isinstance(given, type) and issubclass(given, self.base)
        kind = getattr(cast(Any, given).model_fields.get("kind"), "default", None) if known else None
        if not isinstance(kind, str) or not kind:
            expected = f"classes of {self.many}, each with a field such as kind: Literal['mine'] = 'mine'"
            raise RecipeError(f"{self.many}: expected {expected}, got {_class_words(given)}")
        if isabstract(cast(object, given)):
            methods = ", ".join(sorted(cast(Any, given).__abstractmethods__))
            got = f"{_class_words(given)} without one"
            raise RecipeError(f"{self.many}: expected classes with a method {methods}, got {got}")
        return kind

    def included(self, of: OneOf) -> OneOf:
        """Take in a class of this package; a decorator."""
        self.builtin[self.kind_of(of)] = cast(Any, of)
        return of

    def register(self, of: type[Base]) -> type[Base]:
        """Let recipes name a class by its `kind`, in this process.

        A class that is defined again, as in a notebook, takes the place of the one before.

        Raises:
            RecipeError: it is no class of the form with a field `kind`, or its kind is one of this package or of
                another class.
        """
        kind = self.kind_of(of)
        known = self.builtin.get(kind) or self.registered.get(kind)
        if known not in (None, of) and (kind in self.builtin or _place(known) != _place(of)):
            owner = "built in" if kind in self.builtin else f"that of {_place(known)[-80:]}"
            raise RecipeError(
                f"register: expected a kind of its own, got {kind[:SHOWN]!r}, which is {owner}: rename it"
            )
        self.registered[kind] = of
        return of

    def find(self, kind: str) -> type[Base] | None:
        """The class of a kind that is not of this package: registered, or offered by an installed package.

        Raises:
            RecipeError: two packages offer it, or what one offers cannot be loaded or is not of that kind.
        """
        if kind in self.registered:
            return self.registered[kind]
        offers = entry_points(group=self.group, name=kind)
        packages = sorted({_words(offer) for offer in offers})
        if len(packages) > 1:
            raise RecipeError(
                f"{self.many}: expected one package that offers the kind {kind[:SHOWN]!r}, got "
                f"{' and '.join(packages)}: uninstall one of them"
            )
        return self._loaded(next(iter(offers))) if packages else None

    def offered(self) -> Iterator[type[Base]]:
        """All classes that are registered or offered, but for what this package has and what cannot be loaded."""
        names = sorted({offer.name for offer in entry_points(group=self.group)})
        for kind in dict.fromkeys((*self.registered, *names)):
            try:
                found = None if kind in self.builtin else self.find(kind)
            except RecipeError:
                found = None
            if found is not None:
                yield found

    def packages_of(self, records: Iterable[Any]) -> dict[str, dict[str, str]]:
        """By kind, the package and version that records come from, where they come from one."""
        known = {self.kind_of(type(each)): self.packages.get(cast(Any, type(each))) for each in records}
        return {kind: package._asdict() for kind, package in sorted(known.items()) if package}

    def without_code(self, place: str, kind: str, package: str = UNNAMED) -> str:
        """That the code of a record is missing, and how to bring it."""
        given = "resume(..., policies=[TheClass])" if self.one == "policy" else "resume(..., task=TheTask())"
        return (
            f"{place}: expected a {self.one} whose code is known, got one of kind {kind[:SHOWN]!r} as a record of its "
            f"fields: install {package}, or give its class, as in {given} or --plugin FILE"
        )

    def _loaded(self, offer: EntryPoint) -> type[Base]:
        who = f"{self.many}: the package {_words(offer)}"
        try:
            found: Any = offer.load()
        except Exception as error:  # whatever the package's own code raises
            problem = f"{type(error).__name__}: {foreign(error)}"
            raise RecipeError(
                f"{who} offers {offer.name[:SHOWN]!r}, which cannot be loaded ({problem}): mend it"
            ) from None
        try:
            kind = self.kind_of(found)
        except RecipeError as error:
            raise RecipeError(f"{who} offers {offer.name[:SHOWN]!r}, which is no {self.one}: {error}") from None
        if kind != offer.name:
            expected = f"{who}: expected its entry point {offer.name[:SHOWN]!r} to be a {self.one} of that kind"
            raise RecipeError(f"{expected}, got one of kind {kind[:SHOWN]!r}: name the entry point as the kind")
        if offer.dist:
            self.packages[found] = Package(offer.dist.name, offer.dist.version)
        return found


def _words(offer: EntryPoint) -> str:
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else "without a name"


def _class_words(of: Any) -> str:
    return repr(_place(of)[-80:]) if isinstance(of, type) else quoted(of)


def _place(of: Any) -> str:
    return f"{of.__module__}.{of.__qualname__}"
