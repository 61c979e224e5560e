"""What an edit would do, found out without doing it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nestgraph.edits.edit import Edit
from nestgraph.errors import EditError, NestgraphError, StructureError
from nestgraph.graph.cost import Cost, cost
from nestgraph.graph.difference import difference
from nestgraph.graph.network import Network
from nestgraph.graph.reference import Inputs, forward, samples_of
from nestgraph.graph.view import Node
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.wording import quoted

Units = dict[str, tuple[int, ...]]
PRESERVED = 1e-5
"""The largest change of an output, relative to the largest output (at least 1), that counts as rounding."""
SHOWN = 8
HEADINGS = ("change", "units", "connections", "parameters", "FLOPs")


@dataclass(frozen=True)
class Preview:
    """What an edit would do.

    Attributes:
        legal: whether it can be applied.
        reason: why not; empty where it can.
        words: what the edit does, in a few words.
        layers: the layers whose units, values or record it changes, as `difference` tells.
        projections: the projections whose connections, areas or record it changes, adds or removes.
        values: how many weights, biases and statistics it changes where they are.
        notes: by layer, what else it changes, such as a field of its record, the order of units, a projection's area.
        interface: whether it changes what is recorded of what goes in and comes out.
        gone: ids of the units that it removes, by layer.
        born: ids of the units that it adds, by layer.
        coupled: of the units gone and born those that were not named: the consequences.
        change: the change in units, connections, parameters and static FLOPs.
        by_layer: the same by layer, where there is one.
        output_change: the largest absolute change of an output on the sample; None without one, or where the edit
            changes what the network reads or how many outputs it has.
        mean_output_change: the mean absolute change of the outputs.
        preserving: whether the edit leaves the outputs on the sample as they are, but for rounding.
    """

    legal: bool
    reason: str = ""
    words: str = ""
    layers: tuple[str, ...] = ()
    projections: tuple[str, ...] = ()
    values: int = 0
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    interface: bool = False
    gone: Units = field(default_factory=dict[str, tuple[int, ...]])
    born: Units = field(default_factory=dict[str, tuple[int, ...]])
    coupled: Units = field(default_factory=dict[str, tuple[int, ...]])
    change: Cost = field(default_factory=Cost)
    by_layer: Mapping[str, Cost] = field(default_factory=dict[str, Cost])
    output_change: float | None = None
    mean_output_change: float | None = None
    preserving: bool | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The preview as plain values that `json.dumps` takes."""
        return asdict(self)

    @property
    def _others(self) -> list[str]:
        """What it changes beside units and connections, as `nestgraph diff` says it."""
        values = [f"{self.values:,} value{'' if self.values == 1 else 's'}"] if self.values else []
        notes = [f"{layer}: {', '.join(notes)}" for layer, notes in self.notes.items()]
        return values + notes + (["the interface"] if self.interface else [])

    def __str__(self) -> str:
        if not self.legal:
            return f"cannot be: {self.reason}"
        lines = [self.words or "edit"]
        for title, units in (("units gone", self.gone), ("units new", self.born), ("coupled", self.coupled)):
            lines += [f"{title}: {listing(units)}"] if units else []
        if others := self._others:
            lines.append(f"also changed: {'; '.join(others)}")
        if self.by_layer:
            lines += _table([*self.by_layer.items(), ("total", self.change)])
        if self.output_change is not None:
            effect = "the same but for rounding" if self.preserving else "not the same"
            amount = f"changed by {self.mean_output_change:.3g} on average and by up to {self.output_change:.3g}"
            lines.append(f"outputs on the sample: {amount} ({effect})")
        return "\n".join(lines)


