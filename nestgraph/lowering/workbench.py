"""A network under edit and in training: an editor whose module and optimizer follow every edit, there and back."""

from collections.abc import Callable
from typing import Self

import torch
from torch import nn
from torch.fx import GraphModule
from torch.optim import Optimizer

from nestgraph.edits import Applied, Edit, Editor, SetValues
from nestgraph.edits.layers import UnitValues
from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.collect import trained_values
from nestgraph.lowering.masked import lower
from nestgraph.lowering.optimizer import carry_optimizer
from nestgraph.lowering.states import OptimizerState, same_bits
from nestgraph.spec.arguments import checked

OptimizerMaker = Callable[[list[nn.Parameter]], Optimizer]


class Workbench(Editor):
    """An editor of a network that trains between edits.

    Any PyTorch code may train `module` with `optimizer`; each edit makes a new `module`, while `optimizer` stays the
    same object, so schedulers go on. What was trained since the last edit becomes an edit of its own (`SetValues`) as
    soon as one asks for the `network` or `history`, edits, undoes or branches: training can be undone, too. Undo and
    redo restore structure, weights, statistics and the optimizer's state and options to the bit. The state of
    schedulers and of random generators stays with who made them.
    """

    @checked(LoweringError)
    def __init__(self, network: Network, make_optimizer: OptimizerMaker, device: str | torch.device = "cpu") -> None:
        """Lower the network and make its optimizer.

        Args:
            network: where to start.
            make_optimizer: gives an optimizer over a list of parameters, such as
                `lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)`.
            device: where to train.

        Raises:
            LoweringError: the device is not there, or the optimizer is over other parameters.
        """
        super().__init__(network)
        self._make, self._device = make_optimizer, device
        self._module = lower(network, device)
        self._optimizer = make_optimizer(list(self._module.parameters()))
        self._states = [OptimizerState.of(self._optimizer, network, self._module)]  # one more than edits done
        self._later: list[OptimizerState] = []  # after each edit undone

    @property
    def module(self) -> GraphModule:
        """The module lowered from the current network; each edit makes a new one."""
        return self._module

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the module's parameters."""
        return self._optimizer

    @property
    def network(self) -> Network:
        """The current network, with what was trained.

        Raises:
            LoweringError: a value is not finite; `undo` goes back to before the training.
        """
        self._take_in()
        return self._network

    @property
    def history(self) -> tuple[Edit, ...]:
        """The edits that led from the first network to the current one; trainings are among them."""
        self._take_in()
        return super().history

    @checked(LoweringError)
    def apply(self, edit: Edit) -> Applied:
        """Take in what was trained, apply an edit, and let module and optimizer follow.

        Raises:
            EditError: the edit is not legal; the workbench stays as it is.
            LoweringError: a trained value is not finite, or the optimizer's state cannot follow units.
        """
        self._take_in()
        before = self._network
        applied = edit.apply(before)
        module = self._lowered(applied.network, before)
        carried = carry_optimizer(self._optimizer, (before, self._module), (applied.network, module))
        state = OptimizerState.of(carried, applied.network, module, like=self._states[-1])
        self._follow(applied.network, module, state)
        return self._record(edit, applied, state)

    def undo(self) -> Network:
        """Take the last edit back, a training being one; a training that broke down is dropped.

        Raises:
            EditError: there is none.
        """
        try:
            self._take_in()
        except LoweringError:
            self._return(None)
            return self._network
        before = self._network
        super().undo()
        self._later.append(self._states.pop())
        self._return(before)
        return self._network

    def redo(self) -> Network:
        """Apply the last undone edit again, with the optimizer's state as it was after it.

        Raises:
            EditError: there is none.
        """
        before = self.network
        super().redo()
        self._states.append(self._later.pop())
        self._return(before)
        return self._network

    def branch(self) -> Self:
        """A workbench of its own with the same network, history and optimizer state: try an edit there, and train."""
        self._take_in()
        twin = super().branch()
        twin._states, twin._later = self._states[:], self._later[:]
        twin._module = self._lowered(self._network)
        twin._optimizer = self._make(list(twin._module.parameters()))
        twin._states[-1].restore(twin._optimizer, twin._network, twin._module)
        return twin

    def _take_in(self) -> None:
        """Make what was trained since the last edit an edit, if anything was."""
        known = self._states[-1]
        state = OptimizerState.of(self._optimizer, self._network, self._module, like=known)
        values = _changed(self._network, trained_values(self._network, self._module))
        if values.units or values.weights or values.batches or not state.same(known):
            self._record(values, values.apply(self._network), state)

    def _record(self, edit: Edit, applied: Applied, state: OptimizerState) -> Applied:
        self._undone.clear()
        self._later.clear()
        self._states.append(state)
        return self._advance(edit, applied)

    def _return(self, before: Network | None) -> None:
        """Bring module and optimizer to the current network and its state; the module holds `before`, if anything."""
        self._follow(self._network, self._lowered(self._network, before), self._states[-1])

    def _follow(self, network: Network, module: GraphModule, state: OptimizerState) -> None:
        state.restore(self._optimizer, network, module)
        self._module = module

    def _lowered(self, network: Network, before: Network | None = None) -> GraphModule:
        """A network's module; that of the network `before`, if there is one, gives up what both share."""
        module = lower(network, self._device, like=before and (before, self._module))
        module.train(self._module.training)
        return module


def _changed(network: Network, values: SetValues) -> SetValues:
    """The values that are not the network's, to the bit."""
    weights = {
        name: live
        for name, live in values.weights.items()
        if not same_bits(live, network.connection_columns(name).weight[network.connection_columns(name).mask])
    }
    units: dict[str, UnitValues] = {}
    for layer, given in values.units.items():
        old = network.unit_columns(layer).values
        changed = {name: column for name, column in given.items() if not same_bits(column, old[name])}
        units |= {layer: changed} if changed else {}
    return SetValues(units=units, weights=weights, batches=values.batches)
