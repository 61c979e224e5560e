"""What an import computes once for the module and its network, and what it tells of shapes without numbers."""

import pytest
import torch
from torch import fx, nn
from torch.fx.node import map_aggregate
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.interop import work
from nestgraph.interop.extents import differences
from nestgraph.interop.tracing import Recorder, TensorFact
from nestgraph.interop.work import OPERATORS, Work

IMAGES = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class InPlace(nn.Module):
    """Writes into what a convolution gave, and into what one read."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = functional.relu_(self.one(x))
        y = self.two(x)
        return y + functional.relu_(x)


class Twice(nn.Module):
    """Calls one convolution two times on the same numbers, and a third time on others."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.one(x) + self.one(x) + self.one(self.one(x).tanh())


def classifier() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
    layers += [nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 3)]
    return nn.Sequential(*layers)


def made(kind) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


class Counted(TorchDispatchMode):
    """Counts calls of what takes long that are really made."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += func in OPERATORS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [classifier, InPlace, Twice])
def test_what_is_taken_over_is_what_would_be_computed(kind):
    module = made(kind)
    network = ng.import_module(module, IMAGES)
    again = ng.lower(network, layout="contiguous", execution="masked").eval()
    with torch.no_grad():
        with Work() as done:
            expected = module(IMAGES.clone())
        with Counted() as counted, done.taken_over():
            taken = again(IMAGES)
        with Counted() as alone:
            assert torch.equal(taken, again(IMAGES))
    assert torch.allclose(taken, expected, atol=1e-6)
    assert counted.calls < alone.calls


def test_a_classifier_is_computed_once():
    module = made(classifier)
    network = ng.import_module(module, IMAGES)
    with torch.no_grad(), Work() as done:
        expected = module(IMAGES.clone())
    with torch.no_grad(), Counted() as counted:
        assert differences(network, [IMAGES], expected, done) == [0.0]
    assert counted.calls == 0


def test_nothing_is_taken_over_of_other_weights():
    module = made(classifier)
    network = ng.import_module(module, IMAGES)
    with torch.no_grad(), Work() as done:
        expected = module(IMAGES.clone())
        module[4].weight[0, 0] += 1  # what the network has is what was there before
    with torch.no_grad():
        assert max(differences(network, [IMAGES], expected, done)) < 1e-6
        with Work() as changed:
            other = module(IMAGES.clone())
        assert max(differences(network, [IMAGES], other, changed)) > 1e-3


def test_an_import_still_sees_what_tracing_does_not():
    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.calls = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), 0

        def forward(self, x):
            self.calls += 1
            return self.two(self.one(x) * self.calls)

    with pytest.raises(InteropError, match="does something on the way that tracing does not see"):
        ng.import_module(made(Restless), IMAGES)


def test_what_is_too_much_to_keep_is_computed_twice(monkeypatch):
    module = made(classifier)
    monkeypatch.setattr(work, "MOST", 100)
    network = ng.import_module(module, IMAGES)
    with torch.no_grad(), Work() as done:
        expected = module(IMAGES.clone())
    with torch.no_grad(), Counted() as counted:
        assert max(differences(network, [IMAGES], expected, done)) < 1e-6
    assert counted.calls == 3  # all but what the linear maps give


class Decorated(nn.Module):
    """Computes in inference mode whatever calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = made(classifier)

    @torch.inference_mode()
    def forward(self, x):
        return self.inner(x)


def test_tensors_of_inference_mode_are_read():
    """They have no versions, which say elsewhere whether something was changed."""
    network = ng.import_module(made(classifier), IMAGES)
    assert len(ng.import_module(made(Decorated), IMAGES).layers) == len(network.layers)
    with torch.inference_mode():
        assert ng.import_module(made(classifier), IMAGES.clone()).digest == network.digest
        born = made(classifier)
    assert ng.import_module(born, IMAGES).digest == network.digest


class Mixed(nn.Module):
    """Asks for shapes, types, devices and numbers on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.line = nn.Conv2d(3, 6, 3), nn.LayerNorm(10), nn.Linear(10, 5)
        self.act, self.table = nn.PReLU(6), nn.Embedding(7, 10)
        self.pool = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x):
        x = self.act(self.conv(x))
        y, places = self.pool(x)
        y = functional.hardswish(functional.pad(functional.max_unpool2d(y, places, 2), (0, 1)))[..., :10].clamp(-1, 1)
        y = y.to(x.device).view(x.size(0), -1, x.shape[-1])
        z = self.line(self.norm(y)) * torch.ones(5, device=x.device)
        chosen = self.table(z.argmax(-1)) + functional.softmax(y, -1)
        some, rest = torch.split(torch.cat([chosen, y], 1), 60, 1)
        return z, some.mean((1, 2), keepdim=True), rest.flatten(1).sum(), x.dim(), x.is_contiguous()


class AsItIs(fx.Interpreter):
    """Computes everything, and notes what it gave."""

    def __init__(self, module) -> None:
        super().__init__(module)
        self.facts = {}

    def run_node(self, n):
        result = super().run_node(n)
        self.facts[n] = map_aggregate(result, TensorFact.of)
        return result


@pytest.mark.parametrize("kind", [classifier, InPlace, Twice, Mixed])
def test_facts_without_numbers_are_those_of_a_run(kind):
    graph = fx.symbolic_trace(made(kind))
    recorder, interpreter = Recorder(graph), AsItIs(graph)
    with torch.no_grad():
        recorder.run(IMAGES.clone())
        interpreter.run(IMAGES.clone())
    assert {str(node): fact for node, fact in recorder.facts.items()} == {
        str(node): fact for node, fact in interpreter.facts.items()
    }
