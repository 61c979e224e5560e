"""The state of a bench as a value: what its history keeps beside each network, and what a file of a run can hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Strict
from torch import nn
from torch.optim import Optimizer

from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.parameters import parameters_of
from nestgraph.lowering.states import Key, OptimizerState, StateRecord
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.record import ArrayRecord
from nestgraph.spec.wording import quoted


class BenchRecord(ArrayRecord):
    """Everything about the state of a bench that is not an array; see `BenchState`."""

    optimizers: Annotated[tuple[StateRecord, ...], Strict(False)]
    frozen: Annotated[tuple[Key, ...], Strict(False)] = ()


@dataclass(frozen=True, eq=False)
class BenchState:
    """What stands beside a network: the state of each optimizer, and which parameters do not train.

    `record` and `arrays` hold all of it, for files; `read` is the way back.
    """

    optimizers: tuple[OptimizerState, ...]
    frozen: frozenset[tuple[str, str]]

    @classmethod
    def of(
        cls, optimizers: Sequence[Optimizer], network: Network, module: nn.Module, like: "BenchState | None" = None
    ) -> Self:
        """The present state of the optimizers of a module; see `OptimizerState.of`.

        Raises:
            LoweringError: see there.
        """
        known = like.optimizers if like else (None,) * len(optimizers)
        pairs = zip(optimizers, known, strict=True)
        states = tuple(OptimizerState.of(optimizer, network, module, like=one) for optimizer, one in pairs)
        parameters = parameters_of(network, module)
        return cls(states, frozenset(key for key, parameter in parameters.items() if not parameter.requires_grad))

    @classmethod
    def read(cls, record: BenchRecord, arrays: Mapping[str, AnyArray]) -> Self:
        """The state that `record` and `arrays` hold.

        Raises:
            LoweringError: an array belongs to none of the record's optimizers.
        """
        parts: dict[str, dict[str, AnyArray]] = {str(number): {} for number, _ in enumerate(record.optimizers)}
        for place, array in arrays.items():
            number, _, name = place.partition(".")
            if number not in parts:
                raise LoweringError(
                    f"expected arrays of {len(parts)} optimizers, named NUMBER.NAME, got {quoted(place)}"
                )
            parts[number][name] = array
        pairs = zip(record.optimizers, parts.values(), strict=True)
        return cls(tuple(OptimizerState(one, part) for one, part in pairs), frozenset(record.frozen))

    @property
    def record(self) -> BenchRecord:
        """All of it that is not an array."""
        return BenchRecord(optimizers=tuple(one.record for one in self.optimizers), frozen=tuple(sorted(self.frozen)))

    @property
    def arrays(self) -> dict[str, AnyArray]:
        """The arrays of all optimizers, by the number of the optimizer and the name there: `0.fc1.bias.exp_avg`."""
        named = enumerate(self.optimizers)
        return {f"{number}.{name}": array for number, one in named for name, array in one.arrays.items()}

    def restore(self, optimizers: Sequence[Optimizer], network: Network, module: nn.Module) -> None:
        """Give the optimizers of a module, and its parameters, this state, to the bit; see `OptimizerState.restore`.

        Raises:
            LoweringError: see there.
        """
        for optimizer, state in zip(optimizers, self.optimizers, strict=True):
            state.restore(optimizer, network, module)
        self.freeze(network, module)

    def freeze(self, network: Network, module: nn.Module) -> None:
        """Let those parameters of a module train that train here, and no others."""
        for key, parameter in parameters_of(network, module).items():
            parameter.requires_grad_(key not in self.frozen)

    def same(self, other: "BenchState") -> bool:
        """Whether both are the same to the bit."""
        pairs = zip(self.optimizers, other.optimizers, strict=True)
        return self.frozen == other.frozen and all(one.same(two) for one, two in pairs)
