"""Gradients of masked weights are computed into memory that nobody holds any more, and into no other."""

import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nestgraph.lowering import lower
from nestgraph.seeds import mlp

SHAPE = (8, 6, 5, 3)
PATH = "projection1.weight"


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
