"""Sparse matrices in compact modules: the same outputs, connection by connection, chosen where they are quicker."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import event, given

import nestgraph as ng
from nestgraph.errors import LoweringError
from nestgraph.graph import reference
from nestgraph.graph.compaction import compacted
from nestgraph.lowering.compact import compact
from nestgraph.lowering.costs import KnownCosts
from nestgraph.lowering.sparse import EXECUTION, choices, sparse_product
from nestgraph.seeds import lenet_5, mlp
from nestgraph.snapshot.costs import Costs
from tests.laws import quick
from tests.lowering.running import close, results, tensors
from tests.lowering.test_compact import scale_of
from tests.strategies import SEEDS, inputs_for, networks

LENET = ng.load("docs/results/lenet-5.json")
"""A network with areas by map and by pair of maps."""


def of_sparse(module):
    return {name for name, choice in module.meta[EXECUTION].items() if choice.sparse}


@quick(60)
@given(networks(), SEEDS)
def test_matrices_give_what_the_reference_gives(network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    expected = reference.forward(network, inputs)
    for layout in ("auto", "contiguous"):
        module = compact(network, layout=layout, execution="sparse")
        event(f"{min(len(of_sparse(module)), 3)} matrices")
        for name, got in results(module, network, inputs).items():
            close(got, expected[name], scale_of(network, expected))


def test_a_matrix_has_an_entry_for_each_reading_of_a_connection():
    """Counted another way: each live weight at each place of its area."""
    module = compact(LENET, execution="sparse")
    structure = compacted(LENET).structure
    counted = 0
    for name in structure.projection_names:
        columns = structure.connection_columns(name)
        live = (columns.weight != 0).reshape(*columns.weight.shape[:2], -1).sum(2)
        area = 1 if columns.area is None else columns.area.reshape(*columns.area.shape[:2], -1).sum(2)
        counted += int((live * area).sum())
    held = {name: buffer for name, buffer in module.named_buffers() if name.endswith("weights")}
    assert sum(buffer.numel() for buffer in held.values()) == counted
    assert all((buffer != 0).all() for buffer in held.values())


def test_the_choice_is_the_cheaper_one_and_says_what_was_expected():
    for batch in (1, 32, 1024):
        for choice in compact(LENET, batch).meta[EXECUTION].values():
            dense, sparse = choice.nanoseconds
            assert choice.sparse == (sparse < dense)
    assert not of_sparse(compact(lenet_5(), 256))  # all connections live
    assert of_sparse(compact(mlp((784, 300, 10), density=0.02), 256)) == {"input_to_fc1", "fc1_to_output"}


def test_the_explanation_is_of_what_is_done():
    for batch, execution in ((1, "auto"), (256, "auto"), (256, "dense"), (1, "sparse")):
        rows = ng.explain(LENET, batch, execution)
        assert {row.projection for row in rows if row.form == "sparse"} == of_sparse(
            compact(LENET, batch, execution=execution)
        )
        assert sum(row.connections for row in rows) == 5553
    (first, *_) = ng.explain(LENET, 256)
    assert first.reason == f"sparse is expected to be {first.dense / first.sparse:.1f} times quicker"
    assert ng.explain(LENET, 256, "dense")[0].reason == "it has no other form here"


def test_what_lies_with_samples_last_is_moved_once():
    """A projection behind another matrix does not pay for the move again."""
    structure = compacted(mlp((50, 40, 30, 10), density=0.3)).structure
    alone, after = (choices(structure, each, 64, KnownCosts(Costs(), "mine")) for each in ("dense", "sparse"))
    assert all(choice.nanoseconds is None for choice in alone.values())
    moves = Costs().move * 64
    found = [choice.nanoseconds for choice in after.values()]
    entries = [np.count_nonzero(structure.connection_columns(name).weight) for name in after]
    table = Costs()
    for number, ((_, sparse), count) in enumerate(zip(found, entries, strict=True)):
        expected = table.product + count * (table.entry + 64 * table.sparse) + (moves * 50 if number == 0 else 0)
        assert math.isclose(sparse, expected)


def test_copies_pickles_and_states_give_the_same():
    module, x = compact(LENET, 256, execution="sparse"), torch.randn(4, 1, 28, 28)
    wanted = module(x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = compact(LENET, 256, execution="sparse")
    other.load_state_dict(torch.load(file))
    for twin in (copy.deepcopy(module), other):
        torch.testing.assert_close(twin(x), wanted, rtol=0, atol=0)


def test_tracers_and_compilers_take_the_operator():
    module, x = compact(LENET, 256, execution="sparse"), torch.randn(3, 1, 28, 28)
    wanted = module(x)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    exported = torch.export.export(module, (x,)).module()
    for form in (compiled, exported):
        torch.testing.assert_close(form(x), wanted)
    ends, columns = torch.tensor([0, 2, 2, 3]), torch.tensor([0, 2, 1])
    values, bias = torch.randn(3, 4, requires_grad=True), torch.randn(3, 1)
    weights = torch.tensor([1.0, 2.0, 3.0])
    for added in (bias, None):
        torch.library.opcheck(sparse_product, (ends, columns, weights, values, added))
    dense = torch.tensor([[1.0, 0, 2], [0, 0, 0], [0, 3, 0]])
    given = sparse_product(ends, columns, weights, values, bias)
    torch.testing.assert_close(given, dense @ values + bias)
    (gradient,) = torch.autograd.grad((given**2).sum(), values)
    torch.testing.assert_close(gradient, dense.T @ (2 * given))


def test_samples_of_any_size_are_computed_without_matrices():
    class Any(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.maps, self.end = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.end(self.maps(x).mean((2, 3)))

    network = ng.import_module(Any(), torch.zeros(2, 1, 8, 8))
    module = compact(network, execution="sparse")
    assert not of_sparse(module)
    assert module(torch.zeros(2, 1, 11, 9)).shape == (2, 2)


def test_an_unknown_execution_is_refused():
    with pytest.raises(LoweringError, match="execution: one of 'auto', 'dense', 'sparse', got 'csr'"):
        compact(LENET, execution="csr")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu():
    inputs = inputs_for(LENET, 2, np.random.default_rng(0))
    got = compact(LENET, execution="sparse").cuda()(*(x.cuda() for x in tensors(LENET, inputs)))
    np.testing.assert_allclose(got.cpu().numpy(), reference.predict(LENET, inputs), atol=1e-4)
