"""How many layers, projections, units, weights and threads there may be: the same in memory, in files and on import.

Whoever adds checks them before the work that they cost, and the laws of a network hold them, so that whatever is saved
can be loaded. What only a file may cost, and a trusting user may raise, is in `nestgraph.snapshot.limits`.
"""

MAX_LAYERS = 4096
MAX_PROJECTIONS = 16_384
MAX_UNITS = 2**24
"""Of one layer."""

MAX_WEIGHTS = 2**28
"""Weights, active and dormant, of all projections of a network that is made here: 1.3 GB with their masks."""

MAX_ON_CHIP = 2**22
"""Connections of a network that is written as C: 8 MB of flash as int8, 30 MB of text."""

MAX_THREADS = 256
"""Of the CPU threads that a run computes with."""

MAX_WHOLE = 2**53
"""Integers are below this in absolute value, as JSON carries them."""

MAX_REAL = 3.4028234663852886e38
"""The largest float32."""

MAX_FILE_NAME, MAX_PATH = 255, 4095
"""Bytes of a file's name and of a path: what Linux and most file systems take."""
