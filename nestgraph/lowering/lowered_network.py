"""The module that `lower` gives: it keeps its network through copies and pickles, and guards its state."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.graph.columns.areas import paired, shortest
from nestgraph.lowering.areas import partial_parts
from nestgraph.lowering.live import Live
from nestgraph.lowering.nodes import KEY as MARK
from nestgraph.lowering.origin import KEY, Origin
from nestgraph.lowering.paths import projection_paths
from nestgraph.lowering.slots import Slot, slots
from nestgraph.lowering.sparse_linear import PATTERN, entries_of, pattern_of
from nestgraph.lowering.sparse_sweep import SWEEP, swept_parts
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Conv, Dense

EXTRA = "_extra_state"
"""What torch calls the entry of a module's extra state."""


class LoweredNetwork(fx.GraphModule):
    """A lowered network.

    Its state dict has the fingerprint of the network's units, links and masks as `_extra_state`, since most of that
    changes no shape: the state of a pruned network would fit the module of the whole one, and bring back with the next
    edit what was pruned.
    """

    def get_extra_state(self) -> Tensor:
        """The fingerprint, uint8 (32,)."""
        return torch.frombuffer(bytearray(_network(self).fingerprint), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Nothing is to be set: a state with another fingerprint was refused before."""

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load a state of the same units and masks, in whatever form; torch calls this for what holds a module, too.

        Raises:
            LoweringError: it belongs to other ones, and no value was changed.
        """
        _check(_network(self), state_dict, prefix)
        _fit(self, state_dict, prefix)
        state_dict.setdefault(prefix + EXTRA, self.get_extra_state())  # a state written without one has its masks
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """As fx pickles modules, by their source, and with what it forgets: marks of nodes and the network."""
        make, arguments = cast("tuple[Callable[..., fx.GraphModule], tuple[Any, ...]]", super().__reduce__())
        marks = {node.name: node.meta[MARK] for node in self.graph.nodes if MARK in node.meta}
        return _restored, (make, arguments, self.meta, marks)


def _restored(
    make: Callable[..., fx.GraphModule], arguments: tuple[Any, ...], meta: dict[str, Any], marks: Mapping[str, Any]
) -> LoweredNetwork:
    plain = make(*arguments)
    module = LoweredNetwork(plain, plain.graph, LoweredNetwork.__name__)
    module.training, module.meta = plain.training, meta
    for node in module.graph.nodes:
        if node.name in marks:
            node.meta[MARK] = marks[node.name]
    return module


def _network(module: fx.GraphModule) -> Network:
    origin = module.meta[KEY]
    assert isinstance(origin, Origin)
    return origin.network


def _check(network: Network, state: Mapping[str, Any], prefix: str) -> None:
    """Check that a state dict belongs to a module of the network's units, links and masks.

    Raises:
        LoweringError: it belongs to another network's; the sentence names the first difference that can be seen.
    """
    seen = _difference(network, state, prefix)
    given = state.get(prefix + EXTRA)
    if seen is None and isinstance(given, Tensor) and given.cpu().numpy().tobytes() != network.fingerprint:
        seen = "the same units, links and masks", "that of other ones of the same number"
    if seen is not None:
        raise LoweringError(
            f"load_state_dict: expected the state of a module with {seen[0]}, got {seen[1]}: load it into a module "
            "lowered from the network that it was saved with; save that network beside it (nestgraph.save)"
        )


def _fit(module: fx.GraphModule, state: dict[str, Any], prefix: str) -> None:
    """Bring what a module of the same network held in another form to the form in which this one holds it."""
    network, buffers = _network(module), dict(module.named_buffers())
    for slot in (slot for slot in slots(network) if slot.is_weight):
        given, held, path = state.get(prefix + slot.path), slot.tensor(module), projection_paths(network)[slot.owner]
        names = _names(network, slot.owner)
        there = {name for name in names if f"{path}.{name}" in buffers}
        known = {name for name in names if f"{prefix}{path}.{name}" in state}
        if not isinstance(given, Tensor) or (given.shape == held.shape and there == known):
            continue
        state[prefix + slot.path] = slot.packed(slot.spread(given, network), held)
        for name in known:
            del state[f"{prefix}{path}.{name}"]
        parts = _parts(network, slot, held)
        state.update({f"{prefix}{path}.{name}": parts[name] for name in there})


def _names(network: Network, name: str) -> tuple[str, ...]:
    """What may stand beside the weight of a projection, in one form or another."""
    if isinstance(network.projection(name), Dense):
        return ("mask", *PATTERN)
    if paired(shortest(network.connection_columns(name).area)):
        return ("mask", "windows", "area", *(f"{SWEEP}.{part}" for part in (*PATTERN, "index")))
    return ("mask",)


def _parts(network: Network, slot: Slot, held: Tensor) -> dict[str, Tensor]:
    """What stands there, which the network tells."""
    columns, projection = network.connection_columns(slot.owner), network.projection(slot.owner)
    found = {"mask": slot.packed(as_tensor(columns.mask), held)}
    if isinstance(projection, Dense):
        return found | pattern_of(columns)
    if isinstance(projection, Conv) and paired(area := shortest(columns.area)):
        swept = {f"{SWEEP}.{name}": part for name, part in swept_parts(network, projection).items()}
        return found | swept | partial_parts(network, projection, area)
    return found


def _difference(network: Network, state: Mapping[str, Any], prefix: str) -> tuple[str, str] | None:
    """The first entry that does not fit, as what was expected and got."""
    paths = projection_paths(network)
    for slot in slots(network):
        given, shape = state.get(prefix + slot.path), slot.values(network).shape
        if isinstance(given, Tensor) and (got := tuple(slot.spread(given, network).shape)) != shape:
            if slot.packing and slot.packing.holds(given):
                count = network.connection_columns(slot.owner).active
                return f"the {count:,} connections of {slot.owner!r}", f"{len(given):,}"
            return f"{slot.column} of {slot.owner!r} of shape {shape}", f"shape {got}"
        if slot.is_weight and not _joins_alike(network, slot, state, prefix + paths[slot.owner]):
            return f"the {network.connection_columns(slot.owner).active:,} connections of {slot.owner!r}", "other ones"
    return None


def _joins_alike(network: Network, slot: Slot, state: Mapping[str, Any], path: str) -> bool:
    """Whether the connections of a projection are the network's, as far as a state tells."""
    columns = network.connection_columns(slot.owner)
    mask, ends, sources = (state.get(f"{path}.{name}") for name in ("mask", "ends", "columns"))
    if isinstance(mask, Tensor):
        return np.array_equal(slot.spread(mask, network).cpu().numpy() != 0, columns.mask)
    if not (isinstance(ends, Tensor) and isinstance(sources, Tensor)):
        return True
    there = entries_of(ends, sources, columns.mask[0].size)
    return np.array_equal(there.cpu().numpy(), Live.of(columns).entries)
