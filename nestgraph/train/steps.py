"""Steps of a run: an edit, the training after it, and the way back; each is logged as it happens."""

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetValues
from nestgraph.edits.editor import Editor
from nestgraph.errors import EditError, TrainingError
from nestgraph.graph.network import Network
from nestgraph.lowering.states import OptimizerState
from nestgraph.policies import Policy
from nestgraph.train.checkpoint import Point, Position, Progress, RunState, Tally
from nestgraph.train.evidence import gather
from nestgraph.train.randomness import derived_seed
from nestgraph.train.run_folder import RunFolder
from nestgraph.train.runs import Fault, Remedy
from nestgraph.train.trainer import Score, Trainer
from nestgraph.train.training_state import Model, TrainingSaves


@dataclass(frozen=True)
class Stand:
    """A point of a run to come back to: the model in training, its score, and the length of the history."""

    model: Model
    score: Score
    depth: int

    @property
    def connections(self) -> int:
        """How many connections the network has."""
        return self.model.network.connection_count


class Stepper:
    """The network of a run under an editor, a model that follows it, and the journal of both.

    Attributes:
        editor: holds the network and its history, in a resumed run that since it was resumed.
        phase: the phase of the run, for the journal and the random numbers.
    """

    def __init__(
        self, network: Network, trainer: Trainer, folder: RunFolder, state: RunState, tally: Tally | None = None
    ) -> None:
        """Nothing is written yet.

        Args:
            network: where to start.
            trainer: trains it.
            folder: of the run.
            state: where points within trainings are kept.
            tally: what was counted so far.

        Raises:
            DataError: the network does not fit the trainer's dataset.
        """
        self.editor = Editor(network)
        self.phase = "seed"
        self._trainer, self._folder, self._state = trainer, folder, state
        self._model = trainer.begin(network)
        self._tally = tally or Tally()

    @property
    def network(self) -> Network:
        """The current network."""
        return self.editor.network

    def propose(self, policies: Iterable[tuple[Policy, float]], batches: int | None) -> Batch:
        """What policies would do in turn, each with its scale and on the result of the one before; may be empty."""
        network, proposed, titles = self.network, list[AnyEdit](), list[str]()
        rng = np.random.default_rng(derived_seed(self._trainer.seed, "policy", self._tally.trainings))
        for policy, scale in policies:
            evidence = gather(network, self._trainer, policy.needs, batches, self._tally.trainings)
            try:
                edit = policy.propose(network, evidence, rng, scale)
                network = edit.apply(network).network
            except EditError:
                continue  # this policy would cut an output off: the others may still find something
            if edit.edits:
                proposed.append(edit)
                titles.append(edit.words)
        return Batch(edits=tuple(proposed), title=", ".join(titles)[:256] or "nothing to do")

    def damage(self, policy: Policy, scale: float, batches: int | None) -> float:
        """The loss on a few training batches right after what one policy would do, without training."""
        tried = self.propose([(policy, scale)], batches).apply(self.network).network
        loss = gather(self.network, self._trainer, {"trial"}, batches, self._tally.trainings).loss(tried)
        return loss if math.isfinite(loss) else math.inf

    def apply(self, edit: AnyEdit) -> None:
        """Apply an edit to the network; the model follows with the next step."""
        applied = self.editor.apply(edit)
        self._folder.log("apply", self.phase, applied.network.digest, edit=edit, note=edit.words[:256])

    def follow(self) -> None:
        """Bring the model to the current network."""
        self._model = self._trainer.follow(self._model, self.network)

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        kept = sum(not isinstance(edit, SetValues) for edit in self.editor.history)
        return self._tally.model_copy(update={"edits": self._tally.edits + kept})

    def _count(self, **more: int) -> None:
        now = self._tally
        self._tally = now.model_copy(update={name: getattr(now, name) + number for name, number in more.items()})

    def begin(self, epochs: int, otherwise: Remedy = "taken back") -> Stand:
        """Bring the model to the network and train it, again at lower learning rates where that breaks down.

        Args:
            epochs: of training.
            otherwise: what is done when all of that breaks down.

        Raises:
            TrainingError: it did.
        """
        options, before, depth = self._trainer.options, self._model, len(self.editor.history)
        for trial in range(options.retries):
            self._model = self._trainer.follow(before, self.network)
            with suppress(TrainingError):
                return self.proceed(epochs, options.retry_rate**trial, "tried again")
            self._back(depth, "training broke down")
        self._model = self._trainer.follow(before, self.network)
        return self.proceed(epochs, options.retry_rate**options.retries, otherwise)

    def proceed(self, epochs: int, rate: float = 1.0, otherwise: Remedy = "taken back") -> Stand:
        """Train the model on and take what it learned into the network.

        Args:
            epochs: of training.
            rate: share of the recipe's learning rate.
            otherwise: what is done if it breaks down.

        Raises:
            TrainingError: training broke down; the network may have taken in what came of it.
        """
        number = self._tally.trainings
        self._count(trainings=1)
        saves = TrainingSaves(self._state.training(number), self._state.pace, self._trainer.device)
        try:
            self.apply(self._trainer.fit(self._model, epochs, self.phase, number, rate, saves))
            self._model = replace(self._model, network=self.network)
            score = self._trainer.measure(self.network, "validation", self._model.module)
            if not math.isfinite(score.loss):
                raise TrainingError(f"training ({self.phase} {number}) expected a finite loss, got {score.loss}")
        except TrainingError as error:
            self._count(diverged=1, retried=otherwise == "tried again")
            self._fault(number, str(error), rate, otherwise)
            raise
        return Stand(self._model, score, len(self.editor.history))

    def collapsed(self, accuracy: float) -> None:
        """Note that the last training left nothing of the accuracy, and is taken back."""
        self._count(collapsed=1)
        problem = f"expected a validation accuracy above guessing ({self._trainer.guessing:.2%}), got {accuracy:.2%}"
        self._fault(self._tally.trainings - 1, problem, 1.0, "taken back")

    def _fault(self, training: int, problem: str, rate: float, remedy: Remedy) -> None:
        words = " ".join(problem.split())[:256]
        self._folder.fault(Fault(training=training, phase=self.phase, problem=words, rate=rate, remedy=remedy))

    def back_to(self, stand: Stand, title: str) -> None:
        """Take back everything since `stand`."""
        self._count(refused=len(self.editor.history) > stand.depth)
        self._back(stand.depth, f"refused: {title}")
        self._model = stand.model

    def _back(self, depth: int, note: str) -> None:
        while len(self.editor.history) > depth:
            network = self.editor.undo()
            self._folder.log("undo", self.phase, network.digest, note=note[:256])

    # -- points to resume from -----------------------------------------------------------------------

    def point(self, stand: Stand, position: Position, seconds: float) -> Point:
        """All that the next step depends on, when `stand` is where the run stands."""
        model = stand.model
        optimizer = OptimizerState.of(model.optimizer, model.network, model.module)
        progress = Progress(
            position=position,
            tally=self.tally,
            loss=stand.score.loss,
            accuracy=stand.score.accuracy,
            network=self.network.digest,
            kept=self._folder.kept,
            seconds=seconds,
            optimizer=optimizer.record,
        )
        return Point(self.network, optimizer, progress)

    def restored(self, point: Point) -> Stand:
        """Where a run stood at a point, whose network is the current one."""
        model, progress = self._model, point.progress
        point.optimizer.restore(model.optimizer, model.network, model.module)
        return Stand(model, Score(progress.loss, progress.accuracy), len(self.editor.history))
