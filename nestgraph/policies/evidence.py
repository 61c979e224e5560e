"""What policies decide on: arrays measured on data, keyed by layer or projection."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Literal

from nestgraph.graph.network import Network
from nestgraph.spec.arrays import AnyArray

EvidenceKind = Literal["gradients", "bridges", "skips", "activity", "responses", "trial"]


def unknown_loss(network: Network) -> float:  # noqa: ARG001
    """Not a number: no trial was asked for."""
    return nan


@dataclass(frozen=True, eq=False)
class Evidence:
    """Means over `samples` training samples; L is the loss averaged over them.

    Attributes:
        gradients: by projection, dL/dW for every entry, dormant ones too; the shape of the weights.
        bridges: by layer l, the bridging gradient mean(dL/du_m * x_n) of shape (M, N): from the N outputs of the layer
            that feeds l (maps flattened) to the M pre-activations of the layer that l feeds.
        activity: by layer, the mean |output| of each unit, (units,).
        skips: by possible skip projection (`possible_skips`), dL/dW, the shape of its weights.
        responses: by convolution, the mean |conv(x_m, K_mn)| of each pair of maps, (out, in, P, Q); 0 where the pair is
            not computed.
        loss: tries a network (evidence of kind "trial"): its loss on some batches, the same ones for each network.
        samples: how many samples were read.
    """

    gradients: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    bridges: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    activity: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    skips: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    responses: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    loss: Callable[[Network], float] = unknown_loss
    samples: int = 0
