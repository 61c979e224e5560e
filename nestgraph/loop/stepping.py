"""The optimizer steps of a training: their optimizers, in which precision, of how many batches, and their average."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from pydantic import NonNegativeInt
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from nestgraph.errors import TrainingError
from nestgraph.loop.rounding import RoundedWeights
from nestgraph.lowering.workbench import Workbench
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.recipes.schedules import rate_share
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.record import Record

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


OF_MATRICES = frozenset({"adafactor", "muon"})
"""Optimizers that look at the rows and columns of weights, so that these are held as whole matrices."""


def optimizers(options: TrainingOptions, module: nn.Module) -> list[Optimizer]:
    """The optimizers of a recipe over the parameters of a module.

    Raises:
        TrainingError: it is Muon, and no weight has two axes.
    """
    parameters, rate, decay = list(module.parameters()), options.learning_rate, options.weight_decay
    fused = True if all(map(_fuses, parameters)) else None
    match options.optimizer:
        case "sgd":
            nesterov = options.momentum > 0
            return [
                torch.optim.SGD(parameters, rate, options.momentum, weight_decay=decay, nesterov=nesterov, fused=fused)
            ]
        case "adam":
            return [torch.optim.Adam(parameters, rate, weight_decay=decay, fused=fused)]
        case "adamw":
            return [torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=fused)]
        case "adafactor":
            return [torch.optim.Adafactor(parameters, rate, weight_decay=decay)]
        case "rmsprop":
            return [torch.optim.RMSprop(parameters, rate, weight_decay=decay)]
        case "muon":
            matrices = [parameter for parameter in parameters if parameter.ndim == 2]
            if not matrices:
                raise TrainingError(
                    "training.optimizer 'muon' expected weights of two axes, from neurons to neurons, got none: take "
                    "'adamw', which does the rest anyway"
                )
            scale, rest = "match_rms_adamw", [parameter for parameter in parameters if parameter.ndim != 2]
            muon = torch.optim.Muon(matrices, rate, decay, options.momentum, adjust_lr_fn=scale)
            return [muon, torch.optim.AdamW(rest, rate, weight_decay=decay, fused=fused)]


def _fuses(parameter: Tensor) -> bool:
    """Whether one kernel can step a parameter: in a third to an eighth of the time of one operation after another."""
    return parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda")


def _begin_momentum(optimizer: Optimizer) -> None:
    """Give parameters without momentum one of 0, from which they go on as without: the fused kernel asks for all."""
    for group in optimizer.param_groups if isinstance(optimizer, torch.optim.SGD) else ():
        for parameter in group["params"] if group["momentum"] and group["fused"] else ():
            optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


class StepState(Record):
    """All of where the steps of a training are that is not an array.

    Attributes:
        scale: what a loss in half precision is multiplied by; None in others.
        growth: steps since that last changed.
        averaged: steps that the moving average has seen.
        best: the lowest loss on the validation split after an epoch.
        stale: epochs since then.
    """

    scale: float | None = None
    growth: NonNegativeInt = 0
    averaged: NonNegativeInt = 0
    best: float | None = None
    stale: NonNegativeInt = 0


class Steps:
    """The steps of one training of a bench. Nothing of them outlasts it but what the bench holds."""

    def __init__(self, bench: Workbench, options: TrainingOptions, device: torch.device, int8: bool = False) -> None:
        """At the beginning of a training.

        Args:
            bench: what is trained.
            options: how.
            device: where.
            int8: whether it computes with weights as int8 holds them, and ends with these.
        """
        self._bench, self._options, self._device = bench, options, device
        for optimizer in bench.optimizers:
            _begin_momentum(optimizer)
        half = options.precision == "float16"
        self._scaler: Any = torch.amp.GradScaler(device.type, enabled=half) if half else None
        self._average = _average(bench.module, options.ema) if options.ema else None
        self._rounded = RoundedWeights(bench) if int8 else None
        self._best, self._stale = math.inf, 0
        self._loss, self._parts, self._left_out = torch.zeros(()), list[Tensor](), 0

    def begin(self, rate: float, progress: float) -> None:
        """Begin a step at a place of a training, with a share of the recipe's learning rate."""
        share = rate_share(self._options, progress)
        for optimizer in self._bench.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._options.learning_rate * share * rate
            optimizer.zero_grad(set_to_none=True)
        self._parts.clear()

    def add(self, loss: Callable[[], Tensor], share: float) -> None:
        """Add the gradient of a mean loss over some samples, which are a share of those of the step."""
        if self._rounded is None:
            self._add(loss, share)
        else:
            with self._rounded.held():
                self._add(loss, share)

    def _add(self, loss: Callable[[], Tensor], share: float) -> None:
        kind, device = PRECISIONS.get(self._options.precision), self._device.type
        if kind is None and not torch.is_autocast_enabled(device):
            value = loss()  # entering a context that changes nothing takes as long as a small layer
        else:
            with torch.autocast(device, kind or torch.bfloat16, enabled=kind is not None):
                value = loss()
        if share != 1:
            value = value * share
        (value if self._scaler is None else self._scaler.scale(value)).backward()
        self._parts.append(value.detach())

    def end(self) -> Tensor:
        """Do the step; the mean loss over its samples, or of the last step that was done if this one is left out."""
        if self._scaler is None:
            for optimizer in self._bench.optimizers:
                optimizer.step()
            done = True
        else:
            for optimizer in self._bench.optimizers:
                self._scaler.step(optimizer)
            before = self._scaler.get_scale()
            self._scaler.update()
            done = self._scaler.get_scale() >= before
        self._left_out = 0 if done else self._left_out + 1
        if done:
            self._loss = self._parts[0] if len(self._parts) == 1 else torch.stack(self._parts).sum()
            if self._average is not None:
                self._average.update_parameters(self._bench.module)
        elif self._left_out >= MOST_LEFT_OUT:
            self._loss = torch.tensor(math.nan)
        return self._loss

    @property
    def module(self) -> nn.Module:
        """What this training leads to so far: the average, if there is one."""
        averaged = self._average is not None and int(self._average.n_averaged) > 0
        return self._average.module if self._average is not None and averaged else self._bench.module

    @property
    def over(self) -> bool:
        """Whether training ends early."""
        return self._options.early_stop is not None and self._stale >= self._options.early_stop

    def held(self) -> AbstractContextManager[None]:
        """The module as it computes in a step."""
        return nullcontext() if self._rounded is None else self._rounded.held()

    def measured(self, loss: float) -> None:
        """Note the loss on the validation split after an epoch."""
        self._best, self._stale = (loss, 0) if loss < self._best else (self._best, self._stale + 1)

    def finish(self) -> None:
        """Put the average in the place of what was trained, and what int8 holds, where these are asked for."""
        if self.module is not self._bench.module:
            self._bench.module.load_state_dict(self.module.state_dict())
        if self._rounded is not None:
            self._rounded.settle()

    # -- points to resume from -----------------------------------------------------------------------

    @property
    def state(self) -> StepState:
        """Where they are."""
        scaled: dict[str, Any] = self._scaler.state_dict() if self._scaler is not None else {}
        return StepState(
            scale=scaled.get("scale"),
            growth=scaled.get("_growth_tracker", 0),
            averaged=int(self._average.n_averaged) if self._average is not None else 0,
            best=self._best if math.isfinite(self._best) else None,
            stale=self._stale,
        )

    @property
    def arrays(self) -> dict[str, AnyArray]:
        """The moving average."""
        if self._average is None:
            return {}
        return {name: tensor.detach().cpu().numpy() for name, tensor in self._average.module.state_dict().items()}

    def restore(self, state: StepState, arrays: Mapping[str, AnyArray]) -> None:
        """Go on from there."""
        if self._scaler is not None and state.scale is not None:
            now = self._scaler.state_dict()
            self._scaler.load_state_dict({**now, "scale": state.scale, "_growth_tracker": state.growth})
        if self._average is not None and arrays:
            self._average.module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
            self._average.n_averaged.fill_(state.averaged)
        self._best, self._stale = math.inf if state.best is None else state.best, state.stale


MOST_LEFT_OUT = 64
"""Steps in a row whose gradients overflow, after each of which the scale is halved: then it is not the scale."""


def _average(module: nn.Module, decay: float) -> AveragedModel:
    """A moving average of a module's parameters and statistics."""
    lerp, copy = cast(Any, torch)._foreach_lerp_, cast(Any, torch)._foreach_copy_

    def follow(averaged: list[Tensor], current: list[Tensor], seen: Tensor) -> None:
        kept = min(decay, (1 + int(seen)) / (10 + int(seen)))
        if averaged[0].is_floating_point():
            lerp(averaged, current, 1 - kept)
        else:
            copy(averaged, current)

    return AveragedModel(module, multi_avg_fn=cast(Any, follow), use_buffers=True)
