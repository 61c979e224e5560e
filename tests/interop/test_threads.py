"""Tracing leaves the process alone: other modules, other threads, other traces, and the module itself."""

import functools
import math
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import fx, nn
from torch.fx._symbolic_trace import is_fx_symbolic_tracing

import nestgraph as ng
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report
from nestgraph.lowering.tracing import InstanceTracer
from nestgraph.snapshot.files import from_bytes, to_bytes
from tests.interop.odd_modules import Branching


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4))


class Meanwhile(nn.Module):
    """Does something else while it is traced."""

    def __init__(self, function):
        super().__init__()
        self.inner, self.function = nn.Linear(8, 4), function

    def forward(self, x):
        self.function(isinstance(x, fx.Proxy))
        return self.inner(x)


def traced_while(function):
    """What a function gave in another thread while a module was traced, and at any time."""
    found = []
    with ThreadPoolExecutor(1) as pool:
        module = Meanwhile(lambda tracing: found.append((tracing, pool.submit(function).result(60))))
        import_module(module, torch.randn(2, 8))
    return [got for tracing, got in found if tracing], [got for _, got in found]


def test_what_another_thread_does_while_a_module_is_traced_is_as_ever():
    other, x = small().eval(), torch.randn(3, 8)

    def work():
        return other(x), fx.symbolic_trace(small(1)).eval()(x), math.sqrt(2), is_fx_symbolic_tracing()

    expected = work()
    before = nn.Module.__call__, nn.Module.__getattr__, torch.autograd.Function.__dict__["apply"], math.sqrt
    during, _ = traced_while(work)
    assert len(during) == 1
    for got, wanted in zip(during[0], expected, strict=True):
        assert torch.equal(got, wanted) if isinstance(wanted, torch.Tensor) else got == wanted
    assert before == (nn.Module.__call__, nn.Module.__getattr__, torch.autograd.Function.__dict__["apply"], math.sqrt)


class Pair(NamedTuple("Pair", [("x", float), ("y", float)])):
    """Made of one number, so whoever takes it apart cannot put it together again."""

    def __new__(cls, x):
        return super().__new__(cls, x, 2 * x)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, pair):
        ctx.save_for_backward(x)
        return x * sum(pair)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None


@fx.wrap
def spread(pair):
    return pair.y - pair.x


def test_functions_that_a_trace_replaces_are_themselves_in_other_threads():
    """They take what they always take, which torch.fx's replacements take apart and put together again."""

    def work():
        x, tracer = torch.ones(2, requires_grad=True), fx.Proxy(fx.Node(fx.Graph(), "x", "placeholder", "x", (), {}))
        (gradient,) = torch.autograd.grad(Doubled.apply(x, Pair(1.0)).sum(), x)
        own = type(Doubled.apply(tracer, (1.0, 2.0))).__name__, pickle.loads(pickle.dumps(math.sqrt))(4.0)
        return math.dist(Pair(1.0), Pair(3.0)), math.prod(Pair(1.0)), spread(Pair(4.0)), gradient.tolist(), own

    during, ever = traced_while(work)
    assert len(during) == 1
    assert ever == [work()] * len(ever)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_process_that_another_thread_forks_while_a_module_is_traced_can_import():
    tracing, done = threading.Event(), threading.Event()

    def wait(is_traced):
        if is_traced:
            tracing.set()
            done.wait(0.5)

    with ThreadPoolExecutor(1) as pool:
        imported = pool.submit(import_module, Meanwhile(wait), torch.randn(2, 8))
        assert tracing.wait(60)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            os._exit(not InstanceTracer().trace(nn.Identity()).nodes or math.dist(Pair(1.0), Pair(1.0)) != 0)
        done.set()
        imported.result(60)
    assert os.waitpid(child, 0)[1] == 0


def test_no_class_of_torch_is_changed_while_a_module_is_traced():
    before = nn.Module.__call__, nn.Module.__getattr__, nn.Linear.__call__
    during, ever = traced_while(lambda: (nn.Module.__call__, nn.Module.__getattr__, nn.Linear.__call__))
    assert set(during) == set(ever) == {before}


def test_a_module_in_training_stays_so_while_it_is_imported_by_many():
    module, x = small().train(), torch.randn(4, 8)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with ThreadPoolExecutor(4) as pool:
        networks = [*pool.map(lambda _: import_module(module, x), range(12))]
        modes = [*pool.map(lambda _: all(part.training for part in module.modules()), range(4))]
    assert all(modes)
    assert len({network.digest for network in networks}) == 1
    assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())


