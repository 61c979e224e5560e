"""What policies decide on: arrays measured on data, keyed by layer or projection."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np

from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.policies.factored import Factored
from nestgraph.policies.ranking import row_blocks
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.wording import quoted

EvidenceKind = Literal["gradients", "bridges", "skips", "activity", "saliency", "responses", "trial"]


def unknown_loss(network: Network) -> float:  # noqa: ARG001
    """Not a number: no trial was asked for."""
    return math.nan


Measured = AnyArray | Factored
"""What was measured of a layer or projection; of both forms, `shape`, rows [a:b] and `numpy.asarray` give the same."""


def unknown_slopes(network: Network) -> Mapping[str, Measured]:  # noqa: ARG001
    """Nothing: no trial was asked for."""
    return {}


@dataclass(frozen=True, eq=False)
class Evidence:
    """Means over `samples` training samples; L is the loss averaged over them.

    Attributes:
        gradients: by projection, dL/dW for every entry, dormant ones too; the shape of the weights. A large one may be
            known by its factors (`Factored`), which `by_rows` and `at` read as they do arrays; `of` makes an array.
        bridges: by layer l, the bridging gradient mean(dL/du_m * x_n) of shape (M, N): from the N outputs of the layer
            that feeds l (maps flattened) to the M pre-activations of the layer that l feeds.
        activity: by layer, the mean |output| of each unit, (units,).
        saliency: by layer, the mean over samples of |output * dL/d(output)| of each unit, summed over places, (units,).
        skips: by possible skip projection (`possible_skips`), dL/dW, the shape of its weights.
        responses: by convolution, the mean |conv(x_m, K_mn)| of each pair of maps, (out, in, P, Q); 0 where the pair is
            not computed.
        prices: by projection, what one of its connections costs as a share of the mean, where a budget asks for it.
        memory: by layer, what one of its units holds of the memory that a budget has least of; empty where it has less
            of something else.
        loss: tries a network (evidence of kind "trial"): its loss on some batches, the same ones for each network.
        slopes: tries a network (evidence of kind "trial"): by projection, dL/dW on the same batches as `loss`.
        samples: how many samples were read.
    """

    gradients: Mapping[str, Measured] = field(default_factory=dict[str, Measured])
    bridges: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    activity: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    saliency: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    skips: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    responses: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    prices: Mapping[str, float] = field(default_factory=dict[str, float])
    memory: Mapping[str, float] = field(default_factory=dict[str, float])
    loss: Callable[[Network], float] = unknown_loss
    slopes: Callable[[Network], Mapping[str, Measured]] = unknown_slopes
    samples: int = 0

    def __post_init__(self) -> None:
        for kind in ("gradients", "bridges", "activity", "saliency", "skips", "responses"):
            if not isinstance(getattr(self, kind), Mapping):
                raise EditError(f"Evidence expected {kind} by name, got {quoted(getattr(self, kind))}")

    def of(self, kind: EvidenceKind, name: str, shape: tuple[int, ...]) -> AnyArray:
        """What was measured of a layer or projection, as an array.

        Raises:
            EditError: nothing was, or an array of another shape: of another network.
        """
        return np.asarray(self._found(kind, name, shape))

    def by_rows(self, kind: EvidenceKind, name: str, shape: tuple[int, ...]) -> Iterator[tuple[slice, AnyArray]]:
        """What was measured of a layer or projection, a block of rows at a time; memory is that of one block.

        Raises:
            EditError: nothing was, or an array of another shape: of another network.
        """
        found = self._found(kind, name, shape)
        return ((rows, found[rows]) for rows in row_blocks(shape))

    def at(self, kind: EvidenceKind, name: str, shape: tuple[int, ...], entries: AnyArray) -> AnyArray:
        """What was measured of some entries, by row-major positions in ascending order.

        Raises:
            EditError: nothing was, or an array of another shape: of another network.
        """
        found, parts, size = self._found(kind, name, shape), list[AnyArray](), math.prod(shape[1:])
        for rows in row_blocks(shape):
            first, last = np.searchsorted(entries, (rows.start * size, rows.stop * size))
            if last > first:
                parts.append(found[rows].reshape(-1)[entries[first:last] - rows.start * size])
        return np.concatenate(parts) if parts else np.zeros(0, found.dtype)

    def _found(self, kind: EvidenceKind, name: str, shape: tuple[int, ...]) -> Measured:
        found = cast("Mapping[str, Measured]", getattr(self, kind)).get(name)
        if not isinstance(found, np.ndarray | Factored) or found.shape != shape or found.dtype.kind not in "fiu":
            expected = f"{kind} of {name!r} of shape {shape}"
            raise EditError(
                f"a policy expected as evidence {expected}, got {quoted(found)}: gather it for this network"
            )
        return found
