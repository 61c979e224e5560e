"""The engine of a run: does what `decide` says on network, data and folder, and tells it what came of it."""

import math
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import singledispatchmethod
from typing import Any

from nestgraph.edits import Applied
from nestgraph.edits.history import Moment
from nestgraph.edits.operations import shift_activations
from nestgraph.errors import EditError, TrainingError
from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.loop.checkpoint import TRAINED_SEED, Point, Progress
from nestgraph.loop.decide import decide, share_done
from nestgraph.loop.decisions import (
    Accept,
    Action,
    Damage,
    Enter,
    Keep,
    Measured,
    Propose,
    Reached,
    Refuse,
    Retry,
    Shift,
    State,
    Stop,
    Train,
)
from nestgraph.loop.keeping import Book, Points
from nestgraph.loop.proposing import ASKED
from nestgraph.loop.trainer import Score, Trainer
from nestgraph.loop.training_state import TrainingSaves
from nestgraph.parallel.agreement import agree
from nestgraph.policies import Evidence, EvidenceKind, Policy
from nestgraph.recipes.budget import Spent
from nestgraph.recipes.naming import check_names
from nestgraph.recipes.proposing import Proposals
from nestgraph.recipes.recipe import Recipe
from nestgraph.runs import interruption
from nestgraph.runs.run import Fault, Measurement, Remedy
from nestgraph.snapshot import UNLIMITED, Proposal
from nestgraph.snapshot.files import from_bytes, to_bytes
from nestgraph.snapshot.journal_entry import Action as JournalAction
from nestgraph.snapshot.journal_entry import together
from nestgraph.snapshot.outcomes import Broke, Damaged, Outcome, Over, Proposed, Trained
from nestgraph.spec.randomness import derived_seed
from nestgraph.spec.record import as_text

Watcher = Callable[[Measurement, float | None], None]
"""Called after each measurement with the row and the seconds that the phase probably still takes (None: unknown)."""


