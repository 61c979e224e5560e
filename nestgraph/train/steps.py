"""Steps of a run: an edit, the training after it, and the way back; each is logged as it happens."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.editor import Editor
from nestgraph.errors import EditError, TrainingError
from nestgraph.graph.network import Network
from nestgraph.policies import Policy
from nestgraph.train.evidence import gather
from nestgraph.train.randomness import derived_seed
from nestgraph.train.runs import RunFolder
from nestgraph.train.trainer import Model, Score, Trainer


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
        editor: holds the network and its history.
        phase: the phase of the run, for the journal and the random numbers.
    """

    def __init__(self, network: Network, trainer: Trainer, folder: RunFolder) -> None:
        """Nothing is written yet.

        Raises:
            DataError: the network does not fit the trainer's dataset.
        """
        self.editor = Editor(network)
        self.phase = "seed"
        self._trainer, self._folder = trainer, folder
        self._model = trainer.begin(network)
        self._trainings = 0

    @property
    def network(self) -> Network:
        """The current network."""
        return self.editor.network

    def propose(self, policies: Iterable[tuple[Policy, float]], batches: int | None) -> Batch:
        """What policies would do in turn, each with its scale and on the result of the one before; may be empty."""
        network, proposed, titles = self.network, list[AnyEdit](), list[str]()
        rng = np.random.default_rng(derived_seed(self._trainer.seed, "policy", self._trainings))
        for policy, scale in policies:
            evidence = gather(network, self._trainer, policy.needs, batches, self._trainings)
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
        loss = gather(self.network, self._trainer, {"trial"}, batches, self._trainings).loss(tried)
        return loss if math.isfinite(loss) else math.inf

    def apply(self, edit: AnyEdit) -> None:
        """Apply an edit to the network; the model follows with the next step."""
        applied = self.editor.apply(edit)
        self._folder.log("apply", self.phase, applied.network.digest, edit=edit, note=edit.words[:256])

    def follow(self) -> None:
        """Bring the model to the current network."""
        self._model = self._trainer.follow(self._model, self.network)

    def attempt(self, epochs: int) -> Stand | None:
        """Train the model; None if that breaks down."""
        try:
            return self.train(epochs)
        except TrainingError:
            return None

    def train(self, epochs: int) -> Stand:
        """Train the model and take what it learned into the network.

        Raises:
            TrainingError: training broke down; the network may have taken in what came of it.
        """
        number, self._trainings = self._trainings, self._trainings + 1
        self.apply(self._trainer.fit(self._model, epochs, self.phase, number))
        self._model = replace(self._model, network=self.network)
        score = self._trainer.measure(self.network, "validation", self._model.module)
        if not math.isfinite(score.loss):
            raise TrainingError(f"training ({self.phase} {number}) expected a finite loss, got {score.loss}")
        return Stand(self._model, score, len(self.editor.history))

    def back_to(self, stand: Stand, title: str) -> None:
        """Take back everything since `stand`."""
        while len(self.editor.history) > stand.depth:
            network = self.editor.undo()
            self._folder.log("undo", self.phase, network.digest, note=f"refused: {title}"[:256])
        self._model = stand.model
