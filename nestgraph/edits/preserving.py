"""Which recipe functions leave what the network computes as it is: declared where they are defined."""

from collections.abc import Callable
from typing import TypeVar

Recipe = TypeVar("Recipe", bound=Callable[..., object])

PRESERVING: dict[str, float] = {}
"""The function-preserving recipe functions, by name: with their defaults, no output in inference moves by more than
this times the largest output, where the sums do not overflow. It is what float32 rounds off; 0 where it rounds nothing.
"""


def preserving(tolerance: float) -> Callable[[Recipe], Recipe]:
    """Declare a recipe function as function-preserving within a tolerance. The tests hold it to that."""

    def declare(recipe: Recipe) -> Recipe:
        PRESERVING[recipe.__name__] = tolerance
        return recipe

    return declare
