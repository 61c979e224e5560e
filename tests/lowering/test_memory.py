"""Gradients of masked weights are computed into memory that nobody holds any more, and into no other."""

import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from nestgraph.lowering import lower, memory
from nestgraph.lowering.masking import MaskedWeight
from nestgraph.lowering.memory import Memory
from nestgraph.seeds import mlp

SHAPE = (8, 6, 5, 3)
PATH = "projection1.weight"


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 0)


def network():
    return mlp(SHAPE, density=0.5, seed=0, batch_norm=False)


def loss(module, seed=0):
    x = torch.randn(4, SHAPE[0], generator=torch.Generator().manual_seed(seed))
    return module(x).square().sum()


def plain_gradient(seed=0, path=PATH):
    """The oracle: the gradient that the unmasked module has, times the mask."""
    module = lower(network(), masked=False)
    mask = lower(network()).get_buffer(path.replace("weight", "mask"))
    return torch.autograd.grad(loss(module, seed), module.get_parameter(path))[0] * mask


class Made(TorchDispatchMode):
    """Notes the operations that run."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations.append(func._overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def step(module, seed=0):
    module.zero_grad()
    loss(module, seed).backward()


def test_a_step_after_the_first_asks_for_no_memory_for_products():
    module = lower(network())
    counts = []
    for _ in range(3):
        with Made() as made:
            step(module)
        counts.append((made.operations.count("empty_like"), made.operations.count("clone")))
    assert counts[0][0] > counts[1][0] == counts[2][0]
    assert {clones for _, clones in counts} == {0}, "a gradient in kept memory becomes the weight's as it is"


HOLDS = {
    "the gradient": lambda p: p.grad,
    "a view": lambda p: p.grad[1:],
    "an alias": lambda p: p.grad.detach(),
    "data": lambda p: p.grad.data.view(-1),
    "NumPy": lambda p: p.grad.numpy(),
    "memory of NumPy": lambda p: memoryview(p.grad.numpy()),
    "DLPack": lambda p: torch.from_dlpack(p.grad),
    "storage": lambda p: p.grad.untyped_storage(),
    "shared": lambda p: p.grad.share_memory_(),
}


def content(held):
    """What somebody holds, as bytes."""
    if isinstance(held, torch.UntypedStorage):
        return bytes(held)
    return (held.detach().numpy() if isinstance(held, torch.Tensor) else held).tobytes()


def test_small_weights_keep_no_memory(monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 2**20)
    module = lower(network())
    step(module)
    assert not any(part._memory._kept for part in module.modules() if isinstance(part, MaskedWeight))


@pytest.mark.parametrize("hold", HOLDS)
def test_what_somebody_holds_of_a_gradient_stays_as_it_is(hold):
    module = lower(network())
    step(module)
    held = HOLDS[hold](module.get_parameter(PATH))
    before = content(held)
    for seed in (1, 2):
        gc.collect()
        step(module, seed)
        torch.testing.assert_close(module.get_parameter(PATH).grad, plain_gradient(seed))
    assert content(held) == before


@pytest.mark.parametrize("size", [0, 4])
def test_memory_that_somebody_freed_is_not_written(size):
    module = lower(network())
    step(module)
    module.get_parameter(PATH).grad.untyped_storage().resize_(size)
    step(module, 1)
    torch.testing.assert_close(module.get_parameter(PATH).grad, plain_gradient(1))


def kept_by_hooks(module):
    found = []
    for parameter in module.parameters():
        parameter.register_hook(found.append)
        parameter.register_post_accumulate_grad_hook(lambda p: found.append(p.grad))
    for part in module.modules():
        if isinstance(part, MaskedWeight):
            part.register_forward_hook(lambda _part, _args, weight: weight.register_hook(found.append) and None)
    for seed in range(3):
        step(module, seed)
    return found


def accumulated_in_the_first(module):
    sums = []
    for seed in range(4):
        step(module, seed)
        gradients = [parameter.grad for parameter in module.parameters()]
        for total, gradient in zip(sums, gradients, strict=True) if sums else ():
            total.add_(gradient)
        sums = sums or gradients
    return sums


def of_one_graph_twice(module):
    value, found = loss(module), []
    for _ in range(3):
        module.zero_grad()
        value.backward(retain_graph=True)
        found += [parameter.grad for parameter in module.parameters()]
    return found


def through_a_copy_between(module):
    first, other = loss(module), loss(module, 1)
    first.backward()
    held = [parameter.grad for parameter in module.parameters()]
    twin = copy.deepcopy(module)
    module.zero_grad()
    other.backward()
    step(twin, 2)
    return [*held, *(parameter.grad for each in (module, twin) for parameter in each.parameters())]


def saved_for_another_graph(module):
    (gradient,) = torch.autograd.grad(loss(module), module.get_parameter(PATH))
    scale = torch.ones_like(gradient, requires_grad=True)
    product = (gradient * scale).sum()
    del gradient
    step(module, 1)
    step(module, 2)
    product.backward()
    return [scale.grad]


def recomputed(module):
    found = []
    for reentrant in (True, False):
        x = torch.randn(4, SHAPE[0], generator=torch.Generator().manual_seed(0)).requires_grad_()
        module.zero_grad()
        checkpoint(module, x, use_reentrant=reentrant).square().sum().backward()
        found += [parameter.grad for parameter in module.parameters()]
    return found


def trained_by_closures(module):
    optimizer = torch.optim.LBFGS(module.parameters(), lr=0.1, max_iter=4, line_search_fn="strong_wolfe")

    def closure(seed):
        optimizer.zero_grad()
        value = loss(module, seed)
        value.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        return value

    for seed in range(2):
        optimizer.step(partial(closure, seed))
    return list(module.parameters())


USES = (
    kept_by_hooks,
    accumulated_in_the_first,
    of_one_graph_twice,
    through_a_copy_between,
    saved_for_another_graph,
    recomputed,
    trained_by_closures,
)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_whoever_uses_gradients_has_those_of_plain_products(use, monkeypatch):
    got = [tensor.detach() for tensor in use(lower(network()))]
    monkeypatch.setattr(Memory, "product", lambda _, gradient, mask: gradient * mask)
    expected = [tensor.detach() for tensor in use(lower(network()))]
    torch.testing.assert_close(got, expected)


def test_gradients_of_several_calls_add_up():
    module = lower(network())
    for seed in range(3):
        loss(module, seed).backward()
    wanted = sum(plain_gradient(seed) for seed in range(3))
    torch.testing.assert_close(module.get_parameter(PATH).grad, wanted)


def test_gradients_that_are_asked_for_one_by_one_are_apart():
    module = lower(network())
    weight = module.get_parameter(PATH)
    both = loss(module), loss(module, 1)
    one, again = (torch.autograd.grad(both[0], weight, retain_graph=True)[0] for _ in range(2))
    (other,) = torch.autograd.grad(both[1], weight)
    for got, seed in ((one, 0), (again, 0), (other, 1)):
        torch.testing.assert_close(got, plain_gradient(seed))


def test_a_batch_of_gradients():
    module = lower(network())
    outputs, weight = module(torch.randn(4, SHAPE[0])).sum(0), module.get_parameter(PATH)
    seeds = torch.eye(SHAPE[-1])
    (rows,) = torch.autograd.grad(outputs, weight, seeds, is_grads_batched=True, retain_graph=True)
    for row, wanted in zip(rows, outputs, strict=True):
        torch.testing.assert_close(row, torch.autograd.grad(wanted, weight, retain_graph=True)[0])


def test_an_expanded_gradient():
    module = lower(network())
    module.get_submodule("projection1")().sum().backward()
    assert torch.equal(module.get_parameter(PATH).grad, module.get_buffer("projection1.mask"))


def test_threads_that_differentiate_one_module_get_gradients_of_their_own():
    module = lower(network())
    weight = module.get_parameter(PATH)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: torch.autograd.grad(loss(module, seed), weight)[0], range(40)))
    for seed, gradient in enumerate(found):
        torch.testing.assert_close(gradient, plain_gradient(seed))


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_have_memory_of_their_own(twin):
    module = lower(network())
    size = len(pickle.dumps(module))
    step(module)
    assert len(pickle.dumps(module)) == size
    other = twin(module)
    step(other, 1)
    step(module, 2)
    torch.testing.assert_close(other.get_parameter(PATH).grad, plain_gradient(1))


def test_another_precision_is_computed_in_it():
    module = lower(network())
    step(module)
    module.double()
    module.zero_grad()
    module(torch.randn(4, SHAPE[0], dtype=torch.float64)).square().sum().backward()
    assert module.get_parameter(PATH).grad.dtype == torch.float64
