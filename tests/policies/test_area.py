"""Areas shrink by exact counts where the response is smallest, never grow, and cost falls with them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import SetArea, SetMask, SetValues, normalisation_factor, shrink_areas
from nestgraph.errors import EditError, StructureError
from nestgraph.graph import cost, violations
from nestgraph.policies import AreaPruning
from nestgraph.seeds import lenet_5, mlp
from nestgraph.spec import Conv
from tests.laws import check_laws, quick
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, networks

AREAS = st.builds(
    AreaPruning,
    quantile=st.floats(0.01, 0.9),
    granularity=st.sampled_from(("pair", "map")),
    scope=st.sampled_from(("projection", "global")),
)


def proposed(policy, network, evidence, scale=1.0):
    """The proposal, or None where the policy would cut an output off."""
    try:
        return policy.propose(network, evidence, np.random.default_rng(0), scale)
    except EditError:
        return None


def convolutions(network):
    return [p for p in network.projections_by_name.values() if isinstance(p, Conv)]


def computed(network, name):
    """{(out, in, *position)} by unit ids: where a convolution responds."""
    projection, columns = network.projection(name), network.connection_columns(name)
    size = network.layer(projection.target).size
    area = columns.kept(size)
    edges = columns.edges.reshape(*columns.edges.shape, *(1,) * len(size))
    places = np.argwhere(edges & area)
    targets, sources = network.units(projection.target), network.units(projection.source)
    return {(int(targets[n]), int(sources[m]), *place) for n, m, *place in places.tolist()}


@given(networks(("conv", "skip")), AREAS, st.floats(0.1, 1), SEEDS)
@quick(60)
def test_proposals_are_legal_pure_and_shrink_only(network, policy, scale, seed):
    evidence = evidence_for(network, np.random.default_rng(seed))
    edit = proposed(policy, network, evidence, scale)
    assume(edit is not None)
    assert edit == proposed(policy, network, evidence, scale)
    applied = check_laws(network, edit)
    assert applied is not None
    assert bool(edit.edits) == (applied.network != network)
    for projection in convolutions(applied.network):
        before, after = computed(network, projection.name), computed(applied.network, projection.name)
        assert after <= before
        columns = applied.network.connection_columns(projection.name)
        if after != before and columns.area is not None:  # no kernel is left that computes nothing
            assert not (columns.edges & ~columns.area.any(axis=tuple(range(2, columns.area.ndim)))).any()
    assert cost(applied.network).total.flops <= cost(network).total.flops
    assert (cost(applied.network).total.flops < cost(network).total.flops) == (applied.network != network)


@given(AREAS, SEEDS, st.booleans())
@quick(40)
def test_the_smallest_responses_go_and_exactly_as_many_as_asked_for(policy, seed, ties):
    rng = np.random.default_rng(seed)
    network = lenet_5(0.15, 0.3)
    evidence = evidence_for(network, rng)
    if ties:
        for values in evidence.responses.values():
            np.round(values, out=values)
    network = network if rng.random() < 0.5 else policy.propose(network, evidence, rng, 0.2).apply(network).network
    names, entries = [p.name for p in convolutions(network)], {}
    for name in names:
        live = network.connection_columns(name).mask.any(axis=(2, 3))[:, :, None, None]
        area = network.connection_columns(name).area
        kept = live & np.ones((1, 1, *evidence.responses[name].shape[2:]), bool) if area is None else live & area
        effective = np.abs(normalisation_factor(network, network.projection(name).target))[:, None, None, None]
        values = effective * evidence.responses[name]
        if policy.granularity == "map":
            kept, values = kept.any(axis=1), values.sum(axis=1)
        entries[name] = values[kept]
    edit = policy.propose(network, evidence, rng)
    assume(not any(isinstance(part, SetMask) for part in edit.edits))
    lost = dict.fromkeys(names, 0)
    for part in edit.edits:
        if isinstance(part, SetArea):
            live = network.connection_columns(part.projection).mask.any(axis=(2, 3))[:, :, None, None]
            after = (live & part.area).any(axis=1) if policy.granularity == "map" else live & part.area
            lost[part.projection] = len(entries[part.projection]) - int(after.sum())
    if policy.scope == "projection":
        expected = {name: max(1, round(policy.quantile * len(values))) for name, values in entries.items()}
    else:
        pool = np.concatenate([entries[name] for name in names])
        threshold = np.sort(pool)[: max(1, round(policy.quantile * len(pool)))][-1]
        assert sum(lost.values()) == max(1, round(policy.quantile * len(pool)))
        expected = {name: lost[name] for name in names}
        assert all(lost[name] >= (entries[name] < threshold).sum() for name in names)
        assert all(lost[name] <= (entries[name] <= threshold).sum() for name in names)
    assert lost == expected


def small():
    """Two pairs of maps, one kernel entry each: conv1 has 2 maps over one input map."""
    return lenet_5(0.1, 0.05, seed=1)


def test_a_pair_without_a_position_loses_its_kernel_and_a_map_without_a_pair_goes():
    network = small()
    name = "input_to_conv1"
    size = network.layer("conv1").size
    area = np.ones((2, 1, *size), bool)
    area[0] = False
    edit = shrink_areas(network, {name: area})
    after = edit.apply(network).network
    assert after.units("conv1").tolist() == network.units("conv1")[1:].tolist()
    assert violations(after.replace()) == ()
    with pytest.raises(EditError, match="path"):
        shrink_areas(network, {name: np.zeros_like(area)})


def test_positions_that_are_off_never_return():
    network = lenet_5(0.2, 0.5)
    out, size = len(network.units("conv1")), network.layer("conv1").size
    rng = np.random.default_rng(0)
    first, second = rng.random((out, 1, *size)) < 0.7, rng.random((out, 1, *size)) < 0.7
    once = shrink_areas(network, {"input_to_conv1": first}).apply(network).network
    twice = shrink_areas(once, {"input_to_conv1": second}).apply(once).network
    np.testing.assert_array_equal(twice.connection_columns("input_to_conv1").area, first & second)
    with pytest.raises(EditError, match="none of input_to_conv1"):
        shrink_areas(twice, {"input_to_conv1": first})


def test_static_flops_fall_by_two_for_each_kernel_entry_at_each_position():
    network = lenet_5(0.2, 0.5)
    columns, size = network.connection_columns("conv1_to_conv2"), network.layer("conv2").size
    area = np.random.default_rng(1).random((*columns.mask.shape[:2], *size)) < 0.8
    after = shrink_areas(network, {"conv1_to_conv2": area}).apply(network).network
    lost = sum(
        int(columns.mask[n, m].sum()) * int((~area[n, m]).sum()) for n in range(len(area)) for m in range(area.shape[1])
    )
    assert cost(network).total.flops - cost(after).total.flops == 2 * lost > 0


def test_batch_normalisation_counts():
    network = lenet_5(0.1, 1.0)
    evidence = evidence_for(network, np.random.default_rng(0), None)
    responses = np.ones_like(evidence.responses["input_to_conv1"])
    gamma = network.unit_columns("conv1").values["gamma"].copy()
    gamma[1] = 0.1
    network = SetValues(units={"conv1": {"gamma": gamma}}).apply(network).network
    evidence.responses["input_to_conv1"][:] = responses
    area = AreaPruning(quantile=0.1).propose(network, evidence, np.random.default_rng(0)).edits[0].area
    assert area[0].all()
    assert not area[1].all()


def test_a_network_without_convolutions_is_left_alone():
    network = mlp((4, 3, 2), 1.0)
    for scope in ("projection", "global"):
        policy = AreaPruning(scope=scope)
        assert (
            policy.propose(network, evidence_for(network, np.random.default_rng(0)), np.random.default_rng(0)).edits
            == ()
        )


@pytest.mark.parametrize(
    ("name", "area", "expected"),
    [
        ("input_to_conv1", np.ones((1, 1, 2, 2), bool), "area of shape"),
        ("input_to_conv1", np.ones((2, 1, 24, 24)), "booleans"),
        ("fc1_to_output", np.ones((1, 1, 2, 2), bool), "convolution"),
        ("nothing", np.ones((1, 1, 2, 2), bool), "nothing"),
    ],
)
def test_what_is_no_area_is_refused_with_a_reason(name, area, expected):
    with pytest.raises((EditError, StructureError), match=expected):
        shrink_areas(small(), {name: area})
