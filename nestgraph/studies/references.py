"""Published results on MNIST that runs are held against (method.md section 6)."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published network.

    Attributes:
        error: on the test images, in percent.
        connections: that are left, and `flops`, where they are known.
        factors: by how much both are below the dense network's, as published.
    """

    name: str
    error: float
    connections: int
    flops: int | None = None
    factors: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Reference:
    """A dense network that is a reference for all, and what others made of it.

    Attributes:
        connections: of the dense network; `flops` are static.
        published: networks that came of it, those to beat first.
    """

    name: str
    connections: int
    flops: int
    published: tuple[Published, ...]


REFERENCES: Mapping[str, Reference] = {
    "lenet_300_100": Reference(
        "LeNet-300-100",
        266_200,
        532_000,
        (
            Published("NeST, accurate", 1.29, 7_800, 14_900, (34.1, 35.8)),
            Published("NeST, compact", 1.58, 3_800, 6_700, (70.2, 79.4)),
            Published("RigL+ (375-62-51)", 1.57, 3_070, 6_200, note="best; at the end 1.69%"),
            Published("Sparse variational dropout", 1.92, 3_900),
            Published("Dynamic network surgery", 1.99, 4_800),
            Published("SNIP", 2.4, 5_300),
        ),
    ),
    "lenet_5": Reference(
        "LeNet-5 (Caffe)",
        430_500,
        4_590_000,
        (
            Published("NeST", 0.77, 5_800, 105_000, (74.3, 43.7)),
            Published("Sparse variational dropout", 0.75, 1_540),
            Published("ADMM, progressive", 1.0, 2_600),
            Published("Dynamic network surgery", 0.91, 3_900),
            Published("SNIP", 0.8, 8_600),
        ),
    ),
}
"""By the kind of seed network that a recipe starts from."""
