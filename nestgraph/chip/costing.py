"""What a network would take as a C file, told in hundredths of a second and without a compiler: for budgets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.boards import BOARDS, Board, guessed, handed_bytes
from nestgraph.chip.memory import Memory
from nestgraph.chip.program import Program, Value
from nestgraph.chip.quantising import quantised
from nestgraph.chip.samples import random_samples
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.text import written
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.limits import MAX_ON_CHIP

MARGIN = 1.15
"""How many times the instructions that are guessed are counted: at least what tests measure of networks of sums."""
LEAST = 0.02
"""The share of the largest weight of a unit as which smaller ones are counted: none that becomes 0 as int8 is left out,
so that training moves no bytes."""
SAMPLES = 16


@dataclass(frozen=True)
class ChipCost:
    """What a network takes as a C file.

    Attributes:
        flash: bytes of tables, and of instructions as they are estimated.
        ram: bytes of static memory, of inputs and outputs, and of the stack as it is estimated.
        macs: multiply-adds of one sample.
        tables: bytes of the tables of each layer, which hold the connections into it.
        fullest: by layer, bytes of its values at the step where memory is fullest.
    """

    flash: int
    ram: int
    macs: int
    tables: Mapping[str, int]
    fullest: Mapping[str, int]


@checked(ExportError)
def chip_cost(network: Network, int8: bool = True, board: Board = BOARDS["stm32f4"]) -> ChipCost:
    """What a network would take as a C file of int8 or of floats, on a board, or on any with a Cortex-M4.

    Weights hardly count: after another training the same structure takes as many bytes, but for a few of each unit.

    Raises:
        ExportError: a layer is of a kind that C is not known for, or the network is too large.
    """
    if network.connection_count > MAX_ON_CHIP:
        expected, got = f"a network of at most {MAX_ON_CHIP:,} connections", f"{network.connection_count:,}"
        raise ExportError(f"a budget of bytes expected {expected}, got {got}: begin with a smaller seed network")
    counted = _without_small(network) if int8 else network
    program = scheduled(counted)
    form = quantised(program, random_samples(program, SAMPLES)) if int8 else None
    text = written(counted, program, "net", form)
    tables = text.tables
    return ChipCost(
        flash=sum(tables.values()) + round(MARGIN * guessed(text, board)),
        ram=text.buffer_bytes + handed_bytes(text, program) + board.stack,
        macs=sum(step.multiplications for step in program.steps),
        tables=tables,
        fullest=_fullest(program, text.memory, 1 if int8 else 4),
    )


def _fullest(program: Program, memory: Memory, width: int) -> dict[str, int]:
    """By layer, bytes of its values at the first step where these take most; of two at one place the larger counts."""
    most: dict[int, Value] = {}
    held = [value for value in program.values if value.name in memory.places]
    for moment in range(len(program.steps)):
        found: dict[int, Value] = {}
        for value in held:
            first, last = memory.lives[value.name]
            place = memory.places[value.name]
            if first <= moment <= last and (place not in found or value.count > found[place].count):
                found[place] = value
        if sum(value.count for value in found.values()) > sum(value.count for value in most.values()):
            most = found
    layers: dict[str, int] = {}
    for value in most.values():
        layer = value.name.rpartition(".")[0]
        layers[layer] = layers.get(layer, 0) + width * value.count
    return layers


def _without_small(network: Network) -> Network:
    """The network with no weight that is small beside the largest of its unit."""
    columns = {name: network.connection_columns(name) for name in network.projection_names}
    grown = {
        name: columns[name].with_weight(_grown(columns[name].weight, columns[name].mask))
        for name in columns
        if network.projection(name).learns
    }
    return Network.of(network.replace(connections=grown))


def _grown(weight: AnyArray, mask: AnyArray) -> AnyArray:
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1, initial=0).reshape(-1, *(1,) * (weight.ndim - 1))
    least = np.where(largest > 0, LEAST * largest, 1).astype(np.float32)
    return np.where(mask, np.where(weight < 0, -1, 1) * np.maximum(np.abs(weight), least), weight).astype(np.float32)
