"""Which network a module was lowered from, so that values never go to the wrong units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import fx, nn

from nestgraph.errors import LoweringError
from nestgraph.graph import Structure
from nestgraph.spec.arrays import AnyArray

KEY = "nestgraph"


@dataclass(frozen=True, eq=False)
class Origin:
    """What a module's rows and columns stand for; kept in `module.meta["nestgraph"]`.

    Attributes:
        units: ids of the units, by layer.
        links: one-to-one links by projection, None for projections of other kinds.
    """

    units: Mapping[str, AnyArray]
    links: Mapping[str, AnyArray | None]

    @classmethod
    def of(cls, structure: Structure) -> Self:
        """The origin of modules lowered from `structure`."""
        return cls(
            {name: structure.units(name) for name in structure.layer_names},
            {name: structure.connection_columns(name).links for name in structure.projection_names},
        )

    def check(self, structure: Structure) -> None:
        """Check that `structure` has the same units and links.

        Raises:
            LoweringError: it has others.
        """
        remedy = "collect before an edit, and lower the network again after it"
        for what, here, there in (
            ("layers", self.units.keys(), structure.layers_by_name.keys()),
            ("projections", self.links.keys(), structure.projections_by_name.keys()),
        ):
            if here != there:
                raise LoweringError(f"expected a module with the {what} {sorted(there)}, got {sorted(here)}: {remedy}")
        for name, ids in self.units.items():
            if not np.array_equal(ids, structure.units(name)):
                strange = np.setxor1d(ids, structure.units(name))[:5].tolist()
                raise LoweringError(
                    f"layer {name!r}: expected a module of the same {len(structure.units(name))} units in the same "
                    f"order, got {len(ids)} (not in both: {strange}): {remedy}"
                )
        for name, links in self.links.items():
            if links is not None and not np.array_equal(links, structure.connection_columns(name).links):  # type: ignore[arg-type]
                raise LoweringError(f"projection {name!r}: expected a module of the same links, got others: {remedy}")


def lowered(structure: Structure, module: nn.Module) -> fx.GraphModule:
    """The module that was lowered from `structure`, in whatever wraps it (torch.compile, DistributedDataParallel).

    Raises:
        LoweringError: there is none, or it was lowered from another network.
    """
    for part in module.modules():
        origin = part.meta.get(KEY) if isinstance(part, fx.GraphModule) else None
        if isinstance(part, fx.GraphModule) and isinstance(origin, Origin):
            origin.check(structure)
            return part
    raise LoweringError(
        f"expected a module that nestgraph.lower made, got {type(module).__name__} without one: "
        "lower the network and train that module"
    )
