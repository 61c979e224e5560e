"""A policy that finds nothing to do says what is lacking, and that is lacking indeed."""

import re
from contextlib import suppress
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import prune_connections
from nestgraph.errors import EditError
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns
from nestgraph.policies import (
    AreaPruning,
    ConnectionGrowth,
    Evidence,
    GrowthPolicy,
    HeadGrowth,
    ImportancePruning,
    MagnitudePruning,
    MapGrowth,
    NeuronGrowth,
    PruningPolicy,
    RandomGrowth,
    RandomPruning,
    RigL,
    SkipGrowth,
    Snip,
    SparseEvolution,
    UnitPruning,
)
from nestgraph.policies.policy import plastic_projections
from nestgraph.seeds import cnn, mlp
from nestgraph.spec import Conv, Dense, Layer, OneToOne
from tests.laws import quick
from tests.policies.attention import over_two
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, networks

POLICIES = {each for union in (GrowthPolicy, PruningPolicy) for each in get_args(get_args(union)[0])}
FULL, HALF, SHALLOW = mlp((4, 3, 2), 1.0, 0), mlp((6, 5, 4, 3), 0.5, 0), mlp((4, 2), 1.0, 0)
MAPS = cnn((4,), (6,), size=8, classes=3)
ALL = mlp((2, 2), 1.0, 0)
ONE_WAY = prune_connections(ALL, {"input_to_output": np.array([0, 3])}).apply(ALL).network
"""One connection into each output."""


