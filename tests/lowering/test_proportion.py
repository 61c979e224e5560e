"""Projections that train as vectors over their live connections: everything as under masks, in their proportion."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, event, given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import nestgraph as ng
from nestgraph.edits import SetMask, insert_skip, prune_connections, remove_units
from nestgraph.errors import EditError, LoweringError
from nestgraph.graph import Grid, reference
from nestgraph.lowering import OptimizerState, Workbench, carry_optimizer, collect, lower, network_of, slots
from nestgraph.lowering.bench_state import BenchState
from nestgraph.lowering.live import Live
from nestgraph.lowering.proportion import BATCHES, WORTH, StepCosts
from nestgraph.lowering.sparse import EXECUTION
from nestgraph.lowering.sparse_linear import SparseLinear, pattern_of, sparse_linear, sparse_outer, turned
from nestgraph.lowering.sparse_sweep import SparseSweep
from nestgraph.seeds import lenet_5, lenet_300_100, mlp
from nestgraph.spec import Conv, Dense, Layer
from tests.laws import quick
from tests.lowering.running import close, over, results, tensors, train, without_dropout
from tests.lowering.test_collect import OPTIMIZERS
from tests.lowering.test_compact import built, convolution, scale_of
from tests.strategies import SEEDS, edits_for, inputs_for, networks

NET = mlp((12, 8, 6, 3), density=0.5, seed=0)
FORMS = ("masked", "sparse")


def volume():
    """Maps of three extents, strided, of which a connection reads beyond the border."""
    rng = np.random.default_rng(3)
    layers = (
        Layer(name="x", kind="input", features=3, size=(4, 5, 3)),
        Layer(name="y", kind="feature_maps", size=(2, 3, 2), output=True),
    )
    weight = rng.standard_normal((4, 3, 3, 3, 3)) * (rng.random((4, 3, 3, 3, 3)) < 0.5)
    columns = Grid.of(weight, weight != 0, rng.random((4, 3, 2, 3, 2)) < 0.7)
    conv = Conv(source="x", target="y", kernel=(3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1))
    return built(layers, (conv,), {"x_to_y": columns}, {"x": 3, "y": 4}, {"y": {"bias": rng.standard_normal(4)}})


def vectors(network, module):
    """The weights that a module holds as vectors, by projection."""
    found = {slot.owner: slot.tensor(module) for slot in slots(network) if slot.is_weight}
    columns = {name: network.connection_columns(name) for name in found}
    return {name: held for name, held in found.items() if held.shape != columns[name].weight.shape and held.ndim == 1}


def both(network, **options):
    return [without_dropout(lower(network, execution=form, **options)) for form in FORMS]


def loss_of(module, network, inputs):
    given = module(*(x.double() for x in tensors(network, inputs)))
    return sum((y**2).mean() for y in (given if isinstance(given, tuple) else (given,)))


@quick(60)
@given(networks(), SEEDS)
def test_outputs_and_gradients_are_those_under_masks(network, seed):
    inputs = inputs_for(network, 4, np.random.default_rng(seed))
    sparse = lower(network, execution="sparse")
    dense = [n for n in network.projection_names if isinstance(network.projection(n), Dense)]
    held = vectors(network, sparse)
    own = {n for n in dense if network.projection(n).follows is None}  # a follower has its leader's table
    assert held.keys() == {n for n in own if network.connection_columns(n).weight.size}
    assert all(len(held[name]) == network.connection_columns(name).active for name in held)
    event(f"{min(len(held), 3)} vectors")
    expected = reference.forward(network, inputs)
    for name, got in results(sparse, network, inputs).items():
        close(got, expected[name], scale_of(network, expected))
    masked, sparse = both(network, dtype=torch.float64)  # steep networks magnify what single precision rounds
    for module in (masked, sparse):
        if (loss := loss_of(module.train(), network, inputs)).requires_grad:
            loss.backward()
    for slot in slots(network):
        one, other = (slot.tensor(module).grad for module in (masked, sparse))
        assert (one is None) == (other is None)
        if one is not None:
            wanted = slot.spread(one, network).numpy()
            close(slot.spread(other, network), wanted, scale=float(np.abs(wanted).max(initial=0)), tolerance=1e-9)


@quick(30)
@given(data=st.data(), network=networks(), seed=SEEDS, optimizer=st.sampled_from(["sgd", "adamw", "rmsprop"]))
def test_states_follow_an_edit_to_the_bit_whatever_form_holds_them(data, network, seed, optimizer):
    """One state, in modules of both forms and from either to the other: the same after an edit, and by its record."""
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    module = without_dropout(lower(network, execution="sparse"))
    held = OPTIMIZERS[optimizer](module.parameters())
    train(module, held, network, inputs, 2)
    trained = collect(network, module)
    state = BenchState.of([held], network, module)
    state = BenchState.read(state.record, state.arrays)
    try:
        after = data.draw(edits_for(trained)).apply(trained).network
    except EditError:
        assume(False)
    found = []
    for form in FORMS:
        before = lower(trained, execution=form)
        assert collect(trained, before) == trained
        one = OPTIMIZERS[optimizer](before.parameters())
        state.restore([one], trained, before)
        assert BenchState.of([one], trained, before).same(state)
        for later in FORMS:
            next_one = lower(after, execution=later)
            carried = carry_optimizer(one, (trained, before), (after, next_one))
            found.append(OptimizerState.of(carried, after, next_one))
    assert all(each.same(found[0]) for each in found)


@quick(30)
@given(data=st.data(), network=networks(), seed=SEEDS)
def test_a_bench_goes_there_and_back_to_the_bit(data, network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    bench = Workbench(network, over(lambda p: torch.optim.AdamW(p, 0.01)), execution="sparse")
    train(without_dropout(bench.module), bench.optimizer, network, inputs, 2)
    bench.take_in()
    before, state = bench.network, bench.state()
    try:
        bench.apply(data.draw(edits_for(before)))
    except EditError:
        assume(False)
    after, later = bench.network, bench.state()
    assert collect(after, bench.module) == after
    assert vectors(after, bench.module).keys() == vectors(after, lower(after, execution="sparse")).keys()
    twin = bench.branch()
    bench.undo()
    assert (bench.network, vectors(before, bench.module).keys()) == (
        before,
        vectors(before, lower(before, execution="sparse")).keys(),
    )
    assert bench.state().same(state)
    bench.redo()
    for one in (bench, twin):
        assert one.network == after
        assert one.state().same(later)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_over_steps_are_those_under_masks(dtype):
    network = mlp((40, 60, 50, 5), density=0.1, seed=1)
    x, y = torch.randn(64, 40, dtype=dtype), torch.randint(5, (64,))
    found = []
    for module in both(network, dtype=dtype):
        optimizer = torch.optim.SGD(module.parameters(), 0.05, 0.9, weight_decay=1e-3, nesterov=True)
        losses = []
        for _ in range(100):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(x), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        found.append(losses)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-10)
    assert found[0][-1] < 0.9 * found[0][0]


class Largest(TorchDispatchMode):
    """The most numbers that any tensor has which an operation gives."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = function(*args, **(kwargs or {}))
        for each in given if isinstance(given, tuple | list) else (given,):
            if isinstance(each, torch.Tensor) and each.layout == torch.strided:
                self.numbers = max(self.numbers, each.numel())
        return given


