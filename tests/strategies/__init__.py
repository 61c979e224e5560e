"""Hypothesis strategies: small verified networks of every form, inputs for them, and edits that plausibly fit.

Structure is drawn, so that failures shrink; numbers come from a generator whose seed is drawn.
"""

from tests.strategies.edits import EDIT_CASES, edits_for
from tests.strategies.networks import FAMILIES, SEEDS, areas, columns_for, inputs_for, interfaces, networks, sparse

__all__ = [
    "EDIT_CASES",
    "FAMILIES",
    "SEEDS",
    "areas",
    "columns_for",
    "edits_for",
    "inputs_for",
    "interfaces",
    "networks",
    "sparse",
]
