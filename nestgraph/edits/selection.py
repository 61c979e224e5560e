"""Selections: sets of units or connections that can be combined, counted and edited as one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.choosing import Masks, lit
from nestgraph.edits.edit import Applied, Edit, recipe_function
from nestgraph.edits.intents import CONNECTION_INTENTS, UNIT_INTENTS, Intent, Numbers
from nestgraph.edits.preview import Preview, check_sample, preview_of
from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.graph.reference import Inputs
from nestgraph.graph.structure import Structure
from nestgraph.graph.view import Node
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray

Edge = tuple[Node, Node]
SAMPLED = 61
"""One weight in so many is looked at to guess which are the smallest."""


class Host(Protocol):
    """What a selection was made by and is edited through: an Editor."""

    @property
    def network(self) -> Network:
        """The current network."""
        ...

    def apply(self, edit: Edit) -> Applied:
        """Apply an edit to the current network."""
        ...


@dataclass(frozen=True, eq=False)
class Selection(ABC):
    """An immutable set of units or connections of a network, with `|`, `&` and `-`.

    What one wants done to it is an intent: `selection.edit("prune")` is the batch of edits, `preview` tells what it
    would do, and `prune()` and the like apply it. A selection holds as long as the units it was made among live.

    Attributes:
        host: the editor that applies intents.
        network: what was chosen from.
        masks: what is chosen, by layer, bool (units,), or by projection, bool in the shape of its weights.
    """

    host: Host
    network: Network
    masks: Mapping[str, AnyArray]

    intents: ClassVar[Mapping[str, Intent]]

    @property
    def counts(self) -> dict[str, int]:
        """How many are chosen, by layer or projection; those without any are left out."""
        return {name: int(np.count_nonzero(mask)) for name, mask in self.masks.items()}

    @property
    @abstractmethod
    def members(self) -> dict[str, AnyArray]:
        """What is chosen, by layer or projection: ids of units, or row-major positions of connections."""

    @property
    def count(self) -> int:
        """How many units or connections are chosen."""
        return sum(self.counts.values())

    def __bool__(self) -> bool:
        return bool(self.masks)

    def __or__(self, other: Self) -> Self:
        return self._combined(other, np.logical_or)

    def __and__(self, other: Self) -> Self:
        return self._combined(other, np.logical_and)

    def __sub__(self, other: Self) -> Self:
        return self._combined(other, np.greater)

    @recipe_function
    def edit(self, intent: str, **options: Any) -> Batch:
        """The batch that carries an intent out on the editor's current network, not yet applied.

        Args:
            intent: the name of one of the methods that apply it.
            options: what that method takes.

        Raises:
            EditError: there is no such intent, it cannot be carried out, or units that were chosen from are gone.
        """
        if intent not in self.intents:
            raise EditError(f"edit expected one of the intents {', '.join(self.intents)}, got {intent[:40]!r}")
        network, chosen = self.host.network, self.intents[intent]
        self._check(network)
        try:
            signature(chosen).bind(network, self.members, **options)
        except TypeError as error:
            raise EditError(f"{intent}: {error}") from None
        return chosen(network, self.members, **options)

    @checked(EditError)
    def preview(self, intent: str, sample: Inputs | None = None, **options: Any) -> Preview:
        """What an intent would do; see `Editor.preview`."""
        check_sample(self.host.network, sample)
        try:
            edit = self.edit(intent, **options)
        except EditError as error:
            return Preview(legal=False, reason=str(error), words=intent)
        return preview_of(self.host.network, edit, sample, self._named())

    def prune(self) -> Applied:
        """Remove what is chosen, units that are coupled to it, and whatever that leaves without a path."""
        return self.host.apply(self.edit("prune"))

    def _with(self, masks: Masks) -> Self:
        return replace(self, masks=lit(masks))

    def _combined(self, other: Self, operation: Callable[..., AnyArray]) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        self._check(other.network)
        other._check(self.network)
        masks: Masks = {}
        for name in dict.fromkeys((*self.masks, *other.masks)):
            mine, its = self.masks.get(name), other.masks.get(name)
            masks[name] = operation(False if mine is None else mine, False if its is None else its)
        return self._with(masks)

    @abstractmethod
    def _check(self, network: Network) -> None:
        """Refuse a network in which the masks mean something else."""

    @abstractmethod
    def _named(self) -> Iterable[Node]:
        """The units that are asked for by name."""


class UnitSelection(Selection):
    """A set of units. Iterating gives their nodes `(layer, id)`."""

    intents = UNIT_INTENTS

    def __iter__(self) -> Iterator[Node]:
        for layer, ids in self.members.items():
            yield from ((layer, unit) for unit in ids.tolist())

    @property
    def members(self) -> dict[str, AnyArray]:
        """The ids of the units, by layer."""
        return {name: self.network.units(name)[mask] for name, mask in self.masks.items()}

    @recipe_function
    def where(self, predicate: Callable[[Mapping[str, AnyArray]], AnyArray]) -> Self:
        """Those for which a predicate over arrays holds: it gets `ids` and the columns (`bias`, ...) of a layer.

        Raises:
            EditError: the predicate asks for a column that a layer does not have, or gives no boolean a unit.
        """
        masks: Masks = {}
        for layer, mask in self.masks.items():
            columns = self.network.unit_columns(layer)
            try:
                held = np.asarray(predicate({"ids": columns.ids, **columns.values}))
            except KeyError as error:
                known = ", ".join(("ids", *columns.values))
                raise EditError(f"where expected columns of layer {layer!r} ({known}), got {error}") from error
            masks[layer] = mask & _booleans(held, columns.ids.shape, layer)
        return self._with(masks)

    def split(self) -> Applied:
        """Split each unit in two that share its outgoing weights, and what is coupled to it. Function-preserving."""
        return self.host.apply(self.edit("split"))

    def duplicate(self) -> Applied:
        """Give each unit a twin whose outgoing weights are 0, and what is coupled to it. Function-preserving."""
        return self.host.apply(self.edit("duplicate"))

    def set(self, **columns: Numbers) -> Applied:
        """Set columns: `set(bias=0.0)`. A number, or one for each unit in the order of iteration."""
        return self.host.apply(self.edit("set", **columns))

    def _check(self, network: Network) -> None:
        for layer in self.masks:
            _check_units(self.network, network, layer)

    def _named(self) -> Iterable[Node]:
        return self


class ConnectionSelection(Selection):
    """A set of connections. Iterating gives the edges `(node, node)` that carry them, each once a projection."""

    intents = CONNECTION_INTENTS

    def __iter__(self) -> Iterator[Edge]:
        for name, mask in self.masks.items():
            projection, (columns, ends) = self.network.projection(name), self.network.wired(name)
            targets, sources = columns.listed(columns.of_pairs(mask), ends)
            pairs = zip(ends.source.ids[sources].tolist(), ends.target.ids[targets].tolist(), strict=True)
            for source, target in pairs:
                yield (projection.source, source), (projection.target, target)

    @property
    def members(self) -> dict[str, AnyArray]:
        """Row-major positions in the weights, by projection."""
        return {name: np.flatnonzero(mask) for name, mask in self.masks.items()}

    @recipe_function
    def where(self, predicate: Callable[[AnyArray, AnyArray], AnyArray]) -> Self:
        """Those for which a predicate over a projection's arrays (weight, mask) holds.

        Raises:
            EditError: the predicate does not give booleans in the shape of the weights.
        """
        masks: Masks = {}
        for name, mask in self.masks.items():
            columns = self.network.connection_columns(name)
            held = np.asarray(predicate(columns.weight, columns.mask))
            masks[name] = mask & _booleans(held, mask.shape, name)
        return self._with(masks)

    @recipe_function
    def smallest(self, fraction: float) -> Self:
        """The fraction with the smallest absolute weights of all chosen together; of equal ones the first.

        Raises:
            EditError: the fraction is not from 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise EditError(f"smallest expected a fraction from 0 to 1, got {fraction}")
        count = round(fraction * self.count)
        if not count:
            return self._with({})
        sizes = {name: np.abs(self.network.connection_columns(name).weight) for name in self.masks}
        limit = _limit([(sizes[name], mask) for name, mask in self.masks.items()], count)
        masks = {name: mask & (sizes[name] < limit) for name, mask in self.masks.items()}
        wanting = count - sum(int(np.count_nonzero(mask)) for mask in masks.values())
        for name, mask in self.masks.items():
            ties = np.flatnonzero(mask & (sizes[name] == limit))[:wanting]
            masks[name].flat[ties] = True
            wanting -= len(ties)
        return self._with(masks)

    def wake(self, weights: Numbers = 0.0) -> Applied:
        """Make dormant connections active. A weight, or one for each in the order of `members`."""
        return self.host.apply(self.edit("wake", weights=weights))

    def set(self, weights: Numbers) -> Applied:
        """Set the weights of active connections. A weight, or one for each in the order of `members`."""
        return self.host.apply(self.edit("set", weights=weights))

    def _check(self, network: Network) -> None:
        for name in self.masks:
            projection = self.network.projection(name)
            if not network.has_projection(name) or network.projection(name) != projection:
                raise EditError(f"a selection in projection {name!r} expected it as it was, got another: select again")
            _check_units(self.network, network, projection.source)
            _check_units(self.network, network, projection.target)
            _check_links(self.network, network, name)

    def _named(self) -> Iterable[Node]:
        return ()