def test_nothing_in_a_step_has_the_size_of_the_layer():
    network = mlp((300, 400, 300, 10), density=0.02, seed=0)
    sizes = {}
    for form, module in zip(FORMS, both(network), strict=True):
        optimizer = torch.optim.Adam(module.parameters())
        with Largest() as largest:
            for _ in range(2):
                optimizer.zero_grad()
                module(torch.randn(4, 300)).square().mean().backward()
                optimizer.step()
        held = [*module.parameters(), *module.buffers(), *(p.grad for p in module.parameters())]
        held += [each for state in optimizer.state.values() for each in state.values()]
        sizes[form] = max([largest.numbers, *(each.numel() for each in held)])
    live = network.connection_columns("fc1_to_fc2").active
    assert sizes == {"masked": 300 * 400, "sparse": max(live, 4 * 400)}


def operands(seed=0, shape=(5, 4), samples=3, dtype=torch.float64):
    generator = np.random.default_rng(seed)
    network = mlp((*shape[::-1], 2), density=0.4, seed=seed)
    columns = network.connection_columns("input_to_fc1")
    pattern = tuple(pattern_of(columns).values())
    rows, width = columns.mask.shape
    weights = torch.tensor(columns.weight[columns.mask], dtype=dtype, requires_grad=True)
    values, sums = (torch.tensor(generator.normal(size=(n, samples)), dtype=dtype) for n in (width, rows))
    bias = torch.tensor(generator.normal(size=rows), dtype=dtype)
    return columns, pattern, weights, values.requires_grad_(), sums.requires_grad_(), bias.requires_grad_()


