"""The laws that every edit keeps, checked by one helper; and the settings of property tests."""

import os
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import HealthCheck, settings

from nestgraph.edits import EDIT, Applied, Batch, Edit, IndexMap, diff
from nestgraph.errors import EditError
from nestgraph.graph import Network, violations
from nestgraph.graph.digest import digest
from nestgraph.graph.reference import forward
from tests.strategies import inputs_for

T = TypeVar("T")
EXAMPLES = os.environ.get("EXAMPLES")
SHARE = 1.0 if os.environ.get("THOROUGH") else 0.4


def quick(examples: int = 20) -> settings:
    """Settings of a property test: the same examples each time, two in five when quick, or EXAMPLES random ones.

    Of ten or fewer none is left out.
    """
    return settings(
        max_examples=int(EXAMPLES or max(min(10, examples), SHARE * examples)),
        derandomize=EXAMPLES is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def fresh_digest(network: Network) -> str:
    """The digest computed anew from the arrays, whatever the network remembers."""
    return digest(network)


def outputs_of(network: Network, inputs) -> dict[str, np.ndarray]:
    """The reference outputs of the output layers, float64."""
    values = forward(network, inputs)
    return {name: values[name] for name in network.output_names}


def assert_same_outputs(old: Network, new: Network, tolerance: float, seed: int = 0) -> None:
    """Both networks give the same for normal inputs, within a tolerance relative to the largest output."""
    inputs = inputs_for(old, 3, np.random.default_rng(seed))
    kept = {name: inputs[name] for name in new.input_names}
    before, after = outputs_of(old, inputs), outputs_of(new, kept)
    assert before.keys() == after.keys()
    for name, values in before.items():
        scale = max(1.0, float(np.abs(values).max()))
        np.testing.assert_allclose(after[name], values, rtol=0, atol=tolerance * scale)


def unless_refused(attempt: Callable[[], T]) -> T | None:
    """What an attempt gives; None where it is refused with a reason."""
    try:
        return attempt()
    except EditError as refusal:
        reason = str(refusal)
    assert "expected" in reason or "cannot" in reason, reason
    return None


def check_laws(network: Network, edit: Edit, preserves: float | None = None) -> Applied | None:
    """Check every law for one edit; None where the edit is refused, as it says why and leaves no trace.

    Args:
        network: where the edit starts.
        edit: any edit.
        preserves: where the edit is declared function-preserving, the tolerance within which it is.
    """
    start = fresh_digest(network)
    applied = unless_refused(lambda: edit.apply(network))
    if applied is None:
        assert fresh_digest(network) == start
        return None
    assert violations(applied.network.replace()) == ()
    assert fresh_digest(network) == start
    _check_columns(applied, made_anew=isinstance(edit, Batch))
    undone = _check_undo(applied, start)
    _check_json(network, edit, applied.network)
    _check_json(applied.network, applied.inverse, network)
    assert edit.apply(undone).network == applied.network
    _check_index_map(applied, undone)
    _check_difference(network, applied.network)
    _check_difference(applied.network, network)
    if preserves is not None:
        assert_same_outputs(network, applied.network, preserves)
    return applied


def _check_undo(applied: Applied, start: str) -> Network:
    back = applied.inverse.apply(applied.network)
    assert fresh_digest(back.network) == start
    again = back.inverse.apply(back.network)
    assert fresh_digest(again.network) == fresh_digest(applied.network)
    return back.network


def _check_json(network: Network, edit: Edit, expected: Network) -> None:
    read = EDIT.validate_json(EDIT.dump_json(edit))
    assert read == edit
    assert hash(read) == hash(edit)
    assert read.apply(network).network == expected


def _check_index_map(applied: Applied, undone: Network) -> None:
    old, new = applied.before, applied.network
    for name in new.layer_names:
        positions = applied.index_map.old_positions[name]
        ids = old.units(name) if old.has_layer(name) else np.array([], np.int64)
        assert len(positions) == len(new.units(name))
        for unit, position in zip(new.units(name), positions, strict=True):
            assert (ids[position] == unit) if position >= 0 else unit not in ids
    there_and_back = applied.index_map.then(IndexMap.between(new, undone))
    for name in undone.layer_names:
        survivors = np.isin(undone.units(name), new.units(name)) if new.has_layer(name) else np.array([False])
        expected = np.where(survivors, np.arange(len(undone.units(name))), -1)
        np.testing.assert_array_equal(there_and_back.old_positions[name], expected)


def _check_difference(old: Network, new: Network) -> None:
    batch = diff(old, new)
    assert batch.apply(old).network == new
    assert bool(batch.edits) == (old != new)


def _check_columns(applied: Applied, made_anew: bool) -> None:
    """No array can be written to, and no id is free again, unless the edit may make a layer anew."""
    old, new = applied.before, applied.network
    for name in new.layer_names:
        columns = new.unit_columns(name)
        assert not any(array.flags.writeable for array in (columns.ids, *columns.values.values()))
        if old.has_layer(name) and not made_anew:
            assert columns.next_id >= old.unit_columns(name).next_id
    for name in new.projection_names:
        assert not any(array.flags.writeable for array in new.connection_columns(name).arrays.values())
