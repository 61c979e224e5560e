"""Edits: the only way to change a network, each with its inverse, and recipe functions that compose them."""

from nestgraph.edits.areas import shrink_areas
from nestgraph.edits.batch import EDIT, AnyEdit, Batch
from nestgraph.edits.connections import SetArea, SetMask, SetValues
from nestgraph.edits.difference import diff
from nestgraph.edits.edit import Applied, Edit
from nestgraph.edits.editor import Editor, Preview
from nestgraph.edits.growing import deepen, grow_unit, split_unit, wake_connections
from nestgraph.edits.index_map import IndexMap
from nestgraph.edits.layers import AddLayer, AddProjection, Block, RemoveLayer, RemoveProjection, SetOperations
from nestgraph.edits.operations import fold_batch_norm, normalisation_factor, shift_activations
from nestgraph.edits.pruning import drop_islands, prune_connections, remove_units
from nestgraph.edits.units import AddUnits, RemoveUnits

__all__ = [
    "EDIT",
    "AddLayer",
    "AddProjection",
    "AddUnits",
    "AnyEdit",
    "Applied",
    "Batch",
    "Block",
    "Edit",
    "Editor",
    "IndexMap",
    "Preview",
    "RemoveLayer",
    "RemoveProjection",
    "RemoveUnits",
    "SetArea",
    "SetMask",
    "SetOperations",
    "SetValues",
    "deepen",
    "diff",
    "drop_islands",
    "fold_batch_norm",
    "grow_unit",
    "normalisation_factor",
    "prune_connections",
    "remove_units",
    "shift_activations",
    "shrink_areas",
    "split_unit",
    "wake_connections",
]
