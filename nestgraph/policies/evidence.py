"""What policies decide on: arrays measured on data, keyed by layer or projection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nestgraph.spec.arrays import AnyArray

EvidenceKind = Literal["gradients", "bridges", "activity"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Means over `samples` training samples; L is the loss averaged over them.

    Attributes:
        gradients: by projection, dL/dW for every entry, dormant ones too; the shape of the weights.
        bridges: by layer l, the bridging gradient mean(dL/du_m * x_n) of shape (M, N): from the N outputs of the layer
            that feeds l (maps flattened) to the M pre-activations of the layer that l feeds.
        activity: by layer, the mean |output| of each unit, (units,).
        samples: how many samples were read.
    """

    gradients: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    bridges: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    activity: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    samples: int = 0