class Registered(nn.Module):
    """Lists its subclasses, calls parts by other ways than attributes, and keeps a count."""

    known: list[type] = []  # noqa: RUF012

    def __init_subclass__(cls, **options):
        Registered.known.append(cls)

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.listed, self.named = [self.a, self.b], {"b": self.b}
        self.bound, self.partial = self.twice, functools.partial(self.twice, times=3)
        self.calls = 0
        self.seen = []

    def twice(self, x, times=2):
        return self.a(x) * times

    def forward(self, x):
        self.calls += 1
        self.seen.append(type(self).__name__)
        for part in self.listed:
            x = torch.relu(part(x))
        return self.named["b"](self.bound(x) + self.partial(x) / math.sqrt(x.size(-1)))


def test_an_import_leaves_no_trace_in_the_module_and_finds_its_parts_by_any_way():
    torch.manual_seed(0)
    module, x = Registered(), torch.randn(4, 8)
    network = import_module(module, x)
    assert (module.calls, module.seen, Registered.known) == (0, [], [])
    assert import_report(network).opaque_share == 0
    torch.testing.assert_close(ng.lower(network).eval()(x), module(x))


def test_a_scripted_part_stays_whole_and_in_its_mode():
    inner = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))).train()
    module, x = nn.Sequential(nn.Linear(8, 8), inner, nn.Linear(8, 2)), torch.randn(4, 8)
    network = import_module(module, x)
    assert inner.training
    assert sum(row.kind == "opaque" for row in import_report(network).rows) == 1
    torch.testing.assert_close(ng.lower(network).eval()(x), module.eval()(x))


# -- many threads ---------------------------------------------------------------------------------------


def imported(seed):
    """Import a module with an opaque part, and what its network gives."""
    torch_state = torch.Generator().manual_seed(seed)
    module = nn.Sequential(
        nn.Linear(8, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.ReLU(), nn.Linear(6, 3)
    ).eval()
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch_state)
    x = torch.randn(2, 8, generator=torch_state)
    network = import_module(module, x)
    torch.testing.assert_close(ng.compact(network, 2)(x), module(x))
    return network


def jobs():
    """What seven threads do with networks of their own: (name, a function of no argument that gives a value)."""
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    networks = [imported(seed) for seed in range(7)]
    plain = import_module(small().eval(), x)
    module, lowered, branching = small().eval(), ng.lower(networks[0]).eval(), Branching()
    return {
        "run": lambda: (module(x), lowered(x), branching(x)),
        "lower": lambda: ng.lower(networks[1]).eval()(x),
        "compact": lambda: ng.compact(networks[2], 3)(x),
        "save and load": lambda: from_bytes(to_bytes(plain)).digest,
        "draw": lambda: str(plain._repr_mimebundle_()),
        "narrow": lambda: ng.edits.narrow(plain, 0.5).apply(plain).network.digest,
        "refer": lambda: ng.graph.reference.predict(networks[6], x.numpy()),
    }


def same(got, wanted):
    if isinstance(wanted, tuple):
        return all(map(same, got, wanted))
    if isinstance(wanted, torch.Tensor | np.ndarray):
        return bool((got == wanted).all())
    return got == wanted


def exported(seed):
    """The network of a small module that torch.export reads."""
    state = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Linear(8, 6), Asking(), nn.Linear(6, 3)).eval()
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=state)
    network = import_module(module, torch.randn(2, 8, generator=state))
    assert "read by torch.export" in import_report(network).rows[0].note
    return network


class Asking(nn.Module):
    """Goes by its width, which torch.fx does not know."""

    def forward(self, x):
        return torch.relu(x) if x.shape[1] == 6 else x


def worked_beside_imports(goes_on, imported=imported):
    """Do all jobs in threads of their own as long as `goes_on` says, while one thread imports; how often each ran."""
    work, stop, rounds = jobs(), threading.Event(), {}
    expected = {name: job() for name, job in work.items()}

    def repeated(name):
        rounds[name] = 0
        while not stop.is_set():
            assert same(work[name](), expected[name]), name
            rounds[name] += 1

    def importing():
        count = 0
        wanted = imported(0).digest
        while goes_on(count):
            assert imported(0).digest == wanted
            count += 1
        stop.set()
        return count

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(repeated, name) for name in work]
        try:
            count = pool.submit(importing).result()
        finally:
            stop.set()
        for job in waiting:
            job.result()
    return count, rounds


def test_one_thread_imports_while_seven_do_other_things():
    count, _ = worked_beside_imports(lambda count: count < 2)
    assert count == 2


@pytest.mark.slow
@pytest.mark.parametrize("reading", [imported, exported])
def test_one_thread_imports_for_half_a_minute_while_seven_do_other_things(reading):
    until = time.monotonic() + 30
    count, rounds = worked_beside_imports(lambda _: time.monotonic() < until, reading)
    assert count
    assert all(rounds.values())
