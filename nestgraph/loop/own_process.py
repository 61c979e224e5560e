"""How a process of our own is set before it trains: one of the verbs, or a worker of a sweep.

What is said here holds for a whole process and is not taken back, so functions leave the process that calls them as it
is.
"""

import ctypes
import gc
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of `mallopt` (malloc.h of glibc)."""
LARGEST = 32 * 2**20
"""Bytes of a piece of memory that is kept: the most that glibc takes for `MMAP_THRESHOLD`."""
KEPT = 2**30
"""Bytes that stay with the process once nothing needs them."""
NEW_OBJECTS = 5_000
"""How many containers more than were given back are made before Python looks for cycles among them."""


def prepare_process() -> None:
    """Set memory and the search for garbage, once a process: what is there by then is none, and stays."""
    keep_freed_memory()
    gc.freeze()  # modules of a million objects stay: none of them is looked at again
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])


def keep_freed_memory() -> bool:
    """Have the C library keep memory that is freed, which it else gives back at every step for the system to clear.

    Who set `MALLOC_TRIM_THRESHOLD_` or `MALLOC_MMAP_THRESHOLD_` is left with that.

    Returns:
        Whether it is heard: by glibc, on Linux.
    """
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))
