"""The vocabulary: frozen records of layers, projections and operations. Nothing here computes."""

from nestgraph.spec.layer import COLUMNS, NORMALISATION_COLUMNS, ColumnName, Layer
from nestgraph.spec.operations import Activation, BatchNorm, Dropout, Operation, Pooling
from nestgraph.spec.projection import Conv, Dense, OneToOne, Projection
from nestgraph.spec.record import Name, Record, Text

__all__ = [
    "COLUMNS",
    "NORMALISATION_COLUMNS",
    "Activation",
    "BatchNorm",
    "ColumnName",
    "Conv",
    "Dense",
    "Dropout",
    "Layer",
    "Name",
    "OneToOne",
    "Operation",
    "Pooling",
    "Projection",
    "Record",
    "Text",
]