def test_the_operators_are_sound():
    columns, pattern, weights, values, sums, bias = operands(dtype=torch.float32)
    for added in (bias, None):
        torch.library.opcheck(sparse_linear, (weights, values, added, *pattern, False))
    torch.library.opcheck(sparse_linear, (weights, sums, None, *pattern, True))
    torch.library.opcheck(sparse_outer, (sums, values, *pattern))
    torch.library.opcheck(turned, (values,))
    whole = torch.tensor(columns.weight)
    torch.testing.assert_close(sparse_linear(weights, values, bias, *pattern, False), whole @ values + bias[:, None])
    torch.testing.assert_close(sparse_linear(weights, sums, None, *pattern, True), whole.T @ sums)
    torch.testing.assert_close(sparse_outer(sums, values, *pattern), (sums @ values.T)[torch.tensor(columns.mask)])


def test_derivatives_of_the_operators_are_right_twice():
    _, pattern, weights, values, sums, bias = operands()
    cases = [
        (lambda w, x, b: sparse_linear(w, x, b, *pattern, False), (weights, values, bias)),
        (lambda w, x: sparse_linear(w, x, None, *pattern, True), (weights, sums)),
        (lambda s, x: sparse_outer(s, x, *pattern), (sums, values)),
        (turned, (values,)),
    ]
    for function, operands_of in cases:
        assert torch.autograd.gradcheck(function, operands_of)
        assert torch.autograd.gradgradcheck(function, operands_of)


def averaged(module):
    average = torch.optim.swa_utils.AveragedModel(module, use_buffers=True)
    average.update_parameters(module)
    average.update_parameters(module)
    return average


