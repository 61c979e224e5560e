"""Importing nestgraph changes nothing of another library or of the process."""

import subprocess
import sys

OBSERVE = """
import logging, os, random, signal, sys, warnings
import accelerate  # changes filters of warnings itself
import matplotlib, networkx, numpy, pydantic, torch
from networkx.utils import backends

def settings():
    yield "networkx", str(networkx.config), sorted(backends.backends), sorted(backends._loaded_backends)
    yield "matplotlib", dict(matplotlib.rcParams)
    yield "numpy", numpy.get_printoptions(), numpy.geterr(), str(numpy.random.get_state())
    yield "torch", torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    yield "torch", str(torch.get_rng_state())
    yield "torch", torch.are_deterministic_algorithms_enabled(), str(torch._tensor_str.PRINT_OPTS)
    yield "torch", torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark, torch.backends.mkldnn.enabled
    yield "warnings", [str(entry) for entry in warnings.filters], warnings.showwarning
    yield "logging", logging.root.level, list(logging.root.handlers), logging.raiseExceptions
    yield "process", dict(os.environ), os.getcwd(), sys.getrecursionlimit(), sys.excepthook, random.getstate()
    yield "process", [signal.getsignal(number) for number in signal.valid_signals()]

def attributes():
    for place in [networkx, matplotlib, numpy, pydantic, torch, torch.nn, torch.nn.Module, torch.Tensor, torch.fx,
                  torch.optim.Optimizer, pydantic.BaseModel, networkx.DiGraph, networkx.Graph, torch.fx.Graph]:
        yield place, {name: id(value) for name, value in vars(place).items() if not name.startswith("_abc_")}

"""
COMPARE = """
def compare(step):
    for old, new in zip(before, settings()):
        changed = [(one, other) for one, other in zip(map(str, old), map(str, new)) if one != other]
        assert not changed, (step, old[0], changed)
    for (place, old), (_, new) in zip(named, attributes()):
        assert all(new.get(name) == value for name, value in old.items()), (step, place)

before, named = list(settings()), list(attributes())
import nestgraph
compare("import nestgraph")
graph = nestgraph.seeds.mlp((4, 3, 2), density=1.0, seed=0).graph
compare("a graph")
for name in dir(nestgraph):
    getattr(nestgraph, name)
compare("all public names")
"""


def test_importing_changes_nothing_of_another_library():
    said = subprocess.run([sys.executable, "-c", OBSERVE + COMPARE], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-1500:]