class Engine:
    """A run in progress: a bench that edits and trains, and the journal of what it did.

    Attributes:
        state: of the run, as decided.
        bench: holds the network, and what was tried since the last decision.
        rows: what was measured.
    """

    def __init__(
        self,
        recipe: Recipe,
        trainer: Trainer,
        folder: Book,
        points: Points,
        watcher: Watcher | None = None,
        point: Point | None = None,
        state: State | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
            recipe: all choices of the run.
            trainer: with the recipe's data and the run's seed.
            folder: where to write, a run folder or memory.
            points: where points to resume from are kept, if anywhere.
            watcher: called after every measurement.
            point: where to go on; from the beginning without.
            state: of the run there.

        Raises:
            DataError: the network does not fit the trainer's dataset.
            RecipeError: the recipe has a budget, and what the network takes cannot be told.
        """
        if point is None:
            network = recipe.seed_network.build(
                derived_seed(trainer.seed, "seed network"), trainer.dataset, trainer.outputs
            )
            check_names(recipe, network)
        else:
            network = point.network
        self.state = state or State()
        self.bench, self.rows = trainer.bench(network), list[Measurement]()
        self._recipe, self._trainer, self._folder, self._points = recipe, trainer, folder, points
        self._watcher, self._resumed, self._ranks = watcher, point is not None, trainer.ranks
        self._began = self._entered = time.monotonic() - (point.progress.seconds if point else 0.0)
        if point:
            self.bench.load(network, point.bench)
        self._stands = self._before_training = self.bench.mark()
        self._idle = list[Proposal]()
        self._score = Score(self.state.loss, {}, self.state.goal)
        self._problem = TrainingError("nothing was trained yet")
        self._spent = self._budgeted()

    @property
    def network(self) -> Network:
        """The network after the last edit, training being one."""
        return self.bench.edited

    @property
    def seconds(self) -> float:
        """Since the run began, interruptions apart."""
        return time.monotonic() - self._began

    def run(self) -> dict[str, Network]:
        """The whole loop, or the rest of it, in a folder that is open; returns the networks to report, by stage.

        Raises:
            Interrupted: a signal ended it at a point that is kept.
            TrainingError: the seed network does not train.
        """
        if self._resumed:
            self.rows = self._ranks.led(self._folder.rows)
        outcome = None
        while self.state.awaits != "nothing":
            if outcome is None and self._over:
                outcome = Over()
            if outcome is not None:
                self._log("outcome", outcome=outcome)
            self.state, actions = decide(self._recipe, self._trainer.floor, self.state, outcome)
            for action in actions:
                outcome = self._do(action)
        return {
            "seed": self._kept(self._points.seed),
            "grown": self._kept(lambda: self._folder.stage("grown")),
            "final": self.network,
        }

    def _kept(self, read: Callable[[], Network]) -> Network:
        """A network that the first process has kept."""
        if not self._ranks.several:
            return read()
        return from_bytes(self._ranks.led(lambda: to_bytes(read(), UNLIMITED)), "the network", UNLIMITED)

    @property
    def _over(self) -> bool:
        """Whether no step is to begin any more."""
        seconds = self._recipe.training.seconds
        if seconds is None or self.state.awaits != "step":
            return False
        return self._ranks.led(lambda: self.seconds >= seconds)

    @singledispatchmethod
    def _do(self, action: Action) -> Outcome | None:
        """Do an action; what came of it, where that is asked for."""
        raise TypeError(f"the engine expected an action, got {action!r}")

    # -- phases and points ---------------------------------------------------------------------------

    @_do.register
    def _enter(self, _: Enter) -> None:
        self._entered = time.monotonic()

    @_do.register
    def _keep(self, action: Keep) -> None:
        if action.stage == "trained-seed":
            self._points.keep_seed(self.network)
            self._folder.noted(TRAINED_SEED, self.network)
        else:
            self._folder.keep(action.stage, self.network)

    @_do.register
    def _reached(self, _: Reached) -> None:
        """Between steps: keep the point if it is time, and end here if a signal asked for it.

        Raises:
            Interrupted: it did.
        """
        self._ranks.meet(0)
        pace = self._points.pace
        if pace.due or interruption.wished():
            with pace:
                self._points.keep(self._point())
        interruption.end_if_wished()

    def _point(self) -> Point:
        """All that the next step depends on."""
        bench = self.bench.state()
        progress = Progress(
            network=self.network.digest,
            kept=self._folder.kept,
            seconds=self.seconds,
            bench=bench.record,
        )
        return Point(self.network, bench, progress)

    @_do.register
    def _stop(self, action: Stop) -> None:
        if action.broken:
            raise self._problem

    # -- edits ---------------------------------------------------------------------------------------

    @_do.register
    def _propose(self, action: Propose) -> Proposed:
        asked = self._asked(action.places, action.scales, action.how)
        self._idle += (one for one in asked if one.idle)
        edit = together(asked)
        if edit.edits:
            self.bench.apply(edit)
            agree(self._ranks, self.bench, edit.words)
        self._log("propose", proposals=asked)
        return Proposed(edits=len(edit.edits), title=edit.words)

    @_do.register
    def _shift(self, _: Shift) -> Proposed:
        try:
            edit = shift_activations(self.network, self._recipe.shift.function)
        except EditError as error:  # there are none to shift
            return Proposed(edits=0, title=as_text(str(error)))
        if edit.edits:
            self._applied(self.bench.apply(edit))
        return Proposed(edits=len(edit.edits), title=edit.words)

    @_do.register
    def _damages(self, action: Damage) -> Damaged:
        pairs = zip(action.places, action.scales, strict=True)
        return Damaged(losses=tuple(self._damage(place, scale) for place, scale in pairs))

    def _policies(self) -> tuple[tuple[Policy, ...], int | None]:
        """The policies of the phase, and how many batches their evidence is averaged over."""
        growth, pruning = self._recipe.growth, self._recipe.pruning
        if growth and self.state.phase == "grow":
            return growth.policies, growth.evidence_batches
        return pruning.policies, pruning.activity_batches

    def _asked(
        self, places: tuple[int, ...], scales: tuple[float, ...], how: Proposals = "in_turn"
    ) -> tuple[Proposal, ...]:
        """What policies would do, by their places, each with its scale."""
        policies, batches = self._policies()
        number = self.state.counts.trainings
        seed = derived_seed(self._trainer.seed, "policy", number)

        def measured(network: Network, needs: Collection[EvidenceKind]) -> Evidence:
            found = self._trainer.evidence(network, needs, batches, number)
            if self._recipe.budget is None:
                return found
            spent = self._recipe.budget.spent(network)
            return replace(found, prices=spent.prices, memory=spent.memory)

        chosen = [(policies[place], scale) for place, scale in zip(places, scales, strict=True)]
        return ASKED[how](chosen, self.network, measured, seed, self._ranks)

    def _damage(self, place: int, scale: float) -> float:
        """The loss on a few training batches right after what one policy would do, untrained; finite in any case."""
        tried = together(self._asked((place,), (scale,))).apply(self.network).network
        _, batches = self._policies()
        found = self._trainer.evidence(self.network, {"trial"}, batches, self.state.counts.trainings)
        loss = self._ranks.led(lambda: found.loss(tried))
        return loss if math.isfinite(loss) else sys.float_info.max

    def _applied(self, applied: Applied) -> None:
        edit: Any = applied.edit
        agree(self._ranks, self.bench, edit.words)
        self._log("apply", edit=edit, note=edit.words[:256])

    def _log(self, action: JournalAction, **said: Any) -> None:
        self._folder.log(action, len(self.rows), self.state.phase, self.network.digest, **said)

    def _back(self, moment: Moment, note: str) -> None:
        while self.bench.mark() is not moment:
            self.bench.undo()
            agree(self._ranks, self.bench, f"undo ({note})")
            self._log("undo", note=note[:256])

    def _budgeted(self) -> Spent | None:
        """What the network takes of its budget.

        Raises:
            RecipeError: that cannot be told.
        """
        budget = self._recipe.budget
        return None if budget is None else budget.spent(self.network)

    # -- training ------------------------------------------------------------------------------------

    @_do.register
    def _train(self, action: Train) -> Trained | Broke:
        """Train, take what was learned into the network, and measure it."""
        if not action.on:
            self._before_training = self.bench.mark()
        phase, number = self.state.phase, action.number
        file = self._points.training(number)
        saves = None
        if file or self._ranks.several:
            saves = TrainingSaves(file, self._points.pace, self._trainer.device, self._ranks)
        try:
            int8 = self._recipe.finish_int8 and phase == "finish"
            self._applied(self._trainer.fit(self.bench, action.epochs, phase, number, action.rate, saves, int8))
            self._score = self._trainer.measure(self.network, "validation", self.bench.module)
            if not math.isfinite(self._score.loss):
                raise TrainingError(f"training ({phase} {number}) expected a finite loss, got {self._score.loss}")
        except TrainingError as error:
            self._problem = error
            self.bench.drop()
            self._fault(number, str(error), action.rate, action.otherwise)
            return Broke()
        score = self._score
        self._spent = self._budgeted()
        share = None if self._spent is None else self._spent.share
        connections = self.network.connection_count
        return Trained(loss=score.loss, scores=score.scores, connections=connections, share=share)

    @_do.register
    def _retry(self, _: Retry) -> None:
        self._back(self._before_training, "training broke down")

    @_do.register
    def _accept(self, _: Accept) -> None:
        self._stands = self.bench.mark()
        self.bench.forget(self._stands)  # nothing leads behind what stands but the journal

    @_do.register
    def _refuse(self, action: Refuse) -> None:
        self._back(self._stands, f"refused: {action.title}")
        self.bench.forget(self._stands)

    def _note_collapse(self) -> None:
        aim = self._recipe.task.aim
        floor, goal = aim.shown(self._trainer.floor), aim.shown(self._score.goal)
        better = "above" if aim.sign > 0 else "below"
        got = f"expected a validation {aim.metric.words} {better} that of a constant answer ({floor}), got {goal}"
        self._fault(self.state.counts.trainings - 1, got, 1.0, "taken back")

    def _fault(self, training: int, problem: str, rate: float, remedy: Remedy) -> None:
        words = as_text(problem)
        fault = Fault(training=training, phase=self.state.phase, problem=words, rate=rate, remedy=remedy)
        self._folder.fault(fault)

    # -- measuring -----------------------------------------------------------------------------------

    @_do.register
    def _measured(self, action: Measured) -> None:
        total, now = cost(self.network).total, time.monotonic()
        row = Measurement(
            step=len(self.rows),
            phase=self.state.phase,
            edit=action.title,
            accepted=action.kept,
            units=total.units,
            connections=total.connections,
            flops=total.flops,
            loss=self._score.loss,
            scores=self._score.scores,
            seconds=round(now - self._began, 3),
            parameters=total.parameters,
            spent=None if self._spent is None else self._spent.amounts,
            idle=tuple(self._idle),
        )
        self._idle.clear()
        self.rows.append(row)
        self._folder.measured(row)
        if self._watcher:
            share = share_done(self._recipe, self.state)
            self._watcher(row, max(0.0, (now - self._entered) * (1 / share - 1)) if share else None)
        if action.collapsed:
            self._note_collapse()
