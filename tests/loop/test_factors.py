"""Growth evidence of wide maps on few samples is kept as factors: the same gradients, and no array of them."""

import numpy as np
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.graph.extents import given_out
from nestgraph.loop import factors
from nestgraph.policies import ConnectionGrowth, RigL
from nestgraph.policies.factored import Factored
from nestgraph.policies.policy import plastic_projections
from nestgraph.seeds import mlp
from tests.laws import quick
from tests.strategies import SEEDS, inputs_for, networks

WIDE = mlp((300, 200, 4), 0.1, 0, "tanh", batch_norm=False)
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((64, 300)).astype(np.float32), RNG.integers(0, 4, 64)
LOSS = torch.nn.functional.cross_entropy


def gathered(network, batches, loss, share):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factors, "SHARE", share)
        return ng.gather(network, batches, loss, {"gradients"})


def parts_of(size):
    return [(X[first : first + size], Y[first : first + size]) for first in range(0, len(X), size)]


def squares(outputs, _):
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = [torch.linspace(-1, 1, each[0].numel()).reshape(each[0].shape) for each in several]
    return sum((each * weight).square().mean() for each, weight in zip(several, weights, strict=True))


@given(networks(), st.integers(1, 3), SEEDS)
@quick(25)
def test_factors_are_of_the_gradients_and_policies_choose_by_them_as_by_arrays(network, count, seed):
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(count):
        inputs = inputs_for(network, 3, rng)
        batches.append((tuple(given_out(port, inputs[port.layer]) for port in network.inputs), np.zeros((3, 1, 1))))
    dense, kept = (gathered(network, batches, squares, share).gradients for share in (2**40, 0))
    assert not any(isinstance(each, Factored) for each in dense.values())
    event(f"{min(3, sum(isinstance(each, Factored) for each in kept.values()))} by factors")
    for name, whole in dense.items():
        np.testing.assert_allclose(np.asarray(kept[name]), whole, rtol=1e-4, atol=1e-5 * max(1, np.abs(whole).max()))
    arrays = {name: np.asarray(each) for name, each in kept.items()}
    for policy in (ConnectionGrowth(fraction=0.3, weight="gradient"), RigL(fraction=0.4, scope="global")):
        proposed = [policy.propose(network, ng.policies.Evidence(each), rng) for each in (kept, arrays)]
        assert proposed[0] == proposed[1]


def test_they_are_kept_while_they_are_small_and_arrays_from_then_on():
    limit = 300 * 200 // (factors.SHARE * 500)
    for count, small in ((limit - 1, True), (limit + 1, False)):
        found = ng.gather(WIDE, [(X[:count], Y[:count])], LOSS, {"gradients"}).gradients
        assert isinstance(found["input_to_fc1"], Factored) == small
        assert isinstance(found["fc1_to_output"], np.ndarray)  # 4 units: factors would be as large
        if small:
            assert factors.SHARE * found["input_to_fc1"].nbytes < WIDE.connection_columns("input_to_fc1").weight.nbytes
    whole = ng.gather(WIDE, parts_of(64), LOSS, {"gradients"}).gradients
    for size in (4, 15, 32):  # some batches by factors, then all of them as an array
        found = ng.gather(WIDE, parts_of(size), LOSS, {"gradients"}).gradients
        for name, gradient in whole.items():
            assert isinstance(found[name], np.ndarray)
            np.testing.assert_allclose(found[name], gradient, atol=1e-6)


def test_weights_that_are_known_by_factors_have_no_gradient(monkeypatch):
    module = ng.lower(WIDE, masked=False)
    monkeypatch.setattr("nestgraph.loop.evidence.lower", lambda *_, **__: module)
    found = ng.gather(WIDE, [(X[:20], Y[:20])], LOSS, {"gradients"}).gradients
    paths = {slot.owner: slot for slot in ng.lowering.slots(WIDE) if slot.is_weight}
    assert paths["input_to_fc1"].tensor(module).grad is None
    assert paths["fc1_to_output"].tensor(module).grad is not None
    assert {p.name for p in plastic_projections(WIDE)} == set(found)


def test_what_is_frozen_has_a_gradient_of_0_in_either_form():
    frozen = ng.edits.freeze(WIDE, "fc1").apply(WIDE).network
    for share in (0, 2**40):
        found = gathered(frozen, parts_of(16), LOSS, share).gradients
        assert not np.asarray(found["input_to_fc1"]).any()
        assert np.asarray(found["fc1_to_output"]).any()


def test_memory_that_who_gives_batches_fills_again_is_read_before():
    buffer = np.zeros((8, 300), np.float32)

    def batches():
        for inputs, targets in parts_of(8)[:2]:
            buffer[:] = inputs
            yield buffer, targets

    again = ng.gather(WIDE, batches(), LOSS, {"gradients"}).gradients["input_to_fc1"]
    apart = ng.gather(WIDE, parts_of(8)[:2], LOSS, {"gradients"}).gradients["input_to_fc1"]
    buffer[:] = 0
    assert isinstance(again, Factored)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(apart))


def test_it_stands_beside_other_kinds_and_trials():
    kinds = {"gradients", "bridges", "activity", "saliency", "skips", "trial"}
    together = ng.gather(WIDE, parts_of(10)[:2], LOSS, kinds)
    for kind in kinds - {"trial"}:
        alone = getattr(ng.gather(WIDE, parts_of(10)[:2], LOSS, {kind}), kind)
        for name, each in getattr(together, kind).items():
            np.testing.assert_array_equal(np.asarray(each), np.asarray(alone[name]))
    slopes = ng.gather(WIDE, parts_of(10)[:2], LOSS, {"trial"}).slopes(WIDE)
    assert isinstance(slopes["input_to_fc1"], Factored)
