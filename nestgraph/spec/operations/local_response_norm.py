"""Local response normalisation, which looks at the units whose ids are near."""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.record import Count


class LocalResponseNorm(Operation):
    """Division by the responses of neighbouring maps (Krizhevsky et al. 2012): x / (k + alpha * s / size) ** beta.

    s is the sum of squares over the living units with ids from i - size // 2 to i + (size - 1) // 2, at the place of
    the unit with id i. An absent id counts as 0 and positions do not matter, so that removing a unit whose output is 0
    changes nothing. Where ids are consecutive it is PyTorch's `local_response_norm`.
    """

    kind: Literal["local_response_norm"] = "local_response_norm"  # pyright: ignore[reportIncompatibleVariableOverride]
    size: Count
    alpha: Annotated[float, Field(ge=0)] = 1e-4
    beta: Annotated[float, Field(ge=0)] = 0.75
    k: Annotated[float, Field(gt=0)] = 1.0

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="layer", spatial=True, keeps_sign=True)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        squares = np.einsum("ij,bj...->bi...", neighbours(ids, self.size).astype(x.dtype), x * x)
        return x / (self.k + self.alpha * squares / self.size) ** self.beta


def neighbours(ids: AnyArray, size: int) -> AnyArray:
    """Bool (units, units): whether the second unit's id is in the window of `size` around the first's."""
    offset = ids[None, :] - ids[:, None]
    return (offset >= -(size // 2)) & (offset <= (size - 1) // 2)
