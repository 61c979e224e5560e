"""What a caller chooses of a seed, checked: widths, image sizes, density and random seed."""

import math
from collections.abc import Sequence
from operator import index
from typing import Any

from nestgraph.errors import StructureError
from nestgraph.spec.limits import MAX_UNITS


def counts_of(what: str, numbers: Sequence[int], least: int = 0, most: float = math.inf) -> list[int]:
    """Numbers of units as Python's integers.

    Args:
        what: the numbers, in words.
        numbers: each of at least 1.
        least: how many there must be.
        most: how many there may be.

    Raises:
        StructureError: they are no such numbers.
    """
    try:
        counts = [index(number) for number in numbers]
    except TypeError:
        counts = [0]
    if max(counts, default=1) > MAX_UNITS:
        raise StructureError(f"a seed expected {what}, each of at most {MAX_UNITS:,}, got {max(counts):,}")
    if not least <= len(counts) <= most or min(counts, default=1) < 1:
        raise StructureError(f"a seed expected {what}, integers of 1 or more, got {numbers}")
    return counts


def scaled(counts: Sequence[int], width: float) -> list[int]:
    """Each number of units times `width`, and at least 1.

    Raises:
        StructureError: `width` is not above 0.
    """
    if not 0 < width < math.inf:
        raise StructureError(f"a seed expected a width above 0, got {width}")
    return [max(1, round(units * width)) for units in counts]


def image_size(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of images, from one number for square ones or from both.

    Raises:
        StructureError: it is neither.
    """
    given: Any = size if isinstance(size, Sequence) else (size, size)
    height, width = counts_of("an image size (height, width)", given, 2, 2)
    return height, width


def check_density(density: float) -> None:
    """Check the share of possible connections that a seed begins with.

    Raises:
        StructureError: it is none.
    """
    if not 0 < density <= 1:
        raise StructureError(f"a seed expected a density above 0 and up to 1, got {density}")
