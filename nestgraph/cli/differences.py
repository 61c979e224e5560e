"""The table that `diff` prints: by layer, what was added, removed and changed, units matched by id."""

from dataclasses import astuple, dataclass

import numpy as np

from nestgraph.edits import Batch
from nestgraph.graph import Network
from nestgraph.spec import Layer
from nestgraph.spec.arrays import AnyArray

HEADINGS = ("layer", "units", "+", "-", "connections", "+", "-", "values", "other changes")


@dataclass(frozen=True)
class Change:
    """Counts of a layer, whose connections are those that lead into it, or of a whole network.

    `values` are weights, biases and statistics that changed where they were before.
    """

    units: int = 0
    born: int = 0
    gone: int = 0
    connections: int = 0
    added: int = 0
    removed: int = 0
    values: int = 0

    def __add__(self, other: "Change") -> "Change":
        return Change(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    @property
    def words(self) -> tuple[str, ...]:
        """The cells of a table."""
        units = (_growth(self.units, self.born - self.gone), f"{self.born:,}", f"{self.gone:,}")
        links = (_growth(self.connections, self.added - self.removed), f"{self.added:,}", f"{self.removed:,}")
        return (*units, *links, f"{self.values:,}")


def difference_rows(old: Network, new: Network) -> list[tuple[str, ...]]:
    """A row for each layer of either network, and their total."""
    names = dict.fromkeys((*old.layer_names, *new.layer_names))
    changes = {name: _change(old, new, name) for name in names}
    rows = [(name, *change.words, _other_changes(old, new, name)) for name, change in changes.items()]
    return [HEADINGS, *rows, ("total", *sum(changes.values(), Change()).words, "")]


def edit_words(edits: Batch) -> str:
    """How many edits of which kind a difference takes."""
    kinds = [edit.kind for edit in edits.edits]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _growth(before: int, change: int) -> str:
    return f"{before:,} -> {before + change:,}" if change else f"{before:,}"


def _change(old: Network, new: Network, name: str) -> Change:
    before, after = _ids(old, name), _ids(new, name)
    kept = len(np.intersect1d(before, after))
    units = Change(
        units=len(before), born=len(after) - kept, gone=len(before) - kept, values=_unit_values(old, new, name)
    )
    return sum((_connections(old, new, projection) for projection in _incoming(old, new, name)), units)


def _ids(network: Network, layer: str) -> AnyArray:
    return network.units(layer) if network.has_layer(layer) else np.zeros(0, np.int64)


def _incoming(old: Network, new: Network, layer: str) -> list[str]:
    """The projections into a layer in either network."""
    sides = [network.incoming(layer) for network in (old, new) if network.has_layer(layer)]
    return list(dict.fromkeys(projection.name for side in sides for projection in side))


def _unit_values(old: Network, new: Network, layer: str) -> int:
    """How many biases and statistics changed of units that are in both networks."""
    if not (old.has_layer(layer) and new.has_layer(layer)):
        return 0
    before, after = old.unit_columns(layer), new.unit_columns(layer)
    _, here, there = np.intersect1d(before.ids, after.ids, return_indices=True)
    columns = before.values.keys() & after.values.keys()
    return sum(_unequal(before.values[column][here], after.values[column][there]).sum() for column in columns)


def _connections(old: Network, new: Network, name: str) -> Change:
    """What became of a projection's connections."""
    counts = [n.connection_columns(name).active if n.has_projection(name) else 0 for n in (old, new)]
    kept, changed = _kept(old, new, name)
    return Change(connections=counts[0], added=counts[1] - kept, removed=counts[0] - kept, values=changed)


def _kept(old: Network, new: Network, name: str) -> tuple[int, int]:
    """How many connections of a projection are active in both networks, and how many of these have another weight."""
    if not (old.has_projection(name) and new.has_projection(name)):
        return 0, 0
    ends = [(n.projection(name).source, n.projection(name).target) for n in (old, new)]
    before, after = old.connection_columns(name), new.connection_columns(name)
    if ends[0] != ends[1] or old.projection(name).kind != new.projection(name).kind:
        return 0, 0
    if before.links is not None and after.links is not None:
        _, here, there = np.intersect1d(before.links[:, 1], after.links[:, 1], return_indices=True)
        same = before.links[here, 0] == after.links[there, 0]
        places: tuple[AnyArray, ...] = (here[same],)
        later: tuple[AnyArray, ...] = (there[same],)
    else:
        source, target = ends[0]
        _, rows, later_rows = np.intersect1d(old.units(target), new.units(target), return_indices=True)
        _, columns, later_columns = np.intersect1d(old.units(source), new.units(source), return_indices=True)
        places, later = np.ix_(rows, columns), np.ix_(later_rows, later_columns)
    return _common(before.mask[places], after.mask[later], before.weight[places], after.weight[later])


def _common(mask: AnyArray, later_mask: AnyArray, weight: AnyArray, later_weight: AnyArray) -> tuple[int, int]:
    if mask.shape != later_mask.shape:  # kernels of another size have nothing in common
        return 0, 0
    kept = mask & later_mask
    return int(kept.sum()), int((_unequal(weight, later_weight) & kept).sum())


def _unequal(values: AnyArray, later: AnyArray) -> AnyArray:
    return values.view(np.uint32) != later.view(np.uint32)  # bit by bit, as networks are compared


def _other_changes(old: Network, new: Network, name: str) -> str:
    """What changed of a layer beside units, connections and values."""
    if not old.has_layer(name):
        return "new layer"
    if not new.has_layer(name):
        return "layer gone"
    before, after = old.layer(name), new.layer(name)
    fields = [field for field in Layer.model_fields if getattr(before, field) != getattr(after, field)]
    return ", ".join([*fields, *(p for p in _incoming(old, new, name) if _reshaped(old, new, p))])


def _reshaped(old: Network, new: Network, name: str) -> bool:
    """Whether a projection was added or removed, or has another record or area."""
    if not (old.has_projection(name) and new.has_projection(name)):
        return True
    before, after = old.connection_columns(name).area, new.connection_columns(name).area
    same = before is after or (before is not None and after is not None and np.array_equal(before, after))
    return old.projection(name) != new.projection(name) or not same
