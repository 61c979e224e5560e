"""Chips compute to the bit what this machine computes, where integers alone do: ints of 16 bits as those of 32."""

import numpy as np
import pytest

from nestgraph.chip.building import outputs_of
from nestgraph.chip.quantising import quantised
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.text import written
from nestgraph.seeds import cnn, mlp
from nestgraph.snapshot import load
from tests.chip.emulators import on_arm, on_avr, on_full_avr
from tests.chip.test_floats import RESULTS
from tests.chip.trying import GCC, missing

pytestmark = pytest.mark.chip

NETWORKS = {
    "dense": lambda: mlp((20, 12, 8, 5), density=0.4, seed=1),
    "tables": lambda: mlp((20, 12, 8, 5), density=0.4, seed=2, activation="tanh"),
    "bounds": lambda: mlp((20, 12, 8, 5), density=0.4, seed=3, activation="relu6"),
    "pooled": lambda: cnn((3,), (6,), 0.6, size=8, classes=3),
}
EMULATORS = {
    "arm": pytest.param(on_arm, marks=[missing("arm-none-eabi-gcc"), missing("qemu-system-arm")], id="arm"),
    "avr": pytest.param(on_avr, marks=[missing("avr-gcc"), missing("simavr")], id="avr"),
    "full avr": pytest.param(on_full_avr, marks=[missing("avr-gcc"), missing("simavr")], id="full-avr"),
}


def check(network, emulated, folder, count=6, samples=None):
    program = scheduled(network)
    (_, value) = program.inputs[0]
    drawn = np.random.default_rng(0).standard_normal((count, *value.shape)) if samples is None else samples
    form = quantised(program, [drawn])
    text = written(network, program, "net", form)
    whole = form.scales[value.name].of(drawn[:count]).astype(np.int8)
    here = outputs_of(text, program, [whole], GCC)[0].reshape(count, -1)
    assert here.min() < here.max()
    np.testing.assert_array_equal(emulated(text, program, whole, folder), here)


@missing("gcc")
@pytest.mark.parametrize("emulated", EMULATORS.values())
@pytest.mark.parametrize("name", NETWORKS)
def test_a_chip_gives_the_same(name, emulated, tmp_path):
    check(NETWORKS[name](), emulated, tmp_path)


@missing("gcc")
@pytest.mark.mnist
@pytest.mark.parametrize("emulated", EMULATORS.values())
def test_a_committed_network(emulated, tmp_path):
    from nestgraph.data.datasets import load_dataset

    images = load_dataset("mnist").test.inputs[:200].reshape(200, -1)
    check(load(RESULTS / "lenet-300-100-compact.json"), emulated, tmp_path, 10, images)


@missing("gcc")
@pytest.mark.mnist
@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet-300-100-compact", "lenet-5-compact"])
@missing("arm-none-eabi-gcc")
@missing("qemu-system-arm")
def test_committed_networks_on_a_thousand_images(name, tmp_path):
    from nestgraph.data.datasets import load_dataset

    network = load(RESULTS / f"{name}.json")
    images = load_dataset("mnist").test.inputs[:1000]
    flat = images.reshape(1000, -1) if "300" in name else images.reshape(1000, 1, 28, 28)
    check(network, on_arm, tmp_path, 1000, flat)


@missing("gcc")
@missing("avr-gcc")
@missing("simavr")
@pytest.mark.mnist
def test_a_committed_network_on_two_hundred_images(tmp_path):
    from nestgraph.data.datasets import load_dataset

    images = load_dataset("mnist").test.inputs[:200].reshape(200, -1)
    check(load(RESULTS / "lenet-300-100-compact.json"), on_full_avr, tmp_path, 200, images)
