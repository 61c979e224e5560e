"""Which network a module was lowered from, so that values never go to the wrong units."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from torch import fx, nn

from nestgraph.errors import LoweringError
from nestgraph.graph import Network, Structure

KEY = "nestgraph"


@dataclass(frozen=True, eq=False)
class Origin:
    """The network that a module was lowered from; kept in `module.meta["nestgraph"]`.

    A copy of the module has the same one, as networks are values. It costs no memory where the network is held anyway.
    """

    network: Network

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def check(self, structure: Structure) -> None:
        """Check that `structure` has the same units, links and connections.

        Raises:
            LoweringError: it has others.
        """
        remedy = "collect before an edit, and lower the network again after it"
        for what, here, there in (
            ("layers", self.network.layers_by_name.keys(), structure.layers_by_name.keys()),
            ("projections", self.network.projections_by_name.keys(), structure.projections_by_name.keys()),
        ):
            if here != there:
                raise LoweringError(f"expected a module with the {what} {sorted(there)}, got {sorted(here)}: {remedy}")
        for name in structure.layer_names:
            ids = self.network.units(name)
            if not np.array_equal(ids, structure.units(name)):
                strange = np.setxor1d(ids, structure.units(name))[:5].tolist()
                raise LoweringError(
                    f"layer {name!r}: expected a module of the same {len(structure.units(name))} units in the same "
                    f"order, got {len(ids)} (not in both: {strange}): {remedy}"
                )
        for name in structure.projection_names:
            here, there = self.network.connection_columns(name), structure.connection_columns(name)
            if not here.joins_as(there):
                raise LoweringError(f"projection {name!r}: expected a module of the same links, got others: {remedy}")
            if here.mask is not there.mask and not np.array_equal(here.mask, there.mask):
                raise LoweringError(
                    f"projection {name!r}: expected a module of the same {there.active:,} connections, got one of "
                    f"{here.active:,}: {remedy}"
                )


def lowered(structure: Structure, module: nn.Module) -> fx.GraphModule:
    """The module that was lowered from `structure`, in whatever wraps it (torch.compile, DistributedDataParallel).

    Raises:
        LoweringError: there is none, or it was lowered from another network.
    """
    part, origin = origin_of(module)
    origin.check(structure)
    return part


def origin_of(module: nn.Module) -> tuple[fx.GraphModule, Origin]:
    """The module that `lower` made, in whatever wraps it, and the network that it was made from.

    Raises:
        LoweringError: there is none.
    """
    for part in module.modules():
        origin = part.meta.get(KEY) if isinstance(part, fx.GraphModule) else None
        if isinstance(part, fx.GraphModule) and isinstance(origin, Origin):
            return part, origin
    raise LoweringError(
        f"expected a module that nestgraph.lower made, got {type(module).__name__} without one: "
        "lower the network and train that module"
    )
