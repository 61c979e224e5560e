"""How the processes of verbs are set: what they free stays with them, and what they imported is no garbage."""

import os
import subprocess
import sys

import pytest

ROUNDS = """
import resource
import numpy as np
from nestgraph.loop.own_process import keep_freed_memory

def used():
    blocks = [np.ones(5 << 20, np.float32) for _ in range(6)]

heard = keep_freed_memory()
used()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    used()
print(heard, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def rounds(**environment):
    """Whether it was heard, and the pages that the system cleared anew for what was needed and freed before."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", ROUNDS]
    said = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout.split()
    return said[0] == "True", int(said[1])


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: there is no glibc here")
def test_freed_memory_is_not_cleared_anew():
    heard, cleared = rounds()
    assert heard
    assert cleared < 300  # of 30,720 pages that a round writes to


def test_a_setting_of_the_environment_stands():
    assert not rounds(MALLOC_TRIM_THRESHOLD_="131072")[0]


def test_what_is_imported_is_looked_at_no_more():
    program = """
import gc
from nestgraph.loop.own_process import NEW_OBJECTS, prepare_process
before = len(gc.get_objects())
prepare_process()
print(before - len(gc.get_objects()) > before / 2, gc.get_threshold()[0] == NEW_OBJECTS)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "True"]