def through_a_file(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


TWINS = {
    "copy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "file": through_a_file,
    "trace": torch.fx.symbolic_trace,
    "average": averaged,
    "compiled": lambda module: torch.compile(module, backend="aot_eager", fullgraph=True),
    "exported": lambda module: torch.export.export(module, (torch.randn(4, 12),)).module(),
    "jit": lambda module: torch.jit.trace(module, torch.randn(4, 12)),
}


@pytest.mark.parametrize("twin", TWINS)
def test_what_others_make_of_a_module_computes_and_trains_alike(twin):
    module, x = lower(NET, execution="sparse"), torch.randn(4, 12)
    other = TWINS[twin](copy.deepcopy(module))
    for part in (module, other):
        part(x).square().sum().backward()
    torch.testing.assert_close(other(x), module(x))
    wanted = {name: p.grad for name, p in module.named_parameters()}
    got = {name.rpartition("module.")[2].removeprefix("_orig_mod."): p.grad for name, p in other.named_parameters()}
    assert got.keys() == wanted.keys()
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(("source", "target"), [("masked", "sparse"), ("sparse", "masked"), ("sparse", "sparse")])
@pytest.mark.parametrize("empty", [False, True])
def test_a_state_dict_fits_modules_of_either_form(source, target, empty):
    network = collect(NET, lower(NET))
    module, given = lower(mlp((12, 8, 6, 3), density=0.5, seed=0), execution=target), lower(NET, execution=source)
    with torch.no_grad():
        for parameter in given.parameters():
            parameter.mul_(2.0)
    module = module.to("meta").to_empty(device="cpu") if empty else module
    module.load_state_dict(given.state_dict())
    assert network_of(module) == collect(NET, given) != network
    gone = np.flatnonzero(NET.connection_columns("fc1_to_fc2").mask)[:1]
    other = lower(prune_connections(NET, {"fc1_to_fc2": gone}).apply(NET).network, execution=source)
    states = [other.state_dict(), {name: each for name, each in other.state_dict().items() if name != "_extra_state"}]
    for state in states:
        with pytest.raises(LoweringError, match="connections of 'fc1_to_fc2'"):
            module.load_state_dict(state)


def swapped(network, name):
    """As many connections, another one of them."""
    mask = network.connection_columns(name).mask.reshape(-1)
    for gone in np.flatnonzero(mask):
        for new in np.flatnonzero(~mask):
            edit = SetMask(projection=name, entries=np.array([gone, new]), active=[False, True], weights=[0.0, 0.5])
            try:
                return edit.apply(network).network
            except EditError:
                continue
    raise AssertionError


def test_as_many_other_connections_are_refused():
    other = lower(swapped(NET, "fc1_to_fc2"), execution="sparse")
    module = lower(NET, execution="sparse")
    bare = {name: each for name, each in other.state_dict().items() if name != "_extra_state"}
    with pytest.raises(LoweringError, match="connections of 'fc1_to_fc2', got other ones"):
        module.load_state_dict(bare)
    with torch.no_grad():
        module.get_submodule("projection1").columns.copy_(other.get_submodule("projection1").columns)
        module.get_submodule("projection1").ends.copy_(other.get_submodule("projection1").ends)
    with pytest.raises(LoweringError, match="expected a module with the masks of its network"):
        collect(NET, module)


def test_transforms_of_functions_and_tangents_are_those_under_masks():
    x = torch.randn(4, 12)
    found = []
    for module in both(NET):
        module.eval()
        rows = torch.func.vmap(module)(x[:, None])[:, 0]
        jacobian = torch.func.jacrev(lambda one, module=module: module(one[None])[0])(x[0])
        _, along = torch.func.jvp(module, (x,), (torch.ones_like(x),))
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.unpack_dual(module(torch.autograd.forward_ad.make_dual(x, x)))
        found.append((rows, jacobian, along, dual.tangent))
        assert along.any()
        assert dual.tangent.any()
    torch.testing.assert_close(*found)


def test_mixed_precision_computes_the_products_in_single():
    x = torch.randn(4, 12)
    outputs = []
    for module in both(NET):
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x)
        y.float().square().sum().backward()
        outputs.append(y.float())
    torch.testing.assert_close(*outputs, rtol=0.05, atol=0.05)


def test_what_an_edit_left_alone_is_the_same_tensor():
    module = lower(NET, execution="sparse")
    again = lower(NET, like=(NET, module), execution="sparse")
    assert [id(each) for each in again.parameters()] == [id(each) for each in module.parameters()]
    patterns = [[id(b) for n, b in part.named_buffers() if n.startswith("projection")] for part in (module, again)]
    assert patterns[0] == patterns[1]
    assert len(patterns[0]) == 3 * 5
    after = remove_units(NET, "fc2", [1]).apply(NET).network
    edited = lower(after, like=(NET, module), execution="sparse")
    old, new = ({n: id(t) for n, t in (*m.named_parameters(), *m.named_buffers())} for m in (module, edited))
    alike = {name.partition(".")[0] for name in new if name.startswith("projection") and new[name] == old[name]}
    assert alike == {"projection0"}
    masked = lower(NET, like=(NET, lower(NET, execution="sparse")), execution="masked")
    assert collect(NET, masked) == NET


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_goes_on_where_weights_become_a_vector_and_back(optimizer):
    """State that is by row and column begins anew; else it is the same to the bit."""
    inputs = inputs_for(NET, 8, np.random.default_rng(0))
    modules = both(NET)
    held = OPTIMIZERS[optimizer](modules[0].parameters())
    train(modules[0], held, NET, inputs, 2)
    before = collect(NET, modules[0])
    masked, sparse, again = (lower(before, execution=form) for form in ("masked", "sparse", "masked"))
    one = carry_optimizer(held, (NET, modules[0]), (before, masked))
    two = carry_optimizer(one, (before, masked), (before, sparse))
    train(sparse, two, before, inputs, 1)
    after = collect(before, sparse)
    assert after != before
    back = carry_optimizer(two, (before, sparse), (before, again))
    train(again, back, before, inputs, 1)
    assert all(parameter.isfinite().all() for parameter in again.parameters())


