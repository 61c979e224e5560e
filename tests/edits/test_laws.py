"""Every edit kind and every recipe function keeps the laws."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

import nestgraph.edits as edits_package
from nestgraph.edits import (
    AnyEdit,
    Batch,
    SetValues,
    deepen,
    drop_islands,
    fold_batch_norm,
    grow_unit,
    prune_connections,
    remove_units,
    shift_activations,
    shrink_areas,
    split_unit,
    wake_connections,
)
from nestgraph.graph import Network
from nestgraph.spec import Conv, OneToOne
from tests.laws import check_laws, quick, unless_refused
from tests.strategies import EDIT_CASES, SEEDS, areas, edits_for, networks, sparse


def hidden_layers(network):
    return [n for n in network.layer_names if network.layer(n).kind != "input" and not network.layer(n).output]


def some_layer(draw, network):
    names = hidden_layers(network)
    assume(names)
    return draw(st.sampled_from(names))


def some_entries(draw, network, active, rng):
    name = draw(st.sampled_from(network.projection_names))
    places = np.flatnonzero(network.connection_columns(name).mask == active)
    return name, rng.permutation(places)[: draw(st.integers(0, 3))]


def some_convolution(draw, network):
    names = [name for name in network.projection_names if isinstance(network.projection(name), Conv)]
    assume(names)
    name = draw(st.sampled_from(names))
    shape = network.connection_columns(name).weight.shape
    return name, shape, network.layer(network.projection(name).target).size


def _prune(draw, network, rng):
    return prune_connections(network, dict([some_entries(draw, network, True, rng)]))


def _wake(draw, network, rng):
    name, entries = some_entries(draw, network, False, rng)
    weights = rng.standard_normal(len(entries)) if draw(st.booleans()) else None
    return wake_connections(network, name, entries, weights)


def _remove(draw, network, rng):
    layer = draw(st.sampled_from(network.layer_names))
    return remove_units(network, layer, rng.permutation(network.units(layer))[: draw(st.integers(0, 2))])


def _drop(draw, network, rng):  # noqa: ARG001
    return drop_islands(network)


def _grow(draw, network, rng):
    layer = some_layer(draw, network)
    weights = {}
    for projection in (*network.incoming(layer), *network.outgoing(layer)):
        assume(not isinstance(projection, OneToOne))
        shape = list(network.connection_columns(projection.name).weight.shape)
        del shape[0 if projection.target == layer else 1]
        weights[projection.name] = sparse((1, *shape), 0.6, rng).weight[0]
    return grow_unit(network, layer, weights)


def _split(draw, network, rng):
    layer = some_layer(draw, network)
    return split_unit(network, layer, int(rng.choice(network.units(layer))))


def _deepen(draw, network, rng):  # noqa: ARG001
    return deepen(network, some_layer(draw, network), "deeper")


def _shift(draw, network, rng):  # noqa: ARG001
    return shift_activations(network, "relu", draw(st.sampled_from(("leaky_relu", "tanh"))))


def _fold(draw, network, rng):  # noqa: ARG001
    return fold_batch_norm(network, some_layer(draw, network))


def _shrink(draw, network, rng):
    name, shape, size = some_convolution(draw, network)
    area = draw(areas(shape, size, rng))
    return shrink_areas(network, {} if area is None else {name: area})


RECIPE_CASES = {
    prune_connections: (_prune, None),
    wake_connections: (_wake, None),
    remove_units: (_remove, None),
    drop_islands: (_drop, 0.0),
    grow_unit: (_grow, None),
    split_unit: (_split, 1e-12),
    deepen: (_deepen, 1e-12),
    shift_activations: (_shift, None),
    fold_batch_norm: (_fold, 1e-4),
    shrink_areas: (_shrink, None),
}
"""For each recipe function a case, and the tolerance where it is declared function-preserving."""

NO_RECIPES = {"diff", "normalisation_factor"}


def test_every_edit_kind_and_recipe_has_a_case():
    assert set(EDIT_CASES) == set(get_args(get_args(AnyEdit)[0]))
    functions = {name for name in edits_package.__all__ if name.islower()}
    assert {recipe.__name__ for recipe in RECIPE_CASES} == functions - NO_RECIPES


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
@quick(30)
@given(network=networks(), data=st.data())
def test_edits_keep_the_laws(kind, network, data):
    applied = check_laws(network, data.draw(edits_for(network, (kind,))))
    event("legal" if applied else "refused")


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
def test_every_kind_has_legal_cases(kind):
    legal = []

    @quick(20)
    @given(network=networks(), data=st.data())
    def search(network, data):
        edit = data.draw(edits_for(network, (kind,)))
        kinds = {type(part) for part in edit.edits} if isinstance(edit, Batch) else {type(edit)}
        if kind in kinds | {Batch if isinstance(edit, Batch) else None}:
            legal.append(unless_refused(lambda: edit.apply(network)))

    search()
    assert any(legal)


@pytest.mark.parametrize("recipe", RECIPE_CASES, ids=lambda recipe: recipe.__name__)
@quick(30)
@given(network=networks(), data=st.data())
def test_recipes_keep_the_laws(recipe, network, data):
    case, preserves = RECIPE_CASES[recipe]
    rng = np.random.default_rng(data.draw(SEEDS))
    edit = unless_refused(lambda: case(data.draw, network, rng))
    if edit is not None:
        applied = check_laws(network, edit, preserves)
        assert applied or recipe in (wake_connections, grow_unit), "a recipe gives a legal edit or refuses itself"


@quick(10)
@given(network=networks())
def test_an_empty_batch_changes_nothing(network):
    applied = check_laws(network, Batch(edits=()), preserves=0.0)
    assert applied.network is network


@quick(20)
@given(network=networks(), data=st.data())
def test_removing_a_unit_that_nothing_heeds_leaves_the_output(network, data):
    layer = some_layer(data.draw, network)
    unit = data.draw(st.sampled_from(network.units(layer).tolist()))
    silent = Network.of(_silenced(network, layer, unit))
    edit = unless_refused(lambda: remove_units(silent, layer, [unit]))
    assume(edit)  # else an output hangs on this unit
    assume(not any(isinstance(part, SetValues) for part in edit.edits))  # constants: tests/edits/test_islands.py
    assert check_laws(silent, edit, preserves=1e-12)


def _silenced(network, layer, unit):
    """The network with weight 0 on all that leaves a unit; the connections stay active."""
    place = network.unit_columns(layer).position[unit]
    changed = {}
    for projection in network.outgoing(layer):
        columns = network.connection_columns(projection.name)
        weight = columns.weight.copy()
        if columns.links is None:
            weight[:, place] = 0
        else:
            weight[columns.links[:, 0] == unit] = 0
        changed[projection.name] = columns.with_weight(weight)
    return network.replace(connections=changed)
