"""Normalisations mean what PyTorch's do; absent units are zeros; all lowerings agree, in every precision."""

import numpy as np
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch.nn import functional

from nestgraph.errors import RecordError
from nestgraph.graph import Links, Network, Structure, UnitColumns, reference
from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from nestgraph.snapshot import from_bytes, to_bytes
from nestgraph.spec import Layer, Norm, OneToOne
from tests.laws import quick
from tests.strategies import SEEDS
from tests.strategies.networks import columns_for, norms

SIZES = st.sampled_from((None, (3,), (1,), (2, 3), (2, 1, 3)))


def normed(operation, size, ids, rng):
    """A network whose output is a norm, with random columns, of its input."""
    kind = "neurons" if size is None else "feature_maps"
    layers = (
        Layer(name="x", kind="input", features=len(ids), size=size),
        Layer(name="y", kind=kind, size=size, operations=(operation,), bias=False, output=True),
    )
    order = np.argsort(ids)
    units = {
        "x": UnitColumns.neutral(len(ids), ()),
        "y": UnitColumns.of(np.array(ids), columns_for(layers[1], len(ids), rng)),
    }
    links = Links.of(np.ones(len(ids)), links=np.stack([order, np.array(ids)[order]], 1))
    return Network.of(Structure(layers, (OneToOne(source="x", target="y"),), units, {"x_to_y": links}))


def in_torch(operation, x, gamma, beta):
    """What PyTorch has of a norm of (batch, count, *size), all of whose units are there."""
    axes = tuple(range(2, x.ndim))
    if operation.over == "places":
        shaped = functional.group_norm(x, x.shape[1], gamma, beta, operation.epsilon)
        if operation.center:
            return shaped
        shaped = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + operation.epsilon)
    elif operation.over == "both" and operation.center:
        return functional.group_norm(x, operation.groups, gamma, beta, operation.epsilon)
    elif operation.over == "both":
        parts = x.unflatten(1, (operation.groups, -1)).flatten(2)
        shaped = functional.rms_norm(parts, parts.shape[2:], eps=operation.epsilon).reshape(x.shape)
    else:
        parts = x.movedim(1, -1).unflatten(-1, (operation.groups, -1))
        norm = functional.layer_norm if operation.center else functional.rms_norm
        shaped = norm(parts, parts.shape[-1:], eps=operation.epsilon).flatten(-2).movedim(-1, 1)
    columns = [torch.ones(x.shape[1]) if gamma is None else gamma, torch.zeros(x.shape[1]) if beta is None else beta]
    return shaped * columns[0].reshape(-1, *[1] * len(axes)) + columns[1].reshape(-1, *[1] * len(axes))


@quick(80)
@given(st.data(), SIZES, SEEDS)
def test_a_norm_is_that_of_pytorch_with_zeros_for_absent_units(data, size, seed):
    rng = np.random.default_rng(seed)
    operation = data.draw(norms(size)).model_copy(update={"divisors": ()})
    count = operation.count or 4
    ids = data.draw(st.permutations(range(count)))[: data.draw(st.integers(1, count))]
    event(f"{operation.over} {operation.center} whole {len(ids) == count}")
    network = normed(operation, size, ids, rng)
    x = torch.tensor(3 * rng.standard_normal((2, len(ids), *(size or ()))), requires_grad=True)
    whole = torch.zeros(2, count, *(size or ()), dtype=x.dtype).index_copy(1, torch.tensor(ids), x)
    values = {
        name: torch.zeros(count, dtype=x.dtype).index_copy(0, torch.tensor(ids), torch.tensor(column, dtype=x.dtype))
        for name, column in network.unit_columns("y").values.items()
    }
    wanted = in_torch(operation, whole, values.get("gamma"), values.get("beta"))[:, ids]
    np.testing.assert_allclose(reference.predict(network, x.detach().numpy()), wanted.detach(), rtol=1e-9, atol=1e-9)
    got = lower(network).double()(x)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
    weights = torch.tensor(rng.standard_normal(wanted.shape))
    torch.testing.assert_close(*(torch.autograd.grad((y * weights).sum(), x)[0] for y in (got, wanted)))
    assert from_bytes(to_bytes(network)) == network


@quick(80)
@given(st.data(), SIZES, SEEDS)
def test_all_forms_agree_whoever_lives(data, size, seed):
    """Also with more units than are counted, ids beyond the count and a divisor for each group."""
    rng = np.random.default_rng(seed)
    operation = data.draw(norms(size))
    ids = data.draw(st.permutations(range(8)))[: data.draw(st.integers(1, 8))]
    network = normed(operation, size, ids, rng)
    x = rng.standard_normal((2, len(ids), *(size or ()))).astype(np.float32)
    expected = reference.predict(network, x)
    assert np.isfinite(expected).all()
    for module in (lower(network), compact(network)):
        np.testing.assert_allclose(module(torch.tensor(x)).detach(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@quick(30)
@given(st.data(), SIZES, SEEDS)
def test_other_precisions_are_rounded_at_the_end(dtype, data, size, seed):
    rng = np.random.default_rng(seed)
    operation = data.draw(norms(size))
    ids = data.draw(st.permutations(range(8)))[: data.draw(st.integers(1, 8))]
    network = normed(operation, size, ids, rng)
    x = torch.tensor(300 * rng.standard_normal((2, len(ids), *(size or ())))).to(dtype)  # squares overflow in half
    expected = reference.predict(network, x.double().numpy())
    got = lower(network, dtype=dtype)(x)
    assert got.dtype == dtype
    step = 32 * torch.finfo(dtype).eps
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(got.detach().double(), expected, rtol=step, atol=max(step, 1e-5) * scale)


@pytest.mark.parametrize("over", ["units", "both", "places"])
@pytest.mark.parametrize("absent", [0, 1])
def test_a_mean_that_is_large_beside_the_deviation_costs_no_digits(over, absent):
    rng = np.random.default_rng(0)
    count, size = 16, (8, 8)
    operation = Norm(over=over, count=0 if over == "places" else count)
    network = normed(operation, size, range(count - absent), rng)
    x = (300 + rng.standard_normal((2, count - absent, *size))).astype(np.float32)
    expected = reference.predict(network, x)
    for got in (reference.predict(network, x, np.float32), lower(network)(torch.tensor(x)).detach().numpy()):
        assert np.abs(got - expected).max() <= 1e-3


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"over": "places", "count": 3}, "count 0 of a norm over places"),
        ({"over": "units"}, "expected a count of units that 1 groups divide"),
        ({"over": "both", "groups": 3, "count": 8}, "that 3 groups divide, at least 3, got 8"),
        ({"count": 4, "divisors": (3,)}, "a divisor of each of several groups, got 1 for 1"),
    ],
)
def test_counts_that_fit_no_norm_are_refused(fields, problem):
    with pytest.raises(RecordError, match=problem):
        Norm(**fields)


def test_a_unit_beyond_the_count_chooses_its_group_by_its_id():
    norm = Norm(over="both", groups=3, count=6)
    assert norm.groups_of(np.arange(9)).tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 2]


def test_a_norm_of_zeros_has_finite_gradients():
    for over, count in (("units", 6), ("both", 6), ("places", 0)):
        for ids in (range(4), range(6), range(8)):
            operation = Norm(over=over, count=count)
            network = normed(operation, (2, 2), ids, np.random.default_rng(0))
            x = torch.zeros(1, len(ids), 2, 2, requires_grad=True)
            lower(network)(x).sum().backward()
            assert torch.isfinite(x.grad).all()
