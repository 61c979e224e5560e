"""Recipe functions of where convolutions compute their maps."""

from collections.abc import Mapping

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetArea
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import check_area
from nestgraph.edits.preserving import preserving
from nestgraph.edits.pruning import prune_connections
from nestgraph.edits.tying import check_own
from nestgraph.errors import EditError
from nestgraph.graph.columns.areas import shortest
from nestgraph.graph.matching import same_area
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


@recipe_function
def shrink_areas(structure: Structure, areas: Mapping[str, AnyArray]) -> Batch:
    """Keep only some positions of convolutions (partial-area convolution, NeST section 3.2.3).

    What is off already stays off. A pair of maps that is left without a position loses its kernel entries, and units
    that lose their last path go too.

    Args:
        structure: the network.
        areas: by projection, bool (out, in, *size) or, for one area per output map, (out, 1, *size): what to keep of
            the present area.

    Raises:
        EditError: an area is not a convolution's, or is a tied table's, or none of those given leaves out a position
            that is computed, or an output unit would lose its last path from an input.
    """
    edits: list[AnyEdit] = []
    idle: dict[str, AnyArray] = {}
    lost = 0
    for name, wanted in areas.items():
        columns = structure.connection_columns(name)
        present = columns.kept((1,) * len(columns.inner))
        kept = _fitting(structure, name, wanted) & present
        off = present & ~kept
        if off.any():
            edits.append(SetArea(projection=name, area=shortest(kept)))
            lost += int(np.count_nonzero(off))
        entries = np.flatnonzero(columns.mask & ~columns.with_area(kept).computed)
        if len(entries):
            idle[name] = entries
    if areas and not edits and not idle:
        raise EditError(
            f"shrink_areas expected areas that leave out a position that is computed, got none of {', '.join(areas)}"
        )
    after, _ = Batch(edits=tuple(edits)).change(structure)
    return Batch(edits=(*edits, *prune_connections(after, idle).edits), title=f"shrink areas by {lost} positions")


def _fitting(structure: Structure, name: str, area: AnyArray) -> AnyArray:
    if np.asarray(area).dtype != bool:
        raise EditError(f"shrink_areas of {name!r}: expected an area of booleans, got {np.asarray(area).dtype.name}")
    check_own(structure, "shrink_areas", structure.projection(name))
    edit = SetArea(projection=name, area=area)
    check_area(edit, structure, structure.projection(name), area)
    return area


@preserving(1e-12)
@recipe_function
def respell_areas(structure: Structure) -> Batch:
    """Give every area its shortest spelling: none for everywhere, one a map where its pairs agree, else one a pair.

    All new areas are spelled so. A network whose areas are older, or one that lost units since, has another digest than
    one that computes the same, until both are respelled. The batch is empty where there is nothing to do.
    """
    edits: list[AnyEdit] = []
    for name in structure.projections_by_name:
        area = structure.connection_columns(name).area
        if not same_area(area, short := shortest(area)):
            edits.append(SetArea(projection=name, area=short))
    return Batch(edits=tuple(edits), title="respell areas")
