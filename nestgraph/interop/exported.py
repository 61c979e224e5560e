"""What an export is asked for and what it wrote."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nestgraph.chip.telling import Told
from nestgraph.chip.writing import OnChip

Format = Literal["onnx", "python", "safetensors", "c"]
Form = Literal["compact", "masked"]
SUFFIXES: Mapping[str, Format] = {
    ".onnx": "onnx",
    ".py": "python",
    ".safetensors": "safetensors",
    ".c": "c",
}


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        paths: the files; of Python the source and the weights.
        bytes: of all files.
        difference: the largest from the network's own outputs, relative to the largest output.
        chip: of C, what was written.
        bounds: of ONNX with int8, how far each output can be from the network's; None else (of C see `chip`).
        told: of a split that ONNX was tried on, how much of it is told right.
    """

    paths: tuple[Path, ...]
    bytes: int
    difference: float
    chip: OnChip | None = None
    bounds: tuple[float, ...] | None = None
    told: Told | None = None