def gated():
    """An output of neurons, gated by the only hidden maps, of size (1, 1)."""
    layers = (
        Layer(name="x", kind="input", features=2, size=(3, 3)),
        Layer(name="g", kind="feature_maps", size=(1, 1)),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (
        Conv(source="x", target="g", kernel=(3, 3)),
        Dense(source="x", target="y"),
        OneToOne(source="g", target="y", gate=True),
    )
    links = np.stack([np.arange(2)] * 2, 1)
    columns = Grid.of(np.ones((2, 2, 3, 3))), Grid.of(np.ones((2, 2, 3, 3))), Links.of(np.ones(2), links=links)
    connections = {p.name: found for p, found in zip(projections, columns, strict=True)}
    units = {layer.name: UnitColumns.neutral(2, layer.column_names) for layer in layers}
    return Network.of(Structure(layers, projections, units, connections))


GATED = gated()
HEADED, *_ = over_two()


def drawn(network, value=None):
    draw = None if value is None else lambda shape: np.full(shape, value)
    return evidence_for(network, np.random.default_rng(0), draw)


def changed(evidence, **kinds):
    return Evidence(**{name: kinds.get(name, getattr(evidence, name)) for name in Evidence.__dataclass_fields__})


def hopeless(network):
    return changed(drawn(network), loss=lambda _: np.nan)


def loud(network):
    return changed(drawn(network), activity={name: np.ones(len(network.units(name))) for name in network.layer_names})


def mute(network):
    responses = {name: np.full_like(value, np.nan) for name, value in drawn(network).responses.items()}
    return changed(drawn(network), responses=responses)


CASES = (
    (ConnectionGrowth(), FULL, drawn(FULL), "no connection is dormant"),
    (ConnectionGrowth(), HALF, drawn(HALF, 0.0), r"no dormant connection has a finite \|gradient\| other than 0"),
    (ConnectionGrowth(), HALF, drawn(HALF, np.nan), r"no dormant connection has a finite \|gradient\|"),
    (ConnectionGrowth(projections=("no",)), HALF, drawn(HALF), "no projection among no has trained connections"),
    (RandomGrowth(), FULL, drawn(FULL), "no connection is dormant"),
    (RigL(), HALF, drawn(HALF, 0.0), r"no dormant connection has a finite \|gradient\|"),
    (RigL(), FULL, drawn(FULL), "no connection is dormant"),
    (RigL(projections=("no",)), HALF, drawn(HALF), "no projection among no"),
    (RigL(), ONE_WAY, drawn(ONE_WAY), "an output unit.* needs each connection that is left"),
    (SparseEvolution(), FULL, drawn(FULL), "no connection is dormant"),
    (MagnitudePruning(), ONE_WAY, drawn(ONE_WAY), "an output unit.* needs each connection that is left"),
    (MagnitudePruning(projections=("no",)), HALF, drawn(HALF), "no projection among no"),
    (RandomPruning(), ONE_WAY, drawn(ONE_WAY), "an output unit.* needs each connection that is left"),
    (Snip(), ONE_WAY, drawn(ONE_WAY), "an output unit.* needs each connection that is left"),
    (UnitPruning(), SHALLOW, drawn(SHALLOW), "no layer is hidden"),
    (UnitPruning(), HALF, drawn(HALF), "a share of 0.1 is no whole unit of any hidden layer"),
    (UnitPruning(fraction=1.0), HALF, loud(HALF), r"no mean \|output\| is below 0.05 times that of its layer"),
    (ImportancePruning(), SHALLOW, drawn(SHALLOW), "no hidden layer has a unit or a head that may go"),
    (ImportancePruning(), HALF, drawn(HALF), "a share of 0.1 is no whole unit"),
    (AreaPruning(), FULL, drawn(FULL), "no projection is a convolution"),
    (AreaPruning(), MAPS, mute(MAPS), r"nothing that may be pruned has a finite mean \|response\|"),
    (NeuronGrowth(), SHALLOW, drawn(SHALLOW), "no hidden layer is joined by dense projections alone"),
    (NeuronGrowth(limit=1), HALF, drawn(HALF), "each layer that can be bridged has its limit of 1 units"),
    (NeuronGrowth(), HALF, drawn(HALF, 0.0), "no bridging gradient is finite and other than 0"),
    (MapGrowth(), FULL, drawn(FULL), "no hidden layer is one of maps"),
    (MapGrowth(limit=4), MAPS, drawn(MAPS), "each layer has its limit of 4 maps"),
    (MapGrowth(), GATED, hopeless(GATED), "an opaque layer holds all hidden maps, or they gate an output"),
    (MapGrowth(), MAPS, hopeless(MAPS), "no candidate has a finite loss"),
    (HeadGrowth(), FULL, drawn(FULL), "no layer is one of heads of attention"),
    (HeadGrowth(limit=2), HEADED, drawn(HEADED), "no head can come, or all have their limit of 2"),
    (HeadGrowth(), HEADED, drawn(HEADED, 0.0), "no candidate has a finite gradient other than 0"),
    (SkipGrowth(), SHALLOW, drawn(SHALLOW), "dense projections join all pairs of layers"),
    (SkipGrowth(limit=1), HALF, drawn(HALF), "each layer that could be joined has its limit of 1 projections"),
    (SkipGrowth(), HALF, drawn(HALF, 0.0), "no connection that could be made has a finite gradient other than 0"),
)


def test_every_policy_of_the_package_is_among_the_cases():
    assert {type(policy) for policy, *_ in CASES} == POLICIES


@pytest.mark.parametrize(("policy", "network", "evidence", "words"), CASES)
def test_what_is_lacking_is_said(policy, network, evidence, words):
    edit = policy.propose(network, evidence, np.random.default_rng(0))
    assert edit.edits == ()
    assert re.match(words, edit.title)


KINDS = st.sampled_from(sorted(POLICIES, key=lambda each: each.__name__))


@given(networks(), SEEDS, KINDS, st.sampled_from((0.0, None, np.nan)))
@quick(60)
def test_an_empty_proposal_has_a_reason_that_holds(network, seed, kind, value):
    edit = None
    with suppress(EditError):
        edit = kind().propose(network, drawn(network, value), np.random.default_rng(seed))
    if edit is None or edit.edits:
        return
    names = [p.name for p in plastic_projections(network)]
    masks = [network.connection_columns(name).mask for name in names]
    assert edit.title
    assert not re.search(r"\b0 (connections|neurons|maps|units|positions)", edit.title)
    assert ("no projection" in edit.title and "convolution" not in edit.title) <= (not names)
    assert (edit.title == "no connection is dormant") <= all(mask.all() for mask in masks)
    assert (edit.title == "no connection is active") <= (not any(mask.any() for mask in masks))
