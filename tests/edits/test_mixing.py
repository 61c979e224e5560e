"""What edits ask an operation is true of it, and preserving edits hold beside one that mixes units, whichever it is."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from nestgraph.edits import PRESERVING, SetMask, drop_islands
from nestgraph.graph import Network, UnitColumns
from nestgraph.graph.columns import Links
from nestgraph.graph.geometry import output_size
from nestgraph.graph.reference import activate
from nestgraph.spec import (
    Activation,
    AdaptivePooling,
    BatchNorm,
    Dropout,
    Layer,
    LocalResponseNorm,
    Norm,
    Pad,
    ParametricReLU,
    Pick,
    Pooling,
    Series,
    Softmax,
    Upsampling,
)
from nestgraph.spec.operations import OPERATIONS, ActivationFunction, Facts
from tests.laws import assert_same_outputs, outputs_of, quick, unless_refused
from tests.strategies import SEEDS, inputs_for, networks
from tests.strategies.networks import columns_for
from tests.strategies.recipes import RECIPE_CASES, hidden_layers

OPTIONS = {
    "clamp": {"low": -0.5},
    "hard_shrink": {"high": 0.7},
    "soft_shrink": {"high": 0.7},
    "threshold": {"low": 0.2, "value": 3.0},
    "power": {"exponent": 3.0},
}
PARTIAL = frozenset({"log", "sqrt", "rsqrt", "log1p", "log2", "log10", "logit", "asin", "acos", "acosh", "atanh"})
"""Functions that are no number for some."""
EXAMPLES = {
    BatchNorm: [BatchNorm()],
    Activation: [
        Activation(function=function, **OPTIONS.get(function, {}))
        for function in get_args(ActivationFunction)
        if function not in PARTIAL
    ],
    ParametricReLU: [ParametricReLU()],
    Pooling: [Pooling(function=function, kernel=(2, 2), stride=(1, 1)) for function in ("max", "average")],
    AdaptivePooling: [AdaptivePooling(function=function, size=(2, 2)) for function in ("max", "average")],
    Pick: [Pick(place=(1, -1)), Pick(place=(1, 1))],
    Upsampling: [Upsampling(mode=mode, size=(6, 6)) for mode in ("nearest", "bilinear")],
    LocalResponseNorm: [LocalResponseNorm(size=3, alpha=1.0)],
    Norm: [
        Norm(over="units", count=6),
        Norm(over="units", count=4, center=False, beta=False, gamma=False),
        Norm(over="units", groups=2, count=6, center=False, beta=False),
        Norm(over="both", groups=2, count=6, gamma=False),
        Norm(over="both", groups=2, count=4, divisors=(2, 3), center=False, beta=False),
        Norm(over="places"),
    ],
    Dropout: [Dropout(probability=0.5)],
    Softmax: [Softmax(), Softmax(causal=True)],
    Pad: [
        Pad(before=(1, 0), after=(-1, 2), value=0.5),
        *(Pad(before=(1, 0), after=(0, 2), mode=mode) for mode in ("reflect", "replicate", "circular")),
    ],
    Series: [Series(), Series(after=3), Series(before=1, after=2)],
}


def test_every_operation_has_an_example():
    assert set(OPERATIONS) == set(EXAMPLES)


@pytest.mark.parametrize("operation", [one for many in EXAMPLES.values() for one in many], ids=repr)
def test_what_an_operation_declares_is_what_it_does(operation):
    rng = np.random.default_rng(0)
    layer = Layer(name="a", kind="feature_maps", size=(4, 4), operations=(operation,))
    columns = UnitColumns.of(np.arange(5), columns_for(layer, 5, rng))
    total = rng.standard_normal((3, 5, 4, 4))
    moved, facts = total.copy(), operation.facts
    moved[:, 2, 1, 1] += 1.0
    now, before = activate(layer, columns, moved), activate(layer, columns, total)
    assert now.shape[2:] == before.shape[2:] == operation.resized(layer.size) == output_size(layer)
    changed = np.delete(now != before, 2, axis=1).any()
    assert changed == (facts.reach == "layer") == layer.mixes_units
    mixed = operation.mixed(columns.ids)
    touched = (now != before).any(axis=(0, *range(2, now.ndim)))
    assert set(np.flatnonzero(touched)) <= set(np.flatnonzero(mixed == mixed[2]))
    if facts.reach == "value":
        assert np.count_nonzero(now != before) <= len(total)
    if facts.keeps_sign:
        assert (activate(layer, columns, np.abs(total)) >= 0).all()
    if facts.never_negative:
        assert not (before < 0).any()
    if facts.rises:
        assert (activate(layer, columns, total + np.abs(moved)) >= before).all()
    if facts.takes_largest:
        assert np.isin(before, total).all()
        for function in (Activation(function="relu"), Activation(function="clamp", low=-0.5, high=0.5)):
            behind, ahead = (
                Layer(name="a", kind="feature_maps", size=(4, 4), operations=order)
                for order in ((operation, function), (function, operation))
            )
            np.testing.assert_array_equal(activate(behind, columns, total), activate(ahead, columns, total))
    if facts.idle:
        np.testing.assert_array_equal(before, total)
    assert facts.resizes or operation.resized(layer.size) == layer.size
    assert not facts.settles or operation.resized((7, 9)) == operation.resized(layer.size)
    affine = operation.affine({name: values.astype(float) for name, values in columns.values.items()})
    if affine is not None:
        scale, centre, shift = (values.reshape(-1, 1, 1) for values in affine)
        np.testing.assert_allclose(before, (total - centre) * scale + shift, rtol=1e-6)
    assert {facts.subtracts, facts.adds} - {None} <= {column.name for column in operation.columns}


def cut_off(network, layer, unit, axis):
    """The structure in which nothing feeds a unit (axis 0), or nothing reads it (axis 1)."""
    structure, place = network, network.unit_columns(layer).position[unit]
    for projection in network.summed(layer) if axis == 0 else network.outgoing(layer):
        columns = network.connection_columns(projection.name)
        if not columns.mask.size or projection.gates:  # no gate is ever dormant
            return None
        if isinstance(columns, Links):
            chosen = columns.links[:, 1 - axis] == unit
        else:
            chosen = (np.arange(columns.mask.shape[axis]) == place).reshape((-1, 1) if axis == 0 else (1, -1))
        shape = (*chosen.shape, *[1] * (columns.mask.ndim - chosen.ndim))
        entries = np.flatnonzero(columns.mask & chosen.reshape(shape))
        dormant = np.zeros(len(entries), bool)
        edit = SetMask(projection=projection.name, entries=entries, active=dormant, weights=dormant.astype(np.float32))
        structure = edit.change(structure)[0]
    return structure


class OverUnits(Dropout):
    """A softmax over units."""

    @property
    def facts(self):
        return Facts()

    def apply(self, x, values, ids):  # noqa: ARG002
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True) * 3


def mixed_by(network, names):
    """The network whose layers of these names end in an operation that no edit has heard of: a softmax over units."""
    layers = {name: network.layer(name) for name in names}
    ends = {name: (*layer.operations, OverUnits(probability=0.0)) for name, layer in layers.items()}
    mixed = {name: layer.model_copy(update={"operations": ends[name]}) for name, layer in layers.items()}
    return Network.of(network.replace(layers=mixed)).with_bodies(network.bodies)


@pytest.mark.parametrize("axis", [0, 1], ids=["unfed", "unread"])
@quick(60)
@given(network=networks(), data=st.data())
def test_dropping_islands_leaves_the_outputs_or_is_refused(axis, network, data):
    assume(hidden_layers(network))
    names = data.draw(st.lists(st.sampled_from(hidden_layers(network)), max_size=2, unique=True))
    network = mixed_by(network, names)
    layer = data.draw(st.sampled_from(hidden_layers(network)))
    structure = cut_off(network, layer, data.draw(st.sampled_from(network.units(layer).tolist())), axis)
    assume(structure is not None)
    edit = unless_refused(lambda: drop_islands(structure))
    event("refused" if edit is None else f"{len(edit.edits)} edits")
    if edit is None:
        return
    after = Network.of(edit.change(structure)[0]).with_bodies(
        {name: body for name, body in network.bodies.items() if edit.change(structure)[0].has_layer(name)}
    )
    inputs = inputs_for(network, 3, np.random.default_rng(0))
    before, now = outputs_of(structure, inputs), outputs_of(after, inputs)
    for name, values in before.items():
        scale = max(1.0, float(np.abs(values).max()))
        np.testing.assert_allclose(now[name], values, rtol=0, atol=PRESERVING["drop_islands"] * scale)


RECIPES = [recipe for recipe in RECIPE_CASES if recipe.__name__ in PRESERVING]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
@quick(30)
@given(network=networks(), data=st.data())
def test_preserving_recipes_hold_where_an_unknown_operation_mixes_units(recipe, network, data):
    assume(hidden_layers(network))
    names = data.draw(st.lists(st.sampled_from(hidden_layers(network)), min_size=1, unique=True))
    mixed = mixed_by(network, names)
    rng = np.random.default_rng(data.draw(SEEDS))
    edit = unless_refused(lambda: RECIPE_CASES[recipe](data.draw, mixed, rng))
    event("refused" if edit is None else "made")
    if edit is not None:
        after = Network.of(edit.change(mixed)[0]).with_bodies(mixed.bodies)
        assert_same_outputs(mixed, after, PRESERVING[recipe.__name__])
