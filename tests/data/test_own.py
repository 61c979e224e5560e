"""Data of the user's own: whatever gives batches is read again to the bit, and what does not is refused."""

import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from nestgraph.data.loaded import OwnBatches
from nestgraph.data.minibatch import Minibatch
from nestgraph.data.own import as_batches, dataset, split
from nestgraph.errors import DataError
from tests.laws import quick

COUNT, WIDTH = 30, 4
RNG = np.random.default_rng(0)
X, Y = RNG.random((COUNT, WIDTH), np.float32), RNG.integers(0, 3, COUNT)


class Augmented(TorchDataset):
    """Samples that are varied by every generator that user code may draw from."""

    def __len__(self):
        return COUNT

    def __getitem__(self, place):
        noise = torch.rand(WIDTH) + float(np.random.random()) + random.random()
        return torch.tensor(X[place]) + noise, int(Y[place])


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.rand(WIDTH), torch.rand(2)


def stream(seed):
    rng = np.random.default_rng(seed)
    while True:
        yield rng.random((5, WIDTH), np.float32), rng.random((5, 1), np.float32)


def loader(**options):
    return DataLoader(Augmented(), 7, **options)


SOURCES = {
    "arrays": lambda: ((X, Y), {"size": 8}),
    "weighted arrays": lambda: ((X, Y, np.ones(COUNT)), {"size": 8}),
    "two inputs": lambda: (((X, X[:, :2]), Y), {"size": 8}),
    "a dataset": lambda: (Augmented(), {"size": 7}),
    "a tensor dataset": lambda: (TensorDataset(torch.tensor(X), torch.tensor(Y)), {"size": 7}),
    "a loader": lambda: (loader(shuffle=True), {}),
    "a loader with a generator": lambda: (loader(shuffle=True, generator=torch.Generator()), {}),
    "a loader with a sampler": lambda: (loader(sampler=RandomSampler(Augmented(), generator=torch.Generator())), {}),
    "a loader in order": lambda: (loader(), {}),
    "a list of batches": lambda: ([(X[:9], Y[:9]), (X[9:12], Y[9:12])], {}),
    "named inputs": lambda: ([({"a": X, "b": X[:, :2]}, Y)], {}),
    "a function": lambda: (lambda seed: [(X[np.random.default_rng(seed).permutation(COUNT)[:9]], Y[:9])], {}),
    "a stream": lambda: (stream, {"steps": 6}),
    "an endless dataset": lambda: (DataLoader(Endless(), 3), {"steps": 4}),
}


def tensors(batches):
    return [[each.numpy() for each in (*batch.inputs, *batch.told)] for batch in batches]