def test_a_new_vector_joins_the_weights_and_not_the_biases():
    module = lower(NET, execution="sparse")
    weights = list(vectors(NET, module).values())
    rest = [p for p in module.parameters() if all(p is not weight for weight in weights)]
    grouped = torch.optim.SGD([{"params": weights, "weight_decay": 0.1}, {"params": rest}], lr=0.1)
    after = insert_skip(NET, "fc1", "output").apply(NET).network
    grown = lower(after, execution="sparse")
    carried = carry_optimizer(grouped, (NET, module), (after, grown))
    new = vectors(after, grown)
    assert len(new) == 4
    first = {id(parameter) for parameter in carried.param_groups[0]["params"]}
    assert all(id(parameter) in first for parameter in new.values())


def sparse_in(module):
    return {name for name, choice in module.meta[EXECUTION].items() if choice.sparse}


def test_small_networks_and_dense_ones_stay_under_their_masks():
    for density in (0.01, 0.1, 1.0):
        for network in (lenet_300_100(density=density), lenet_5(density=density), NET):
            module = lower(network)
            assert not sparse_in(module)
            assert not any(isinstance(part, SparseLinear) for part in module.modules())


def test_auto_takes_what_is_expected_to_be_worth_it():
    network = mlp((784, 2048, 10), density=0.05, seed=0)
    module = lower(network)
    assert sparse_in(module) == {"input_to_fc1"} == vectors(network, module).keys()
    assert not sparse_in(lower(network, execution="masked"))
    assert sparse_in(lower(network, execution="sparse")) == {"input_to_fc1", "fc1_to_output"}
    assert not sparse_in(lower(network, masked=False))
    assert not sparse_in(lower(network, dtype=torch.bfloat16))
    for name, choice in module.meta[EXECUTION].items():
        columns = network.connection_columns(name)
        steps = [StepCosts().of(*columns.mask.shape, columns.active, batch) for batch in BATCHES]
        assert choice.sparse == all(sparse <= WORTH * masked for masked, sparse in steps)
        assert choice.nanoseconds in steps


def test_the_explanation_is_of_what_is_done():
    network = mlp((784, 2048, 10), density=0.05, seed=0)
    rows = ng.explain(network, training=True)
    assert {row.projection: row.form for row in rows} == {"input_to_fc1": "sparse", "fc1_to_output": "masked"}
    assert [row.connections for row in rows] == [network.connection_columns(row.projection).active for row in rows]
    times = rows[0].dense / rows[0].sparse
    assert rows[0].reason == f"sparse is expected to be {times:.1f} times quicker"
    assert "masked is expected to be" in rows[1].reason
    assert {row.form for row in ng.explain(network, execution="masked", training=True)} == {"masked"}
    for execution, training in (("masked", False), ("dense", True)):
        with pytest.raises(LoweringError, match=f"'{execution}'"):
            ng.explain(network, execution=execution, training=training)


def test_what_has_no_form_is_refused_in_words():
    with pytest.raises(LoweringError, match=r"on the processor, got torch\.bfloat16 on cpu"):
        lower(NET, dtype=torch.bfloat16, execution="sparse")
    with pytest.raises(LoweringError, match=r"on the processor, got torch\.float32 on meta"):
        lower(NET, device="meta", execution="sparse")
    with pytest.raises(LoweringError, match="expected masks where execution='sparse'"):
        lower(NET, masked=False, execution="sparse")
    with pytest.raises(LoweringError, match="execution: one of 'auto', 'masked', 'sparse', got 'csr'"):
        lower(NET, execution="csr")


