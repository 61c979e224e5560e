"""The vocabulary: frozen records of layers, projections and operations. Nothing here computes."""

from nestgraph.spec.interface import InputPort, Interface, OutputPort
from nestgraph.spec.layer import ColumnName, Layer
from nestgraph.spec.operations import (
    Activation,
    AdaptivePooling,
    AnyOperation,
    BatchNorm,
    Dropout,
    LocalResponseNorm,
    Norm,
    Operation,
    Pad,
    ParametricReLU,
    Pick,
    Pooling,
    Series,
    Softmax,
    Upsampling,
)
from nestgraph.spec.projection import AnyProjection, Argument, Conv, Dense, Lookup, Match, Mix, OneToOne, Projection
from nestgraph.spec.record import Name, Record, Text
from nestgraph.spec.unit_column import COLUMNS, UnitColumn

__all__ = [
    "COLUMNS",
    "Activation",
    "AdaptivePooling",
    "AnyOperation",
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
    "Lookup",
    "Match",
    "Mix",
    "Norm",
    "Name",
    "OneToOne",
    "Operation",
    "OutputPort",
    "Pad",
    "ParametricReLU",
    "Pick",
    "Pooling",
    "Series",
    "Projection",
    "Record",
    "Softmax",
    "Text",
    "UnitColumn",
    "Upsampling",
]
