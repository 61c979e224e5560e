"""Random numbers that a resumed run finds again: derived for each purpose, never carried along."""

import zlib
from typing import Annotated

import numpy as np

from nestgraph.spec.limits import MAX_WHOLE

Seed = Annotated[int, range(2**63)]
"""Where random numbers begin: what the generators of torch, NumPy and Python all take."""

RunSeed = Annotated[int, range(MAX_WHOLE)]
"""That of a run, which is written down."""


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose of a run, such as `derived_seed(0, "epoch", 12)`; of any numbers and words."""
    words = [_word(part) for part in (seed, *purpose)]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _word(part: str | int) -> int:
    """A whole number from 0 up: numbers below it from the end of 64 bits."""
    if isinstance(part, str):
        return zlib.crc32(part.encode(errors="surrogatepass"))
    return part if part >= 0 else part % 2**64
