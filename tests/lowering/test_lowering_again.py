"""Lowering a network again after an edit costs what the edit changed: the rest passes on as the same tensors."""

import numpy as np
import pytest
import torch

from nestgraph.edits import SetValues, remove_units
from nestgraph.errors import LoweringError
from nestgraph.lowering import emission, lower, slots
from nestgraph.seeds import cnn, mlp


def copied(monkeypatch, *arguments, **options):
    """The module that `lower` gives, and how many tensors it copied from columns."""
    calls = []
    monkeypatch.setattr(emission, "as_tensor", lambda values, *more: calls.append(1) or torch.tensor(values, *more))
    module = lower(*arguments, **options)
    monkeypatch.undo()
    return module, len(calls)


def tensors_of(network, module):
    return {(slot.owner, slot.column): slot.tensor(module) for slot in slots(network)}


def test_what_an_edit_left_alone_is_the_same_tensor(monkeypatch):
    before = mlp((12, 9, 8, 7, 5), 0.6, 0)
    module = lower(before)
    after = remove_units(before, "fc3", [2, 4]).apply(before).network
    again, copies = copied(monkeypatch, after, like=(before, module))
    old, new = tensors_of(before, module), tensors_of(after, again)
    shared = {key for key in new if new[key] is old.get(key)}
    assert {owner for owner, _ in new.keys() - shared} == {"fc3", "fc2_to_fc3", "fc3_to_output"}
    assert copies == 8  # weight and mask of two projections, four columns of the normalised layer
    inputs = torch.rand(5, 12)
    assert torch.equal(again.eval()(inputs), lower(after).eval()(inputs))


def test_an_unchanged_network_copies_nothing(monkeypatch):
    network = cnn((3, 4), (6,), 0.5, 0, size=12, channels=1, classes=3)
    again, copies = copied(monkeypatch, network, like=(network, lower(network)))
    assert copies == 0
    inputs = torch.rand(4, 1, 12, 12)
    assert torch.equal(again(inputs), lower(network)(inputs))


def test_new_values_are_copied_and_their_masks_are_not(monkeypatch):
    before = mlp((6, 5, 4), 0.5, 0)
    name = "input_to_fc1"
    live = np.arange(before.connection_columns(name).active, dtype=np.float32)
    after = SetValues(weights={name: live}).apply(before).network
    again, copies = copied(monkeypatch, after, like=(before, lower(before)))
    assert copies == 1
    assert torch.equal(again(torch.rand(3, 6)).isfinite().all(), torch.tensor(True))
    columns = after.connection_columns(name)
    np.testing.assert_array_equal(tensors_of(after, again)[name, "weight"].detach().numpy(), columns.weight)


def test_a_module_of_another_network_gives_up_nothing():
    one, other = mlp((6, 5, 4), 0.5, 0), mlp((6, 7, 4), 0.5, 0)
    with pytest.raises(LoweringError, match="layer 'fc1'"):
        lower(one, like=(one, lower(other)))
