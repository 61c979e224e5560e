"""Edits: the only way to change a network, each with its inverse, and recipe functions that compose them."""

from nestgraph.edits.areas import respell_areas, shrink_areas
from nestgraph.edits.batch import EDIT, AnyEdit, Batch, Reason
from nestgraph.edits.blocks import copy_block
from nestgraph.edits.bypassing import bypass_layer
from nestgraph.edits.connections import SetArea, SetMask, SetValues
from nestgraph.edits.coupling import coupled
from nestgraph.edits.deepening import deepen
from nestgraph.edits.difference import diff
from nestgraph.edits.edit import Applied, Edit
from nestgraph.edits.editor import Editor
from nestgraph.edits.freezing import freeze, thaw
from nestgraph.edits.growing import grow_unit, restore_inputs, wake_connections
from nestgraph.edits.heads import grow_head, remove_heads, split_head, widen_heads
from nestgraph.edits.index_map import IndexMap
from nestgraph.edits.joining import Joined, merge, side_by_side, way_over
from nestgraph.edits.layers import (
    AddLayer,
    AddProjection,
    Block,
    RemoveLayer,
    RemoveProjection,
    SetInterface,
    SetOperations,
)
from nestgraph.edits.merging import merge_twins
from nestgraph.edits.narrowing import narrow
from nestgraph.edits.operations import (
    fold_batch_norm,
    insert_batch_norm,
    normalisation_factor,
    replace_activation,
    shift_activations,
)
from nestgraph.edits.preserving import PRESERVING
from nestgraph.edits.preview import Preview
from nestgraph.edits.pruning import drop_islands, prune_connections, remove_projection, remove_units
from nestgraph.edits.selection import ConnectionSelection, UnitSelection
from nestgraph.edits.skips import insert_skip
from nestgraph.edits.three_ways import Conflict
from nestgraph.edits.tying import tie, untie
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.edits.widening import duplicate_unit, split_unit, widen
from nestgraph.graph.way import Way

__all__ = [
    "EDIT",
    "PRESERVING",
    "AddLayer",
    "AddProjection",
    "AddUnits",
    "AnyEdit",
    "Applied",
    "Batch",
    "Block",
    "Conflict",
    "ConnectionSelection",
    "Edit",
    "Editor",
    "IndexMap",
    "Joined",
    "Preview",
    "Reason",
    "RemoveLayer",
    "RemoveProjection",
    "RemoveUnits",
    "SetArea",
    "SetInterface",
    "SetMask",
    "SetOperations",
    "SetValues",
    "UnitSelection",
    "Way",
    "bypass_layer",
    "copy_block",
    "coupled",
    "deepen",
    "diff",
    "drop_islands",
    "duplicate_unit",
    "fold_batch_norm",
    "freeze",
    "grow_head",
    "grow_unit",
    "insert_batch_norm",
    "insert_skip",
    "merge",
    "merge_twins",
    "narrow",
    "normalisation_factor",
    "prune_connections",
    "remove_heads",
    "remove_projection",
    "remove_units",
    "replace_activation",
    "respell_areas",
    "restore_inputs",
    "shift_activations",
    "shrink_areas",
    "side_by_side",
    "split_head",
    "split_unit",
    "thaw",
    "tie",
    "untie",
    "wake_connections",
    "way_over",
    "widen",
    "widen_heads",
]
