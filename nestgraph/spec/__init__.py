"""The vocabulary: frozen records of layers, projections and operations. Nothing here computes."""

from nestgraph.spec.interface import InputPort, Interface, OutputPort
from nestgraph.spec.layer import COLUMNS, NORMALISATION_COLUMNS, ColumnName, Layer
from nestgraph.spec.operations import (
    Activation,
    AdaptivePooling,
    BatchNorm,
    Dropout,
    LocalResponseNorm,
    Operation,
    Pooling,
    Upsampling,
)
from nestgraph.spec.projection import AnyProjection, Argument, Conv, Dense, OneToOne, Projection
from nestgraph.spec.record import Name, Record, Text

__all__ = [
    "COLUMNS",
    "NORMALISATION_COLUMNS",
    "Activation",
    "AdaptivePooling",
    "AnyProjection",
    "Argument",
    "BatchNorm",
    "ColumnName",
    "Conv",
    "Dense",
    "Dropout",
    "InputPort",
    "Interface",
    "Layer",
    "LocalResponseNorm",
    "Name",
    "OneToOne",
    "Operation",
    "OutputPort",
    "Pooling",
    "Projection",
    "Record",
    "Text",
    "Upsampling",
]
