"""Edits that do not fit are refused in our own words, alone and inside a batch, and never through NumPy's."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import (
    EDIT,
    AddLayer,
    AddProjection,
    AddUnits,
    Batch,
    Block,
    Editor,
    RemoveLayer,
    RemoveProjection,
    RemoveUnits,
    SetArea,
    SetMask,
    SetOperations,
    SetValues,
    deepen,
    prune_connections,
    wake_connections,
)
from nestgraph.errors import EditError, NestgraphError
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns
from nestgraph.spec import Conv, Dense, Layer, OneToOne, Pooling
from tests.laws import quick
from tests.strategies import SEEDS, edits_for, networks


def small_network():
    """x (2 maps of 4 x 4) -> c (3 maps, conv 3 x 3, area per pair) -> d (one to one) -> y (2 neurons)."""
    layers = [
        Layer(name="x", kind="input", features=4, size=(4, 4)),
        Layer(name="c", kind="feature_maps", size=(2, 2)),
        Layer(name="d", kind="feature_maps", size=(2, 2)),
        Layer(name="y", kind="neurons", output=True),
    ]
    projections = [
        Conv(source="x", target="c", kernel=(3, 3), name="xc"),
        OneToOne(source="c", target="d", name="cd"),
        Dense(source="d", target="y", name="dy"),
    ]
    counts = {"x": 2, "c": 3, "d": 3, "y": 2}
    units = {layer.name: UnitColumns.neutral(counts[layer.name], layer.column_names) for layer in layers}
    connections = {
        "xc": Grid.of(np.ones((3, 2, 3, 3)), area=np.ones((3, 2, 2, 2), bool)),
        "cd": Links.of(np.ones(3), links=[[0, 0], [1, 1], [2, 2]]),
        "dy": Grid.of(np.ones((2, 3, 2, 2))),
    }
    return Network.of(Structure(layers, projections, units, connections))


def block(*shape, mask=None, **rest):
    return Block(weight=np.ones(shape, np.float32), mask=np.ones(mask or shape, bool), **rest)


NEURONS = Layer(name="new", kind="neurons")
ONE_MASK = {"active": [False], "weights": [0.0]}
REFUSED = [
    AddLayer(layer=NEURONS, ids=[[1]]),
    AddLayer(layer=NEURONS, ids=3),
    AddLayer(layer=NEURONS, ids=[0], values={"bias": [1.0, 2.0]}),
    AddLayer(layer=NEURONS, ids=[0], values={"gamma": [1.0]}),
    AddLayer(layer=Layer(name="c", kind="neurons"), ids=[0]),
    RemoveLayer(layer="c"),
    RemoveLayer(layer="nobody"),
    RemoveProjection(projection="nobody"),
    AddProjection(projection=Dense(source="c", target="nobody"), connections=block(1, 1)),
    AddProjection(projection=Dense(source="c", target="y", name="dy"), connections=block(2, 3, 2, 2)),
    AddProjection(projection=Dense(source="c", target="y"), connections=block(2, 3)),
    AddProjection(projection=Dense(source="c", target="y"), connections=block(2, 4, 2, 2)),
    AddProjection(projection=Dense(source="c", target="y"), connections=block(2, 3, 2, 2, mask=(2, 3))),
    AddProjection(projection=OneToOne(source="c", target="d"), connections=block(3)),
    AddProjection(projection=OneToOne(source="c", target="d"), connections=block(3, links=[0, 1, 2])),
    AddProjection(projection=OneToOne(source="c", target="d"), connections=block(2, links=[[0, 0], [1, 1], [2, 2]])),
    AddProjection(projection=OneToOne(source="c", target="d"), connections=block(1, links=[[7, 0]])),
    AddProjection(projection=OneToOne(source="c", target="d"), connections=block(1, 3, 3, links=[[0, 0]])),
    AddProjection(projection=Dense(source="c", target="y"), connections=block(2, 3, 2, 2, area=np.ones((2, 3), bool))),
    AddUnits(layer="c", ids=[0]),
    AddUnits(layer="c", ids=[5, 5]),
    AddUnits(layer="c", ids=[[5]]),
    AddUnits(layer="c", ids=5),
    AddUnits(layer="nobody", ids=[]),
    AddUnits(layer="c", ids=[5], positions=[9]),
    AddUnits(layer="c", ids=[5], positions=[[1]]),
    AddUnits(layer="c", ids=[5, 6], positions=[1, 0]),
    AddUnits(layer="c", ids=[5], positions=[-1]),
    AddUnits(layer="c", ids=[5], values={"gamma": [1.0]}),
    AddUnits(layer="c", ids=[5], values={"bias": [1.0, 2.0]}),
    AddUnits(layer="c", ids=[5], blocks={"dy": block(2, 1, 2, 2)}),
    AddUnits(layer="c", ids=[5], blocks={"xc": block(1, 2, 3)}),
    AddUnits(layer="c", ids=[5], blocks={"xc": block(1, 2, 3, 3, mask=(1, 2))}),
    AddUnits(layer="c", ids=[5], blocks={"xc": block(1, 2, 3, 3, area=np.ones((1, 1, 2, 2), bool))}),
    AddUnits(layer="c", ids=[5], blocks={"xc": block(1, 2, 3, 3), "cd": block(1)}),
    AddUnits(layer="c", ids=[5], blocks={"xc": block(1, 2, 3, 3), "cd": block(1, links=[5, 0])}),
    AddUnits(layer="c", ids=[5], blocks={"xc": block(1, 2, 3, 3), "cd": block(2, links=[[5, 0]])}),
    AddUnits(layer="d", ids=[5], blocks={"cd": block(2, links=[[0, 5], [1, 1]]), "dy": block(2, 1, 2, 2)}),
    AddUnits(layer="d", ids=[5], blocks={"cd": block(1, 3, 3, links=[[0, 5]]), "dy": block(2, 1, 2, 2)}),
    AddUnits(layer="d", ids=[5], blocks={"dy": block(2, 1, 2, 2, area=np.ones((2, 1), bool))}),
    RemoveUnits(layer="c", units=[9]),
    RemoveUnits(layer="c", units=[0, 0]),
    RemoveUnits(layer="c", units=[[0]]),
    RemoveUnits(layer="c", units=0),
    SetMask(projection="dy", entries=[24], **ONE_MASK),
    SetMask(projection="dy", entries=[-1], **ONE_MASK),
    SetMask(projection="dy", entries=[[1]], active=[[False]], weights=[[0.0]]),
    SetMask(projection="dy", entries=[1, 2], **ONE_MASK),
    SetMask(projection="dy", entries=[1, 1], active=[False, False], weights=[0.0, 0.0]),
    SetMask(projection="dy", entries=[1], active=[False], weights=[0.5]),
    SetArea(projection="dy", area=np.ones((1, 1, 1, 1), bool)),
    SetArea(projection="xc", area=np.ones((3, 2), bool)),
    SetArea(projection="xc", area=np.ones((3, 2, 9, 9), bool)),
    SetValues(weights={"dy": [1.0]}),
    SetValues(units={"x": {"bias": [1.0, 2.0]}}),
    SetValues(units={"y": {"bias": [1.0]}}),
    SetOperations(layer="y", operations=[Pooling(function="max", kernel=(2, 2), stride=(2, 2))], bias=True),
    SetOperations(layer="c", operations=[Pooling(function="max", kernel=(9, 9), stride=(2, 2))], bias=True),
    SetOperations(layer="c", operations=[], bias=True, values={"gamma": [1.0, 1.0, 1.0]}),
    SetOperations(layer="c", operations=[], bias=True, values={"bias": [1.0]}),
]


@pytest.mark.parametrize("edit", REFUSED, ids=lambda edit: edit.kind)
def test_edits_that_do_not_fit_are_refused(edit):
    network = small_network()
    for form in (edit, Batch(edits=[edit]), EDIT.validate_json(EDIT.dump_json(edit))):
        with pytest.raises(EditError, match=r"expected|cannot lead") as refusal:
            form.apply(network)
        assert len(str(refusal.value)) < 700
        assert not Editor(network).preview(form).legal


@pytest.mark.parametrize(
    "attempt",
    [
        lambda n: prune_connections(n, {"dy": [24]}),
        lambda n: prune_connections(n, {"dy": np.array([0.5])}),
        lambda n: prune_connections(n, {"dy": np.ones(24, bool)}),
        lambda n: prune_connections(n, {"dy": [-1]}),
        lambda n: wake_connections(n, "dy", [99]),
        lambda n: wake_connections(n, "dy", [0]),
        lambda n: deepen(n, "c", "not a name"),
    ],
)
def test_recipes_refuse_what_is_no_position_or_name(attempt):
    with pytest.raises(EditError, match="expected"):
        attempt(small_network())


@quick(40)
@given(one=networks(), other=networks(), data=st.data(), seed=SEEDS)
def test_edits_of_another_network_never_give_a_foreign_error(one, other, data, seed):
    """Edits made for one network, applied in any order to another: legal or refused, nothing else."""
    edits = [data.draw(edits_for(other)) for _ in range(2)]
    order = np.random.default_rng(seed).permutation(2)
    for edit in (*edits, Batch(edits=[edits[place] for place in order])):
        try:
            applied = edit.apply(one)
        except NestgraphError:
            continue
        assert applied.inverse.apply(applied.network).network == one


PLAIN, PER_MAP, PER_PAIR = None, (2, 1, 2, 2), (2, 2, 2, 2)


@pytest.mark.parametrize(("area", "gone"), list(product((PLAIN, PER_MAP, PER_PAIR), ([0], [1], [0, 1]))))
def test_areas_come_back_bit_for_bit_when_sources_do(area, gone):
    """One area per output map over a single source looks like one per pair: undo must tell them apart."""
    layers = [
        Layer(name="x", kind="input", features=2, size=(2, 2)),
        Layer(name="y", kind="feature_maps", size=(2, 2), output=True),
    ]
    rng = np.random.default_rng(0)
    mask = None if area is None else rng.random(area) < 0.5
    columns = Grid.of(rng.standard_normal((2, 2, 1, 1)), area=mask)
    units = {"x": UnitColumns.neutral(2, ()), "y": UnitColumns.neutral(2, ("bias",))}
    network = Network.of(
        Structure(layers, [Conv(source="x", target="y", kernel=(1, 1), name="xy")], units, {"xy": columns})
    )
    removed, inverse = RemoveUnits(layer="x", units=gone).change(network)
    assert Network.of(inverse.change(removed)[0]) == network


def test_units_added_to_a_single_source_share_the_area_of_the_map():
    layers = [
        Layer(name="x", kind="input", features=2, size=(1, 2)),
        Layer(name="y", kind="feature_maps", size=(1, 2), output=True),
    ]
    columns = Grid.of(np.ones((1, 1, 1, 1)), area=[[[[True, False]]]])
    units = {"x": UnitColumns.neutral(1, ()), "y": UnitColumns.neutral(1, ("bias",))}
    network = Network.of(
        Structure(layers, [Conv(source="x", target="y", kernel=(1, 1), name="xy")], units, {"xy": columns})
    )
    shared = AddUnits(layer="x", ids=[1], blocks={"xy": block(1, 1, 1, 1)}).apply(network)
    assert shared.network.connection_columns("xy").area.tolist() == [[[[True, False]]]]
    own = block(1, 1, 1, 1, area=[[[[False, True]]]])
    paired = AddUnits(layer="x", ids=[1], blocks={"xy": own}).apply(network)
    assert paired.network.connection_columns("xy").area.tolist() == [[[[True, False]], [[False, True]]]]
    assert shared.inverse.apply(shared.network).network == paired.inverse.apply(paired.network).network == network
