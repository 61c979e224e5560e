"""A recipe that is told where to work and finds nothing to do there says what stands in the way."""

import re

import numpy as np
import pytest
from torch import nn, randn, sort

import nestgraph.edits as edits
from nestgraph.errors import EditError
from nestgraph.interop import import_module
from nestgraph.seeds import lenet_5, mlp, resnet
from tests.edits.test_coupling import stream
from tests.edits.test_laws import NO_RECIPES


class Sort(nn.Module):
    def forward(self, x):
        return sort(x, 1).values


def before_a_body():
    """x -> first -> sort, an opaque layer -> last."""
    return import_module(nn.Sequential(nn.Linear(8, 16), Sort(), nn.Linear(16, 2)).eval(), randn(2, 8))


def dense():
    return mlp((4, 3, 2), density=1.0, seed=0, batch_norm=False)


def frozen(network):
    return next(p.source for p in network.projections_by_name.values() if p.kind == "argument")


def dormant(network):
    return np.flatnonzero(~network.connection_columns("input_to_fc1").mask)


SPARSE = mlp((6, 5, 3), density=0.5, seed=0, batch_norm=False)
RESIDUAL = resnet(blocks=(1,), maps=(4,), size=(8, 8), seed=0)
OPAQUE = before_a_body()
FINDS_NOTHING = {
    "narrow, all frozen": (lambda: edits.narrow(OPAQUE, 0.5), "which the opaque layer"),
    "narrow, a frozen layer": (lambda: edits.narrow(OPAQUE, 0.5, [frozen(OPAQUE)]), frozen(OPAQUE)),
    "narrow, one of two": (lambda: edits.narrow(dense(), 0.5, ["fc1", "output"]), "'output', which is one of outputs"),
    "narrow, inputs": (lambda: edits.narrow(dense(), 0.5, ["input"]), "'input', which is one of inputs"),
    "narrow, a small share": (lambda: edits.narrow(dense(), 0.01), "0.01 is less than one"),
    "freeze": (lambda: edits.freeze(edits.freeze(dense(), "fc1").apply(dense()).network, "fc1"), "frozen already: fc1"),
    "thaw": (lambda: edits.thaw(dense(), "fc1"), "train already: fc1"),
    "tie": (lambda: edits.tie(dense(), "input_to_fc1", "fc1_to_output"), "'fc1_to_output', which is dense"),
    "untie": (lambda: edits.untie(dense(), "input_to_fc1"), "got weights of its own"),
    "merge_twins": (lambda: edits.merge_twins(dense(), "fc1"), "3 that differ"),
    "shift_activations": (lambda: edits.shift_activations(dense(), "relu", "tanh"), "layers with tanh"),
    "shift_activations to the same": (lambda: edits.shift_activations(dense(), "relu", "relu"), "exchange for relu"),
    "replace_activation": (lambda: edits.replace_activation(dense(), "fc1", "leaky_relu"), "which it has"),
    "replace no activation by none": (lambda: edits.replace_activation(dense(), "output", None), "none, as it has"),
    "prune_connections": (lambda: edits.prune_connections(SPARSE, {"input_to_fc1": dormant(SPARSE)}), "dormant ones"),
    "wake_connections": (lambda: edits.wake_connections(dense(), "input_to_fc1", [0]), "got active ones"),
    "shrink_areas": (lambda: edits.shrink_areas(lenet_5(), {"input_to_conv1": whole(lenet_5())}), "input_to_conv1"),
    "restore_inputs": (lambda: edits.restore_inputs(dense(), "input", [0]), "absent features"),
    "remove_units": (lambda: edits.remove_units(OPAQUE, frozen(OPAQUE), [0]), "opaque layer"),
    "remove_projection": (lambda: edits.remove_projection(OPAQUE, argument(OPAQUE)), "the body of opaque layer"),
    "grow_head": (lambda: edits.grow_head(dense(), "fc1", np.random.default_rng(0)), "heads"),
    "split_head": (lambda: edits.split_head(dense(), "fc1", 0), "heads"),
    "widen_heads": (lambda: edits.widen_heads(dense(), "fc1", 1, np.random.default_rng(0)), "heads"),
    "remove_heads": (lambda: edits.remove_heads(dense(), "fc1", [0]), "heads"),
    "grow_unit": (lambda: edits.grow_unit(OPAQUE, frozen(OPAQUE), {}), "opaque layer"),
    "bypass_layer": (lambda: edits.bypass_layer(dense(), "output"), "hidden layer"),
    "deepen": (lambda: edits.deepen(dense(), "output", "more", None), "with outgoing projections"),
    "copy_block": (lambda: edits.copy_block(dense(), "fc1", "output", "copied"), "a stream leads past"),
    "insert_skip": (lambda: edits.insert_skip(stream(), "b", "a"), "expected a target"),
    "fold_batch_norm": (lambda: edits.fold_batch_norm(dense(), "fc1"), "got none"),
    "insert_batch_norm": (lambda: edits.insert_batch_norm(normalised(), "fc1"), "got one that has a normalisation"),
    "split_unit": (lambda: edits.split_unit(dense(), "output", 0), "one of outputs"),
    "duplicate_unit": (lambda: edits.duplicate_unit(dense(), "input", 0), "one of inputs"),
    "widen": (lambda: edits.widen(OPAQUE, frozen(OPAQUE), 1, np.random.default_rng(0)), "opaque layer"),
}
NAMES_NO_TARGET = {"drop_islands", "respell_areas"}


def whole(network):
    return np.ones((len(network.units("conv1")), 1, *network.layer("conv1").size), bool)


def argument(network):
    return next(p.name for p in network.projections_by_name.values() if p.kind == "argument")


def normalised():
    return edits.insert_batch_norm(dense(), "fc1").apply(dense()).network


def test_every_recipe_has_a_row():
    recipes = {name for name in edits.__all__ if name.islower()} - NO_RECIPES - NAMES_NO_TARGET
    assert {re.split(r"[ ,]", name)[0] for name in FINDS_NOTHING} - {"replace"} == recipes


@pytest.mark.parametrize("name", FINDS_NOTHING)
def test_a_named_target_that_yields_no_edit_is_refused_with_the_obstacle(name):
    call, obstacle = FINDS_NOTHING[name]
    with pytest.raises(EditError, match="expected") as refusal:
        call()
    assert obstacle in str(refusal.value)
    assert len(str(refusal.value)) < 600


def test_what_is_held_by_an_output_is_named():
    held = [name for name in RESIDUAL.layer_names if name not in (*RESIDUAL.input_names, *RESIDUAL.output_names)]
    assert edits.narrow(RESIDUAL, 0.5, held[:1]).edits
    assert edits.narrow(RESIDUAL, 0.0).edits == ()  # nothing was asked for
