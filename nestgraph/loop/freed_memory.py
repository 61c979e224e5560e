"""Freed memory that a training process keeps, since to get it anew costs a tenth of a step."""

import ctypes
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of `mallopt` (malloc.h of glibc)."""
LARGEST = 32 * 2**20
"""Bytes of a piece of memory that is kept: the most that glibc takes for `MMAP_THRESHOLD`."""
KEPT = 2**30
"""Bytes that stay with the process once nothing needs them."""


def keep_freed_memory() -> bool:
    """Have the C library keep memory that is freed, which it else gives back at every step for the system to clear.

    It is said of a whole process and cannot be taken back, so the verbs that train and the workers of a sweep say it,
    and functions leave it to the process that calls them. Who set `MALLOC_TRIM_THRESHOLD_` or `MALLOC_MMAP_THRESHOLD_`
    is left with that.

    Returns:
        Whether it is heard: by glibc, on Linux.
    """
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))
