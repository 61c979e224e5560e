"""How the policies of a step propose: a choice that growth and pruning have."""

from collections.abc import Container
from typing import Literal, cast

from nestgraph.spec.options import Beside

Proposals = Literal["in_turn", "side_by_side"]


class _Several(Container[object]):
    """All tuples of more than one policy."""

    def __contains__(self, policies: object) -> bool:
        return isinstance(policies, tuple) and len(cast("tuple[object, ...]", policies)) > 1


SEVERAL = (Beside("policies", _Several(), "several policies"),)
"""What an option goes with that does nothing for one policy alone."""
