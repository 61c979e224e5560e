"""C files built and run as users build them, and what they are held to."""

import shutil

import numpy as np
import pytest

from nestgraph.chip.building import outputs_of, types_of
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.text import written
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import forward
from tests.strategies import FAMILIES, inputs_for

SUPPORTED = tuple(family for family in FAMILIES if family not in ("opaque", "unitwise"))
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
GCC, AVR = (shutil.which(name) for name in ("gcc", "avr-gcc"))


def missing(name):
    """Skip, and say so, what needs a compiler that this machine lacks."""
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"NOT RUN: {name} is not installed here")


def ported(network, inputs):
    """Samples by input layer as ports take them."""
    return [given_out(port, inputs[port.layer]) for port in network.inputs]


def check_floats(network, options=("-std=c99", *STRICT, *SANITIZERS), by=None, batch=2):
    """Hold C of floats to the reference: within 1e-5 of the largest output, and what single precision takes itself.

    Returns whether there was anything to compare: outputs may be no finite numbers, or lie behind numbers that single
    precision cannot hold.
    """
    program = scheduled(network)
    text = written(network, program, "net")
    inputs = inputs_for(network, batch, np.random.default_rng(7))
    samples = [array.astype(kind) for array, kind in zip(ported(network, inputs), types_of(text, program), strict=True)]
    results = outputs_of(text, program, samples, by or GCC, options)
    exact, single = forward(network, inputs), forward(network, inputs, np.float32)
    compared = False
    for port, got in zip(network.outputs, results, strict=True):
        wanted, rounded = (given_out(port, each[port.layer]) for each in (exact, single))
        if np.isfinite([wanted, rounded]).all():
            compared = True
            allowed = 1e-5 * np.abs(wanted).max() + 10 * np.abs(rounded - wanted).max() + 1e-30
            assert np.abs(got.reshape(wanted.shape) - wanted).max() <= allowed
    return compared
