"""Grouped convolutions, which a network says by a block mask."""

import math

import numpy as np

from nestgraph.spec.arrays import AnyArray


def block_groups(edges: AnyArray) -> int:
    """The largest number of equal groups such that no edge leads from one group of maps to another.

    >>> block_groups(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], bool))
    2

    Args:
        edges: bool (out, in).
    """
    out, into = edges.shape
    most = 1 if edges.all() else math.gcd(out, into)
    for groups in range(most, 1, -1):
        if most % groups == 0 and not edges[: out // groups, into // groups :].any():
            blocks = np.asarray(edges.reshape(groups, out // groups, groups, into // groups).any(axis=(1, 3)))
            if not blocks[~np.eye(groups, dtype=bool)].any():
                return groups
    return 1