SWEPT = {
    "some pairs": convolution(
        np.random.default_rng(0).random((5, 4)) < 2, np.random.default_rng(1).random((5, 4, 5, 5)) < 0.6
    ),
    "some edges": convolution(
        np.random.default_rng(2).random((5, 4)) < 0.6, np.random.default_rng(1).random((5, 4, 5, 5)) < 0.6
    ),
    "of volumes": volume(),
}


@pytest.mark.parametrize("case", SWEPT)
def test_areas_by_pair_train_as_a_matrix_of_the_same_weights(case):
    network = SWEPT[case]
    inputs = inputs_for(network, 4, np.random.default_rng(0))
    masked, sparse = both(network)
    (sweep,) = (part for part in sparse.modules() if isinstance(part, SparseSweep))
    name = network.projection_names[0]
    columns = network.connection_columns(name)
    assert len(sweep.index) <= np.count_nonzero(columns.mask.reshape(*columns.edges.shape, -1)) * 5**2
    assert set(sweep.index.tolist()) <= set(np.flatnonzero(columns.mask).tolist())
    for form in (masked, sparse):
        optimizer = torch.optim.SGD(form.parameters(), 0.01, 0.9)
        train(form, optimizer, network, inputs, 3)
    for one, other in zip(collect_values(network, masked), collect_values(network, sparse), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert collect(network, sparse) != network
    for source, target in (("masked", "sparse"), ("sparse", "masked"), ("sparse", "sparse")):
        given, module = lower(collect(network, sparse), execution=source), lower(network, execution=target)
        for empty in (False, True):
            module = module.to("meta").to_empty(device="cpu") if empty else module
            module.load_state_dict(given.state_dict())
            assert network_of(module) == collect(network, sparse)
            y = [part.eval()(*tensors(network, inputs)) for part in (module, sparse)]
            torch.testing.assert_close(*y)


def collect_values(network, module):
    after = collect(network, module)
    return [slot.values(after) for slot in slots(after)]


def test_areas_by_pair_go_through_copies_transforms_and_tracers():
    network = SWEPT["some edges"]
    x = torch.randn(3, 4, 5, 5)
    masked, sparse = (module.eval() for module in both(network))
    wanted = masked(x)
    twins = [TWINS[name](copy.deepcopy(sparse)) for name in ("copy", "pickle", "file", "trace", "compiled")]
    twins.append(torch.export.export(sparse, (x,)).module())
    for twin in twins:
        torch.testing.assert_close(twin(x), wanted)
    plain = lower(network, layout="contiguous", execution="sparse").eval()  # vmap knows no other layout
    torch.testing.assert_close(torch.func.vmap(plain)(x[:, None])[:, 0], wanted)
    tangents = [torch.func.jvp(module, (x,), (torch.ones_like(x),))[1] for module in (masked, sparse)]
    torch.testing.assert_close(*tangents)
    assert tangents[0].any()


def test_auto_takes_the_matrix_of_areas_where_there_are_many():
    network = ng.load("docs/results/lenet-5.json")
    assert sparse_in(lower(network)) == {"conv1_to_conv2"}
    assert not any(sparse_in(lower(small)) for small in SWEPT.values())
    rows = {row.projection: row for row in ng.explain(network, training=True)}
    assert rows["conv1_to_conv2"].form == "sparse"
    assert rows["input_to_conv1"].reason == "it has no other form here"


def test_wide_matrices_have_the_pattern_of_narrow_ones():
    """Columns are sorted as 16 bits where they fit; beyond, they are not."""
    mask = np.random.default_rng(0).random((3, 70_000)) < 0.001
    _, columns, turned_ends, turned_columns, order = Live(mask).pattern()
    rows, places = np.nonzero(mask.T)[::-1]
    np.testing.assert_array_equal(columns[order], places)
    np.testing.assert_array_equal(turned_columns, rows)
    np.testing.assert_array_equal(np.diff(turned_ends), mask.sum(0))