def _check_units(old: Structure, new: Structure, layer: str) -> None:
    if not new.has_layer(layer) or not np.array_equal(old.units(layer), new.units(layer)):
        raise EditError(
            f"a selection in layer {layer!r} expected the units it was made among, got others: select again"
        )


def _check_links(old: Structure, new: Structure, projection: str) -> None:
    if not old.connection_columns(projection).joins_as(new.connection_columns(projection)):
        raise EditError(f"a selection in projection {projection!r} expected its links, got others: select again")


def _booleans(held: AnyArray, shape: tuple[int, ...], name: str) -> AnyArray:
    if held.dtype != bool or held.shape != shape:
        got = f"{held.dtype.name} of shape {held.shape}"
        raise EditError(f"where expected booleans of shape {shape} for {name!r}, got {got}")
    return held


def _limit(parts: Sequence[tuple[AnyArray, AnyArray]], count: int) -> float:
    """The `count`-th smallest of the sizes under the masks.

    A sample tells above which size none can be, so that few are put in order; where it is wrong, all are.
    """
    total = sum(int(np.count_nonzero(mask)) for _, mask in parts)
    sample = np.concatenate([size.ravel()[::SAMPLED][mask.ravel()[::SAMPLED]] for size, mask in parts])
    place = min(int(len(sample) * count / total * 1.1) + 10, len(sample) - 1)
    bound = np.partition(sample, place)[place] if place >= 0 else np.inf
    near = np.concatenate([size[mask & (size <= bound)] for size, mask in parts])
    if len(near) < count:
        near = np.concatenate([size[mask] for size, mask in parts])
    return float(np.partition(near, count - 1)[count - 1])
