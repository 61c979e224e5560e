"""What an edit is: a small frozen record with a way to apply it and a way back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NoReturn

from nestgraph.edits.index_map import IndexMap
from nestgraph.errors import EditError, RecordError, StructureError, VerificationError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.way import Way
from nestgraph.spec.arguments import checked
from nestgraph.spec.record import ArrayRecord


@dataclass(frozen=True)
class Applied:
    """An edit carried out: the networks before and after, and the edit that leads back."""

    edit: "Edit"
    before: Network
    network: Network
    inverse: "Edit"

    @cached_property
    def index_map(self) -> IndexMap:
        """Where each unit went."""
        return IndexMap.between(self.before, self.network)


class Edit(ArrayRecord, ABC):
    """The only way to change a network. Edits are equal when their JSON forms are.

    Attributes:
        nothing: the edit that does nothing.
    """

    nothing: ClassVar["Edit"]

    @checked(EditError)
    def apply(self, network: Network) -> Applied:
        """Carry the edit out on `network`, which stays as it is.

        Raises:
            EditError: the edit does not fit the network, or its result would break a law.
        """
        self.check_base(network)
        try:
            structure, inverse = self.change(network)
            return Applied(self, network, Network.of(structure), inverse)
        except VerificationError as error:
            islands = all(getattr(violation, "law", "") == "islands" for violation in error.violations)
            remedy = "; the recipe functions in nestgraph.edits also remove what an edit cuts off" if islands else ""
            raise EditError(f"{self.words}: expected a network without broken laws, got: {error}{remedy}") from error
        except (StructureError, RecordError) as error:
            raise EditError(f"{self.words}: {error}") from error

    def check_base(self, network: Network) -> None:
        """Refuse a network that the edit says it is not for.

        Raises:
            EditError: it names another one.
        """

    @abstractmethod
    def change(self, structure: Structure) -> "tuple[Structure, Edit]":
        """The structure after the edit, not yet verified, and the inverse edit.

        Raises:
            EditError: the edit does not fit the structure.
        """

    @checked(EditError)
    def map(self, way: Way) -> "Edit":
        """The edit that does at the end of a way what this one does at its beginning, for which it was made.

        Positions and entries go with the units that they mean. What both sides changed is merged three ways: liveness
        and areas are yes or no, so only values, records and names can clash. What is gone needs no edit any more. The
        result is no promise: `apply` verifies it, and one that preserved the function need not do so here.

        Args:
            way: from the network that the edit was made for; see `Way.between` and `way_over`.

        Returns:
            The edit; an empty batch where nothing is left to do.

        Raises:
            ConflictError: both sides changed the same thing otherwise.
            EditError: what the edit builds on is gone or was made anew.
        """
        if way.is_identity:
            return self
        try:
            return self.mapped(way) or self.nothing
        except (StructureError, RecordError) as error:
            raise EditError(f"{self.words}: {error}") from error

    @abstractmethod
    def mapped(self, way: Way) -> "Edit | None":
        """See `map`; None where nothing is left to do."""

    def after(self, edits: "Sequence[Edit]") -> "Edit":
        """This edit after others, as one."""
        return self.nothing.model_copy(update={"edits": (*edits, self)}) if edits else self

    def kept(self, way: Way, name: str, layer: bool = False) -> bool:
        """Whether a projection, or a layer, is still there at the end of a way.

        Raises:
            EditError: it is another one of that name.
        """
        there = way.here.has_layer(name) if layer else way.here.has_projection(name)
        what = "layer" if layer else "projection"
        other = there and not layer and way.here.projection(name).joint != way.base.projection(name).joint
        if there and (name in way.remade or other):
            self.refuse(f"expected {what} {name!r} as it was, got another of that name: make the edit anew")
        return there

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do on any network."""
        return False

    @property
    @abstractmethod
    def words(self) -> str:
        """What the edit does, in a few words, for messages and histories."""

    def refuse(self, problem: str) -> NoReturn:
        """Raise an `EditError` that says which edit met the problem."""
        raise EditError(f"{self.words}: {problem}")


recipe_function = checked(EditError, of=(StructureError, RecordError, VerificationError))
"""Decorates recipe functions: whatever cannot be done, a layer that is not there say, is an `EditError`."""