def same(first, second):
    return len(first) == len(second) and all(
        len(a) == len(b) and all(map(np.array_equal, a, b)) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("kind", SOURCES)
def test_an_epoch_is_given_again_and_gone_on_with(kind):
    """One seed, one epoch, whatever the global generators did meanwhile, and the rest of it from any batch on."""
    data, options = SOURCES[kind]()
    batches = as_batches(data, **options)

    def epoch(seed, start=0):
        drawn = batches.epoch(seed)
        found = []
        for batch in drawn.rest(start):
            torch.rand(3)  # as dropout draws
            random.random()
            found.append(batch)
        assert len(found) == drawn.count - start
        return tensors(found)

    first = epoch(5)
    assert same(epoch(5), first)
    if isinstance(batches, OwnBatches):
        assert as_batches(SOURCES[kind]()[0], **options).held.sha256 == batches.held.sha256
    for start in range(0, len(first), batches.together):
        assert same(epoch(5, start), first[start:])
    if kind not in ("a list of batches", "named inputs"):
        assert not same(epoch(6), first)


@pytest.mark.parametrize("kind", SOURCES)
def test_global_generators_stay_as_they_were(kind):
    data, options = SOURCES[kind]()
    batches = as_batches(data, **options)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    tensors(batches.drawn(3, 2))
    tensors(batches.ordered())
    tensors(batches.epoch(3).rest())
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_no_difference_between_readings(workers):
    batches = as_batches(loader(shuffle=True, num_workers=workers))
    first = tensors(batches.epoch(4).rest())
    assert same(tensors(batches.epoch(4).rest()), first)
    assert same(tensors(batches.epoch(4).rest(2)), first[2:])
    assert not same(tensors(batches.epoch(5).rest()), first)


@quick(40)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_every_sample_is_read_once_in_batches_of_one_size(count, size, most):
    inputs = np.arange(count, dtype=np.float32)[:, None]
    batches = as_batches((inputs, np.arange(count) % 2), size)
    assert np.concatenate([part[0] for part in tensors(batches.ordered(most))]).tolist() == inputs.tolist()
    for epoch in (tensors(batches.epoch(0).rest()), tensors(batches.drawn(1, None))):
        sizes = [len(part[0]) for part in epoch]
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1
        assert sorted(np.concatenate([part[0] for part in epoch]).ravel().tolist()) == inputs.ravel().tolist()
        assert all((part[1] == part[0][:, 0] % 2).all() for part in epoch)


def test_targets_are_known_after_one_reading():
    batches = as_batches([(X[:9], Y[:9]), (X[9:12], Y[9:12])])
    assert batches.told().tolist() == Y[:12].tolist()
    assert (batches.samples, as_batches(stream, steps=3).samples) == (12, None)


# -- splits ------------------------------------------------------------------------------------------


def test_arrays_are_split_and_keep_together_what_belongs_together():
    groups = np.arange(COUNT) // 3
    data = split(((X, X[:, :2]), Y, np.arange(COUNT)), kind="group", by=groups, seed=1)
    rows = {row.tobytes(): place for place, row in enumerate(X)}
    seen = set()
    for part in data.splits.values():
        places = [rows[row.tobytes()] for row in part.parts[0]]
        assert part.weights.tolist() == places
        assert part.targets.tolist() == Y[places].tolist()
        assert np.array_equal(part.parts[1], X[places, :2])
        assert not seen & set(groups[places].tolist())
        seen |= set(groups[places].tolist())
    assert (data.classes, data.facts.inputs, len(seen)) == (3, ((WIDTH,), (2,)), COUNT // 3)


def test_frames_are_split_as_tables_are():
    data = split(pd.DataFrame(X, columns=list("abcd")).assign(y=Y), target="y", seed=2)
    assert (data.classes, data.facts.features, data.names) == (3, tuple("abcd"), ("0", "1", "2"))
    numbers = split(pd.DataFrame(X, columns=list("abcd")), target=("a", "b"), seed=2)
    assert (numbers.classes, numbers.facts.width, numbers.names) == (0, 2, ("a", "b"))


def test_splits_are_given_each_for_itself():
    data = dataset(loader(shuffle=True), [(X[:9], Y[:9])], names=("x", "y", "z", "w"))
    assert (data.classes, data.facts.inputs, len(data.train), len(data.test)) == (4, ((WIDTH,),), COUNT, 9)
    streamed = dataset(stream, (X, X[:, :1]), steps=4)
    assert (streamed.classes, streamed.facts.width) == (0, 1)


# -- refusals ----------------------------------------------------------------------------------------


def fails(_):
    yield X, Y
    raise KeyError("no such file")


REFUSED = {
    "a one-shot iterator": (
        lambda: iter([(X, Y)]),
        {},
        "can be read again, got list_iterator, which is read once: give",
    ),
    "a generator": (lambda: stream(0), {}, "got generator, which is read once: give a function of a seed"),
    "a loader that gives nothing": (lambda: DataLoader(TensorDataset(torch.zeros(0, 2)), 3), {}, "batches, got none"),
    "an empty list": (list, {}, "expected batches, got none: does the loader"),
    "shapes that change": (
        lambda: [(X, Y), (X[:, :2], Y)],
        {},
        r"batch 2: expected samples as in the first, inputs \(\(4,\),\) and targets \(\), got inputs \(\(2,\),\)",
    ),
    "weights that stop": (lambda: [(X, Y, Y), (X, Y)], {}, "batch 2: expected samples as in the first"),
    "lengths that differ": (
        lambda: [(X, Y[:3])],
        {},
        "expected a target for each of at least one sample, got lengths 30, 3",
    ),
    "inputs alone": (lambda: [X, X], {}, r"batch 1: expected \(inputs, targets\) or .*give both, as in yield x, y"),
    "words": (
        lambda: [(X, np.array(["a"] * COUNT))],
        {},
        "expected arrays or tensors of numbers, got ndarray of shape",
    ),
    "infinite values": (lambda: [(X, Y), (X * np.inf, Y)], {}, "batch 2: expected finite numbers, got NaN or infinity"),
    "kept workers": (lambda: loader(num_workers=1, persistent_workers=True), {}, "set persistent_workers=False"),
    "a stream that ends": (lambda: lambda _: [(X, Y)], {"steps": 3}, "expected a stream of at least 3 batches, got 1"),
    "code that fails": (lambda: fails, {}, "got KeyError: 'no such file': the error is of the data's own code"),
    "no data": (lambda: 3, {}, "expected data as arrays .*, got 3"),
    "words in arrays": (
        lambda: (X, np.array(["a"] * COUNT)),
        {},
        "expected targets that are numbers, got .*numpy.unique",
    ),
    "too few targets": (lambda: (X, Y[:3]), {}, "expected at least one sample, and a target for each, got 30, 3"),
    "infinite arrays": (lambda: (X * np.nan, Y), {}, "expected finite numbers, got NaN or infinity"),
    "a frame": (lambda: pd.DataFrame(X), {}, r"got a frame: split\(frame, target=...\)"),
    "no size": (lambda: (X, Y), {"size": 0}, "expected size: a whole number from 1 to 9,007,199,254,740,991, got 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_gives_no_batches_is_refused_in_a_sentence(case):
    make, options, sentence = REFUSED[case]
    with pytest.raises(DataError, match=sentence):
        tensors(as_batches(make(), **options).epoch(0).rest())


SPLITS = {
    "a loader": (lambda: split(loader()), r"each for itself: dataset\(train, validation\)"),
    "a frame without target": (lambda: split(pd.DataFrame(X)), "expected the name of a frame's target column"),
    "arrays with a target": (lambda: split((X, Y), target="y"), "expected no target beside arrays"),
    "groups of another length": (lambda: split((X, Y), kind="group", by=[1]), r"for each of 30 samples, got \(1,\)"),
    "groups without end": (
        lambda: split((X, Y), kind="group", by=range(10**12)),
        "own, by: expected an array, got range",
    ),
    "groups of nothing": (lambda: split((X, Y), kind="group"), "expected a value of each sample to group them by"),
    "other shapes": (
        lambda: dataset((X, Y), (X[:, :2], Y)),
        r"validation: expected inputs of \(4,\), got inputs of \(2,\)",
    ),
    "other targets": (lambda: dataset((X, Y), (X, X[:, 0])), "expected targets that are numbers, alike in all splits"),
}


@pytest.mark.parametrize("case", SPLITS)
def test_what_cannot_be_split_is_refused_in_a_sentence(case):
    make, sentence = SPLITS[case]
    with pytest.raises(DataError, match=sentence):
        make()


def test_batches_are_cut():
    batch = Minibatch((torch.arange(7),), (torch.arange(7),))
    assert [part.inputs[0].tolist() for part in batch.cut(3)] == [[0, 1, 2], [3, 4, 5], [6]]


STREAM = """
import re
import numpy as np, torch
from nestgraph.data.own import as_batches
from nestgraph.loop.stepping import Steps
from nestgraph.loop.training import Course, train
from nestgraph.loop.training_state import Training
from nestgraph.lowering import Workbench
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import mlp
read = 0
def big(seed):
    global read
    rng = np.random.default_rng(seed)
    for _ in range(300):
        inputs = rng.random((256, 65536), np.float32)
        read += inputs.nbytes
        yield inputs, inputs[:, :1] - inputs[:, 1:2]
bench = Workbench(mlp((65536, 4, 1), 0.01, 0, batch_norm=False), lambda m: torch.optim.SGD(m.parameters(), lr=0.01))
course = Course(as_batches(big, steps=300), torch.nn.functional.mse_loss)
steps = Steps(bench, TrainingOptions(learning_rate=0.01), bench.device)
train(bench, course, Training(purpose="stream", index=0, epochs=1, rate=1.0), steps, 0)
assert bench.take_in()
own = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())  # what getrusage tells is the parent's, too
print(read, int(own[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_hundred_steps_on_a_stream_of_20_gb_take_less_than_one():
    done = subprocess.run([sys.executable, "-c", STREAM], capture_output=True, text=True, check=True)
    total, most = map(int, done.stdout.split())
    assert total > 20e9 * 0.98
    assert most < 1e9
