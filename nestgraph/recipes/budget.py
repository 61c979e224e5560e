"""What a recipe's network may take in the end: bytes of a chip, multiply-adds, connections."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from nestgraph.chip.boards import BOARDS
from nestgraph.chip.costing import ChipCost, chip_cost
from nestgraph.errors import ExportError, RecipeError
from nestgraph.graph import Network, cost
from nestgraph.recipes.step_options import younger
from nestgraph.spec.limits import MAX_WHOLE
from nestgraph.spec.options import Options

UNITS = {"B": 1, "KB": 1024, "MB": 1024**2}


def _bytes(value: Any) -> Any:
    """A number of bytes from words such as `8 KB`, of 1,024 bytes each as chips count them.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(value, str):
        return value
    number, _, unit = value.strip().partition(" ")
    try:
        return round(float(number) * UNITS[unit.strip().upper()])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"expected bytes such as 8192 or '8 KB', got {value[:40]!r}") from None


Bytes = Annotated[int, Field(gt=0, lt=MAX_WHOLE), BeforeValidator(_bytes)]


@dataclass(frozen=True)
class Spent:
    """What a network takes of what a budget limits.

    Attributes:
        amounts: by what is limited.
        share: the largest of these as a share of its limit; up to 1 all are within.
        prices: by projection, what a connection costs as a share of the mean, by what is dearest: for policies that
            rank all projections together, or units.
        memory: by layer, bytes that a unit of it holds where memory is fullest, if memory is dearest: for units.
    """

    amounts: dict[str, int]
    share: float
    prices: Mapping[str, float]
    memory: Mapping[str, float]


class Budget(Options):
    """What the final network may take: at least one limit.

    With it growth ends where the network takes `overshoot` times its budget, and pruning goes on until it is within,
    whatever that costs of the goal; steps that fall below the target of pruning are given their recovery. Policies
    that rank all projections together weigh connections by what they cost of the limit that is farthest off, and those
    that take or give units weigh these by their connections, or by the memory that they hold.

    Attributes:
        flash: bytes of the C file that `nestgraph export` would write (`8 KB` are 8,192): its tables, and its
            instructions as estimated for a Cortex-M4, or for the board.
        ram: bytes of its memory, of its inputs and outputs, and of its stack as estimated.
        macs: multiply-adds of a sample.
        connections: active weights.
        board: `flash` and `ram` of a board, where they are not given.
        arduino: whether room is left on the board for the Arduino core, its serial line and a sketch.
        form: of the C file.
        overshoot: how many times its budget growth makes the network.
    """

    flash: Bytes | None = None
    ram: Bytes | None = None
    macs: PositiveInt | None = None
    connections: PositiveInt | None = None
    board: Literal["uno", "nano33", "pico", "stm32f4", "esp32"] | None = None
    arduino: bool = younger(False)
    form: Literal["int8", "float"] = "int8"
    overshoot: Annotated[float, Field(ge=1, le=100)] = 2.0

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if not self.limits:
            raise ValueError("expected a limit: flash, ram, macs, connections or board, got none")
        if self.form != "int8" and not self._asks_chip:
            raise ValueError("form: does nothing without flash, ram or board: leave it out")
        if self.arduino and self.board is None:
            raise ValueError("arduino: does nothing without board: name one, or leave it out")
        return self

    @property
    def limits(self) -> dict[str, int]:
        """The limits by name."""
        board = None if self.board is None else BOARDS[self.board]
        flash, ram = board.core if board is not None and self.arduino else (0, 0)
        given = {
            "flash": self.flash or (board and board.flash - flash),
            "ram": self.ram or (board and board.ram - ram),
            "macs": self.macs,
            "connections": self.connections,
        }
        return {name: limit for name, limit in given.items() if limit}

    def missed(self, amounts: Mapping[str, int]) -> str:
        """What is beyond a limit, in words; nothing where all is within."""
        beyond = {name: limit for name, limit in self.limits.items() if amounts.get(name, 0) > limit}
        return ", ".join(f"expected {name} of at most {beyond[name]:,}, got {amounts[name]:,}" for name in beyond)

    @property
    def _asks_chip(self) -> bool:
        return any((self.flash, self.ram, self.macs, self.board))

    def spent(self, network: Network) -> Spent:
        """What a network takes; the same for the same structure.

        Raises:
            RecipeError: no C file can be written of it.
        """
        amounts, on_chip = {"connections": network.connection_count}, None
        if self._asks_chip:
            try:
                on_chip = chip_cost(network, self.form == "int8", BOARDS[self.board or "stm32f4"])
            except ExportError as error:
                raise RecipeError(f"budget: expected a network that can be written as C: {error}") from error
            amounts |= {"flash": on_chip.flash, "ram": on_chip.ram, "macs": on_chip.macs}
        shares = {name: amounts[name] / limit for name, limit in self.limits.items()}
        dearest = max(shares, key=shares.__getitem__)
        held = on_chip.fullest if on_chip is not None and dearest == "ram" else dict[str, int]()
        memory = {name: count / len(network.units(name)) for name, count in held.items()}
        prices = _prices(network, dearest, on_chip)
        return Spent({name: amounts[name] for name in shares}, shares[dearest], prices, memory)


def _prices(network: Network, dearest: str, on_chip: ChipCost | None) -> dict[str, float]:
    """What a connection of each projection costs, as a share of the mean of all connections."""
    counts = {name: network.connection_columns(name).active for name in network.projection_names}
    if dearest == "macs":
        costs = {name: each.flops / 2 for name, each in cost(network).by_projection.items()}
    elif dearest == "flash" and on_chip is not None:
        into = {name: sum(counts[p.name] for p in network.incoming(name)) for name in network.layer_names}
        share = {name: on_chip.tables.get(name, 0) / max(1, count) for name, count in into.items()}
        costs = {name: counts[name] * share[network.projection(name).target] for name in counts}
    else:
        return {}
    mean = sum(costs.values()) / max(1, sum(counts.values()))
    return {name: costs[name] / count / mean for name, count in counts.items() if count and mean and costs[name]}