def preview_of(network: Network, edit: Edit, sample: Inputs | None = None, named: Iterable[Node] = ()) -> Preview:
    """What `edit` would do to `network`; see `Editor.preview`.

    Raises:
        StructureError: the sample does not fit the network, is empty or not finite, or makes outputs that are not.
    """
    check_sample(network, sample)
    try:
        after = edit.apply(network).network
    except NestgraphError as error:
        return Preview(legal=False, reason=str(error), words=edit.words)
    change = difference(network, after)
    gone = _some_units({name: layer.removed for name, layer in change.layers.items()})
    born = _some_units({name: layer.added for name, layer in change.layers.items()})
    old, new = cost(network), cost(after)
    names = dict.fromkeys((*old.by_layer, *new.by_layer))
    by_layer = {name: new.by_layer.get(name, Cost()) - old.by_layer.get(name, Cost()) for name in names}
    largest, mean, preserving = (None, None, None) if sample is None else _output_change(network, after, sample)
    return Preview(
        legal=True,
        words=edit.words,
        layers=tuple(sorted(name for name, layer in change.layers.items() if layer.fate != "unchanged")),
        projections=tuple(sorted(name for name, one in change.projections.items() if one.fate != "unchanged")),
        values=change.counts.numbers,
        notes={name: notes for name in change.layers if (notes := change.notes(name))},
        interface=change.interface,
        gone=gone,
        born=born,
        coupled=_beyond(gone, born, _nodes(named)),
        change=new.total - old.total,
        by_layer={name: change for name, change in by_layer.items() if change != Cost()},
        output_change=largest,
        mean_output_change=mean,
        preserving=preserving,
    )


def _some_units(units: Mapping[str, AnyArray]) -> Units:
    return {name: tuple(ids.tolist()) for name, ids in units.items() if len(ids)}


def _nodes(named: Iterable[Node]) -> set[Node]:
    try:
        return set(named)
    except TypeError:  # what cannot be hashed is no node
        raise EditError(f"preview expected named: nodes (layer, id), got {quoted(named)}") from None


def _beyond(gone: Units, born: Units, named: set[Node]) -> Units:
    found: Units = {}
    for name in dict.fromkeys((*gone, *born)):
        units = (*gone.get(name, ()), *born.get(name, ()))
        others = tuple(unit for unit in units if (name, unit) not in named)
        if named and others:
            found[name] = others
    return found


def check_sample(network: Network, sample: Inputs | None) -> None:
    """Refuse a sample that shows nothing; none is none.

    Raises:
        StructureError: it holds no sample or a value that is no finite number, or does not fit the network.
    """
    samples = [] if sample is None else samples_of(network, sample)
    for name, array in zip(network.input_names if samples else (), samples, strict=True):
        strange = np.argwhere(~np.isfinite(array))
        if not len(array) or len(strange):
            got = f"{array[tuple(strange[0])]} in sample {strange[0][0]}" if len(strange) else "no sample"
            raise StructureError(f"preview expected samples of finite numbers for input layer {name!r}, got {got}")


def _outputs(network: Network, sample: Inputs, when: str) -> dict[str, AnyArray]:
    """The output of each output layer.

    Raises:
        StructureError: one is no finite number, so that no change of it is.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = forward(network, sample)
    outputs = {name: values[name] for name in network.output_names}
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise StructureError(
                f"preview expected finite outputs {when} the edit, got others from layer {name!r}: give a sample of "
                "smaller numbers, or none"
            )
    return outputs


def _output_change(old: Network, new: Network, sample: Inputs) -> tuple[float | None, float | None, bool | None]:
    """The largest and the mean change of an output, and whether it is but rounding."""
    before = _outputs(old, sample, "before")
    if [old.layer(name) for name in old.input_names] != [new.layer(name) for name in new.input_names]:
        return None, None, None
    after = _outputs(new, sample, "after")
    shared = [name for name in after if name in before and before[name].shape == after[name].shape]
    if not shared:
        return None, None, None
    changes = np.concatenate([np.abs(after[name] - before[name]).ravel() for name in shared])
    scale = max(1.0, *(float(np.abs(before[name]).max(initial=0)) for name in shared))
    largest = float(changes.max())
    same = set(shared) == set(old.output_names) == set(new.output_names) and largest <= PRESERVED * scale
    return largest, float(changes.mean()), same


def listing(units: Units) -> str:
    """Units by layer in words, a few of each."""
    return "; ".join(f"{name} {_some(ids)}" for name, ids in units.items())


def _some(ids: tuple[int, ...]) -> str:
    shown = ", ".join(str(unit) for unit in ids[:SHOWN])
    return shown if len(ids) <= SHOWN else f"{shown} and {len(ids) - SHOWN:,} more"


def _table(rows: list[tuple[str, Cost]]) -> list[str]:
    counts = [[name, entry.units, entry.connections, entry.parameters, entry.flops] for name, entry in rows]
    cells = [list(HEADINGS)] + [
        [str(row[0]), *(f"{count:+,}" if count else "0" for count in row[1:])] for row in counts
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    aligned = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return ["  ".join([row[0].strip().ljust(widths[0]), *row[1:]]) for row in aligned]
