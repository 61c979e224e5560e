"""A network under edit and in training: an editor whose module and optimizers follow every edit, there and back."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from torch import nn
from torch.fx import GraphModule
from torch.optim import Optimizer

from nestgraph.edits import Applied, Edit, Editor, SetValues
from nestgraph.edits.history import History, Moment
from nestgraph.errors import EditError, LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.bench_state import BenchState
from nestgraph.lowering.collect import trained_values
from nestgraph.lowering.following import followed_states
from nestgraph.lowering.masked import lower
from nestgraph.lowering.optimizer import placed
from nestgraph.lowering.parameters import Lowered, inherit, parameters_of
from nestgraph.lowering.proportion import TrainedExecution
from nestgraph.spec.arguments import checked

OptimizerMaker = Callable[[nn.Module], Optimizer | Sequence[Optimizer]]


class Workbench(Editor):
    """An editor of a network that trains between edits.

    Any PyTorch code may train `module` with `optimizers`; each edit makes a new `module`, while the optimizers stay
    the same objects, so schedulers go on. Which parameter belongs to which group is what `make` says of the new
    module; options, rates and hooks stay, and so does whether a parameter trains. What was trained since the last edit
    becomes an edit of its own (`SetValues`) with the next edit, undo, redo, branch or `take_in`: training can be
    undone, too, while reading `network` or `history` changes nothing. Undo and redo restore structure, weights,
    statistics, which parameters train, and the optimizers' states and options to the bit. The state of schedulers and
    of random generators stays with who made them.
    """

    @checked(LoweringError)
    def __init__(
        self,
        network: Network,
        make: OptimizerMaker,
        device: str | torch.device = "cpu",
        execution: TrainedExecution = "auto",
    ) -> None:
        """Lower the network and make its optimizers.

        Args:
            network: where to start.
            make: gives an optimizer, or several, over parameters of a module, such as
                `lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)`. Called with each new
                module, it says again which parameter belongs to which group.
            device: where to train.
            execution: of each module, as in `lower`.

        Raises:
            LoweringError: the device is not there or has no such execution, or an optimizer is over other parameters
                or shares one.
        """
        super().__init__(network)
        self._make, self._device = make, device
        self._execution: TrainedExecution = execution
        self._module = self._anew(network)
        self._optimizers = self._made(network, self._module)
        self._states = {self._history.now: BenchState.of(self._optimizers, network, self._module)}

    @property
    def module(self) -> GraphModule:
        """The module lowered from the current network; each edit makes a new one."""
        return self._module

    @property
    def device(self) -> torch.device:
        """Where each new module is put."""
        return torch.device(self._device)

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """The optimizers of the module's parameters, the same objects for ever."""
        return self._optimizers

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, where there is one.

        Raises:
            LoweringError: there are several.
        """
        if len(self._optimizers) != 1:
            raise LoweringError(f"expected a workbench of one optimizer, got {len(self._optimizers)}: see optimizers")
        return self._optimizers[0]

    @property
    def network(self) -> Network:
        """The current network, with what was trained; reading it takes nothing in.

        Raises:
            LoweringError: a value is not finite; `undo` or `drop` goes back to before the training.
        """
        values = trained_values(self._network, self._module, changed=True)
        return values.apply(self._network).network if _any(values) else self._network

    @property
    def edited(self) -> Network:
        """The network after the last edit, without what was trained since: reading it costs nothing."""
        return self._network

    @property
    def history(self) -> tuple[Edit, ...]:
        """The edits that led from the first network to the current one; trainings are among them, also the present.

        Raises:
            LoweringError: see `take_in`.
        """
        pending = self._pending()
        return super().history if pending is None else (*super().history, pending[0])

    def take_in(self) -> Applied | None:
        """Make what was trained since the last edit an edit, if anything was; edits, undo, redo and branch do so.

        Raises:
            LoweringError: a value is not finite, or the state of an optimizer cannot be kept.
        """
        pending = self._pending()
        if pending is None:
            return None
        values, state = pending
        return self._record(values.apply(self._network), state)

    def drop(self) -> None:
        """Forget what was trained since the last edit: back to it, to the bit."""
        self._return(None)

    def state(self) -> BenchState:
        """The present state of the optimizers, and which parameters train: with `network`, what training goes on from.

        Raises:
            LoweringError: the state of an optimizer cannot be kept.
        """
        return BenchState.of(self._optimizers, self._network, self._module, self._kept)

    @checked(LoweringError)
    def load(self, network: Network, state: BenchState | None = None) -> None:
        """Take another network, such as a checkpoint's, in the place of the present one; history begins anew.

        The optimizers stay the same objects.

        Args:
            network: any.
            state: of a bench that held this network; without, the optimizers begin anew, with the options and rates
                that they have.

        Raises:
            LoweringError: the state is that of other optimizers or other units, or `make` gives another number of
                optimizers or groups for the new module; the bench stays as it was.
        """
        module = self._anew(network).train(self._module.training)
        if state is not None:
            state.freeze(network, module)
        made = self._made(network, module)
        if state is None:
            self._take_options(made)
            state = BenchState.of(made, network, module)
        if len(state.optimizers) != len(self._optimizers):
            got = f"{len(self._optimizers)} optimizers, got one of {len(state.optimizers)}"
            raise LoweringError(f"load expected a state of {got}: make the same ones that it was taken of")
        state.restore(made, network, module)  # tried on those that nobody holds
        self._follow(network, module, state)
        self._network, self._history = network, History()
        self._states = {self._history.now: state}

    @checked(LoweringError)
    def apply(self, edit: Edit) -> Applied:
        """Take in what was trained, apply an edit, and let module and optimizers follow.

        Raises:
            EditError: the edit is not legal; the workbench stays as it is.
            LoweringError: a trained value is not finite, the state of an optimizer cannot follow units, or `make`
                gives another number of optimizers or groups for the new module; the network stays as it was.
        """
        self.take_in()
        before = (self._network, self._module)
        applied = edit.apply(before[0])
        module = self._lowered(applied.network, before[0])
        made = self._made(applied.network, module)
        self._take_options(made)
        for optimizer, present in zip(made, self._optimizers, strict=True):
            own, found = _members(optimizer), followed_states(present, before, (applied.network, module))
            optimizer.state.update({parameter: state for parameter, state in found.items() if id(parameter) in own})
        state = BenchState.of(made, applied.network, module, self._kept)
        self._follow(applied.network, module, state)
        return self._record(applied, state)

    def undo(self) -> Network:
        """Take the last edit back, a training being one; a training that broke down is dropped.

        Raises:
            EditError: there is none.
        """
        if self._broken():
            self.drop()
            return self._network
        return super().undo()

    def redo(self) -> Network:
        """Apply the last undone edit again, with the state of the optimizers as it was after it.

        Raises:
            EditError: there is none.
            LoweringError: see `take_in`.
        """
        self.take_in()
        return super().redo()

    def mark(self) -> Moment:
        """The present moment, to come back to, with what was trained.

        Raises:
            LoweringError: see `take_in`.
        """
        self.take_in()
        return super().mark()

    @checked(EditError)
    def back_to(self, moment: Moment) -> Network:
        """Go to a moment on any branch, with the state of the optimizers there; a training that broke down is dropped.

        Raises:
            EditError: it is none of this bench, or was let go.
        """
        self._history.check(moment)
        if self._broken():
            self.drop()
        return super().back_to(moment)

    @checked(EditError)
    def forget(self, before: Moment) -> None:
        """Let go of all moments but one and what came after it, and of the memory that they take.

        Raises:
            EditError: it is none of this bench, or the present moment does not come after it.
        """
        super().forget(before)
        self._states = {moment: self._states[moment] for moment in self.moments}

    def branch(self) -> Self:
        """A workbench of its own with the same network, history and optimizer states: try an edit there, and train.

        Raises:
            LoweringError: see `take_in`.
        """
        self.take_in()
        twin = super().branch()
        twin._states = dict(self._states)
        twin._module = self._anew(self._network).train(self._module.training)
        twin._kept.freeze(twin._network, twin._module)
        twin._optimizers = twin._made(twin._network, twin._module)
        twin._follow(twin._network, twin._module, twin._kept)
        return twin

    @property
    def _kept(self) -> BenchState:
        """What stood beside the network at the present moment."""
        return self._states[self._history.now]

    def _broken(self) -> bool:
        """Take in what was trained; whether that cannot be, as it broke down."""
        try:
            self.take_in()
        except LoweringError:
            return True
        return False

    def _step(self, moment: Moment) -> None:
        """Module and optimizers follow each step, as hooks belong to what lives along the way and to no namesake."""
        before = self._network
        super()._step(moment)
        self._return(before)

    def _pending(self) -> tuple[SetValues, BenchState] | None:
        """What was trained since the last edit, and the state that goes with it; None if nothing was."""
        state = self.state()
        values = trained_values(self._network, self._module, changed=True)
        return (values, state) if _any(values) or not state.same(self._kept) else None

    def _record(self, applied: Applied, state: BenchState) -> Applied:
        advanced = self._advance(applied)
        self._states[self._history.now] = state
        return advanced

    def _return(self, before: Network | None) -> None:
        """Bring module and optimizers to the current network and its state; the module holds `before`, if anything."""
        self._follow(self._network, self._lowered(self._network, before), self._kept)

    def _follow(self, network: Network, module: GraphModule, state: BenchState) -> None:
        state.restore(self._optimizers, network, module)
        if module is not self._module:
            self._module.graph.owning_module = None  # a cycle, in which tensors would wait for the next collection
        self._module = module

    def _anew(self, network: Network, like: Lowered | None = None) -> GraphModule:
        return lower(network, self._device, like=like, execution=self._execution)

    def _lowered(self, network: Network, before: Network | None = None) -> GraphModule:
        """A network's module; that of the network `before`, if there is one, gives up what both share."""
        module = self._anew(network, before and (before, self._module))
        if before is None:
            inherit((network, self._module), (network, module))
        module.train(self._module.training)
        return module

    def _called(self, module: GraphModule) -> Any:
        """What `make` gives for a module, or for its parameters, which benches of 0.1 passed."""
        make = self._make
        try:
            return make(module)
        except TypeError as error:
            older = _of_parameters(make)
            try:
                made = older(module)
            except Exception:
                raise error from None
        words = "a workbench expected make(module), got a function of parameters, which 0.2 will refuse: pass lambda "
        warnings.warn(f"{words}module: torch.optim.SGD(module.parameters(), lr=0.1)", FutureWarning, stacklevel=5)
        self._make = older
        return made

    def _made(self, network: Network, module: GraphModule) -> tuple[Optimizer, ...]:
        """What `make` gives for a module."""
        made: Any = self._called(module)
        optimizers = tuple(cast("Sequence[Any]", made)) if isinstance(made, list | tuple) else (made,)
        if not optimizers or not all(isinstance(one, Optimizer) for one in optimizers):
            shown = type(cast(object, made)).__name__
            raise LoweringError(
                f"a workbench expected make(module) to give an optimizer or several, got {shown}: pass "
                "a function such as lambda module: torch.optim.SGD(module.parameters(), lr=0.1)"
            )
        placed(optimizers, parameters_of(network, module))
        return optimizers

    def _take_options(self, made: tuple[Optimizer, ...]) -> None:
        """Give what was made for another module the options and rates of the present optimizers, by place."""
        got, expected = ([len(one.param_groups) for one in all_] for all_ in (made, self._optimizers))
        if got != expected:
            raise LoweringError(
                f"a workbench expected make(module) to give optimizers of {expected} groups for each module, got "
                f"{got} for another one: schedulers know groups by their place, so make as many, empty ones too"
            )
        for optimizer, present in zip(made, self._optimizers, strict=True):
            for group, old in zip(optimizer.param_groups, present.param_groups, strict=True):
                group.update({name: value for name, value in old.items() if name not in ("params", "param_names")})


def _of_parameters(make: Callable[..., Any]) -> Callable[[nn.Module], Any]:
    return lambda module: make(list(module.parameters()))


def _members(optimizer: Optimizer) -> set[int]:
    """The identities of an optimizer's parameters."""
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def _any(values: SetValues) -> bool:
    return bool(values.units or values.weights or values.batches or values.bodies)
