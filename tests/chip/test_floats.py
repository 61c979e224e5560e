"""C of floats gives what the network gives, without a warning or an error of memory."""

import math
import subprocess
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from nestgraph.chip.avr import FUNCTIONS, replacements
from nestgraph.chip.building import outputs_of
from nestgraph.chip.quantising import quantised
from nestgraph.chip.samples import random_samples
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.text import written
from nestgraph.errors import ExportError
from nestgraph.graph.reference import forward
from nestgraph.seeds import mlp
from nestgraph.snapshot import load
from nestgraph.spec import Activation, Dense, Layer
from nestgraph.spec.operations import ActivationFunction
from tests.chip.trying import AVR, GCC, STRICT, SUPPORTED, check_floats, missing
from tests.edits.test_mixing import OPTIONS
from tests.lowering.test_compact import built
from tests.strategies.networks import drawn, pool

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@missing("gcc")
@pytest.mark.parametrize("family", SUPPORTED)
def test_one_of_each_family(family):
    check_floats(pool(family)[5])


@missing("gcc")
@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(drawn(SUPPORTED))
def test_five_hundred_networks(network):
    check_floats(network)


def of_every_function():
    """A number, and each function of it."""
    functions = [Activation(function=name, **OPTIONS.get(name, {})) for name in get_args(ActivationFunction)]
    more = [{"function": "clamp", "high": 0.3}, {"function": "softplus", "sharpness": 2.0, "high": 1.0}]
    more += [{"function": "logit", "low": 0.1}, {"function": "softplus", "sharpness": 0.5}]
    functions += [Activation(**fields) for fields in more]
    layers = [Layer(name="x", kind="input", features=1)]
    layers += [Layer(name=f"y{n}", kind="neurons", operations=(each,), output=True) for n, each in enumerate(functions)]
    projections = [Dense(source="x", target=layer.name) for layer in layers[1:]]
    arrays = {projection.name: np.ones((1, 1)) for projection in projections}
    return built(tuple(layers), tuple(projections), arrays, {layer.name: 1 for layer in layers})


@missing("gcc")
def test_every_function():
    """As near as a number some steps of single precision away gets, however small the result: nothing cancels.

    What is no number for some numbers gets those for which it is one.
    """
    network = of_every_function()
    program = scheduled(network)
    text = written(network, program, "net")
    rng = np.random.default_rng(0)
    drawn_ones = rng.normal(size=2000) * rng.choice([1e-3, 0.03, 0.3, 1.0, 3.0], size=2000)
    samples = np.float32([-3.5, -0.6, 0.0, 0.3, 0.9, 1.0, 2.5, 7.0, *drawn_ones])[:, None]
    got = outputs_of(text, program, [samples], GCC, ("-std=c99", *STRICT))
    steps = 8 * np.finfo(np.float32).eps * np.array([0, -1, 1])
    with np.errstate(all="ignore"):
        around = [forward(network, samples.astype(float) * (1 + step)) for step in steps]
    for port, values in zip(network.outputs, got, strict=True):
        wanted = np.stack([each[port.layer] for each in around])
        known = np.isfinite(wanted).all(0)
        wanted, values = wanted[:, known], values[known]
        allowed = 2e-6 * np.abs(wanted[0]) + np.abs(wanted - wanted[0]).max(0) + 1e-14
        assert np.all(np.abs(values - wanted[0]) <= allowed), port.layer


@missing("gcc")
@pytest.mark.parametrize("name", ["lenet-5", "lenet-5-compact", "lenet-300-100-compact"])
def test_committed_networks(name):
    """lenet-5 computes its kernels where its areas are, and nowhere else."""
    assert check_floats(load(RESULTS / f"{name}.json"), ("-O1", *STRICT))


@missing("g++")
@pytest.mark.parametrize("family", ["conv", "heads"])
def test_it_is_also_cxx(family):
    check_floats(pool(family)[3], ("-xc++", "-std=c++11", *STRICT), by="g++")


def compiled(network, compiler, options, tmp_path, int8=False):
    """The object file of a network, built without a warning; None where int8 has no room for its numbers."""
    program = scheduled(network)
    try:
        form = quantised(program, random_samples(program)) if int8 else None
    except ExportError:
        return None
    text = written(network, program, "net", form)
    (tmp_path / "net.c").write_text(text.source)
    (tmp_path / "net.h").write_text(text.header)
    command = [compiler, *options, *STRICT, "-c", "net.c", "-o", "net.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tmp_path / "net.o"


@pytest.mark.chip
@missing("avr-gcc")
def test_on_avr_arrays_stay_in_flash(tmp_path):
    network = mlp((8, 6, 3), seed=0)
    found = compiled(network, AVR, ("-mmcu=atmega328p", "-Os"), tmp_path)
    said = subprocess.run(["avr-size", "-A", found], capture_output=True, text=True, check=True).stdout
    sizes = {line.split()[0]: int(line.split()[1]) for line in said.splitlines() if line.startswith(".")}
    assert sizes.get(".data", 0) == 0
    assert sizes.get(".rodata", 0) == 0
    assert sizes[".bss"] == 6 * 4


@pytest.mark.chip
@missing("avr-gcc")
def test_every_function_is_there_on_avr(tmp_path):
    compiled(of_every_function(), AVR, ("-mmcu=atmega2560", "-Os", "-std=c99"), tmp_path)


LACKING = {"rintf": np.round, "erff": np.vectorize(math.erf), "erfcf": np.vectorize(math.erfc)}
DOMAINS = {"log1pf": (-0.9, 9), "log2f": (0.1, 9), "acoshf": (1, 9), "atanhf": (-0.9, 0.9), "exp2f": (-9, 5)}


@missing("gcc")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_avr_lacks_is_what_it_is_elsewhere(name, tmp_path):
    """Built on this machine, beside the functions that NumPy has."""
    low, high = DOMAINS.get(name, (-3.5, 3.5))
    numbers = np.float32([*np.linspace(low, high, 801), *(np.arange(-3, 4) + 0.5 if name == "rintf" else ())])
    code = replacements(f"{name}(v)").replace("@", "net_")
    read = f"float v; while (fread(&v, 4, 1, stdin) == 1) {{ v = {name}(v); fwrite(&v, 4, 1, stdout); }}"
    (tmp_path / "main.c").write_text(
        f"#include <math.h>\n#include <stdio.h>\n{code}int main(void) {{ {read} return 0; }}"
    )
    subprocess.run([GCC, *STRICT, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "main"], input=numbers.tobytes(), capture_output=True, check=True).stdout
    called = LACKING.get(name) or getattr(np, f"arc{name[1:-1]}" if name[0] == "a" else name[:-1])
    np.testing.assert_allclose(np.frombuffer(said, np.float32), called(numbers.astype(float)), rtol=1e-6, atol=1e-6)


COMPILERS = {
    "arm": ("arm-none-eabi-gcc", ("-mcpu=cortex-m0", "-Os", "-std=c99")),
    "avr": ("avr-gcc", ("-mmcu=atmega2560", "-Os", "-std=c99")),
    "c++": ("g++", ("-xc++", "-std=c++20")),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("name", [pytest.param(name, marks=missing(COMPILERS[name][0])) for name in COMPILERS])
def test_no_compiler_warns(name, int8, tmp_path):
    """Nor where an int has 16 bits."""
    compiler, options = COMPILERS[name]
    for family in SUPPORTED:
        for network in pool(family)[:8]:
            compiled(network, compiler, (*options, "-Wshadow"), tmp_path, int8)
