"""NeST's loop in time: seed, grow, shift, prune, finish. Training, policies and edits meet here and in `steps`."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nestgraph.edits.batch import Batch
from nestgraph.edits.connections import SetValues
from nestgraph.edits.operations import shift_activations
from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.train.baseline import logistic_regression
from nestgraph.train.flops import active_flops
from nestgraph.train.randomness import derived_seed
from nestgraph.train.recipe import GrowthOptions, PruningOptions, Recipe
from nestgraph.train.runs import Measurement, Result, Run, RunFolder, StageResult
from nestgraph.train.steps import Stand, Stepper
from nestgraph.train.trainer import Score, Trainer, cpu_threads

Progress = Callable[[Measurement, float | None], None]
"""Called after each measurement with the row and the seconds that the phase probably still takes (None: unknown)."""


def synthesize(
    recipe: Recipe,
    out: Path | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Run:
    """Run a recipe: grow a small seed, shift its activations, prune it, and write everything to a run folder.

    Args:
        recipe: all choices of the run.
        out: the run folder, new or empty; `runs/NAME-SEED` by default.
        seed: of the split, the seed network and every random number of the run.
        device: "cpu" or "cuda".
        progress: called after every measurement.
        overwrite: replace the folder of an earlier run.

    Raises:
        DataError: the dataset cannot be had, or the seed network does not fit it.
        SnapshotError: the folder is in use or cannot be written.
        StructureError: the recipe's seed network cannot be made.
        TrainingError: the seed network does not train, or the device is missing.
    """
    data = recipe.data
    trainer = Trainer(data.load(seed), recipe.training, data.distortion, seed, device, data.augmentation)
    facts = {"seed": seed, "device": str(trainer.device)}
    folder = RunFolder(Path(out or f"runs/{recipe.name}-{seed}"), recipe, facts, overwrite)
    with cpu_threads(recipe.training.threads):
        return Synthesis(recipe, trainer, folder, seed, progress).run()


class Synthesis:
    """One run in progress: the decisions of each phase, and the record of what they led to."""

    def __init__(
        self, recipe: Recipe, trainer: Trainer, folder: RunFolder, seed: int, progress: Progress | None = None
    ) -> None:
        self.recipe, self.trainer, self.folder, self.seed = recipe, trainer, folder, seed
        self.rows: list[Measurement] = []
        self._progress = progress
        self._began = self._phase_began = time.monotonic()
        self._refused = 0
        network = recipe.seed_network.build(derived_seed(seed, "seed network"), trainer.dataset)
        self._steps = Stepper(network, trainer, folder)

    def run(self) -> Run:
        """The whole loop; returns the finished run."""
        with self.folder:
            result = self._result(self._stages())
            self.folder.finish(result, self.rows)
        return Run(self.folder.folder, self.recipe, result)

    def _stages(self) -> dict[str, Network]:
        """Every phase in turn; returns the networks to report."""
        self.folder.keep("seed", self._steps.network)
        stand = self._train(self.recipe.seed_epochs, "train the seed")
        stages = {"seed": self._steps.network}
        stand = self._grow(stand, self.recipe.growth)
        stages["grown"] = self._steps.network
        self.folder.keep("grown", stages["grown"])
        stand = self._prune(self._shift(stand), self.recipe.pruning)
        self._finish(stand)
        stages["final"] = self._steps.network
        self.folder.keep("final", stages["final"])
        return stages

    # -- phases --------------------------------------------------------------------------------------

    def _enter(self, phase: str) -> None:
        self._steps.phase, self._phase_began = phase, time.monotonic()

    def _grow(self, stand: Stand, options: GrowthOptions) -> Stand:
        self._enter("grow")
        first, refused = stand.connections, 0
        for number in range(options.max_edits):
            if stand.connections >= options.size_limit or stand.score.accuracy >= options.target_accuracy:
                break
            policy = options.policies[number % len(options.policies)]
            edit = self._steps.propose([(policy, 1.0)], options.evidence_batches)
            tried = self._try(edit, options.epochs) if edit.edits else None
            kept = tried is not None and tried.score.loss < stand.score.loss
            reached = tried.connections if tried and kept else stand.connections
            share = (reached - first) / (options.size_limit - first)
            stand = self._decide(stand, tried, kept, edit.words, share)
            refused = 0 if kept else refused + 1
            if refused >= options.patience:
                break
        return stand

    def _shift(self, stand: Stand) -> Stand:
        self._enter("shift")
        edit = shift_activations(self._steps.network, self.recipe.shift.function)
        if edit.edits:
            self._steps.apply(edit)
        epochs = self.recipe.shift.epochs
        return self._train(epochs, edit.words) if edit.edits or epochs else stand

    def _prune(self, stand: Stand, options: PruningOptions) -> Stand:
        self._enter("prune")
        target = options.target_accuracy
        if target is None:
            target = stand.score.accuracy - options.tolerance
        scales, first = dict.fromkeys(range(len(options.policies)), 1.0), stand.connections
        for _ in range(options.max_edits):
            if stand.connections <= options.size_floor or not scales:
                break
            steps = [(options.policies[place], scale) for place, scale in scales.items()]
            edit = self._steps.propose(steps, options.activity_batches)
            tried = self._recovered(self._try(edit, options.epochs), target) if edit.edits else None
            kept = tried is not None and tried.score.accuracy >= target
            reached = tried.connections if tried and kept else stand.connections
            stand = self._decide(stand, tried, kept, edit.words, _pruned_share(first, reached, options.size_floor))
            scales = scales if kept else self._backed_off(scales, options)
        return stand

    def _backed_off(self, scales: Mapping[int, float], options: PruningOptions) -> dict[int, float]:
        """The scales of policies after a refused step, by their place; those below the smallest step fall out."""
        halved = set(scales)
        if options.back_off == "worst":
            batches = options.activity_batches
            damages = {n: self._steps.damage(options.policies[n], scale, batches) for n, scale in scales.items()}
            halved = {max(damages, key=lambda place: damages[place])}
        smaller = {place: scale / 2 if place in halved else scale for place, scale in scales.items()}
        return {place: scale for place, scale in smaller.items() if scale >= options.smallest_step}

    def _recovered(self, tried: Stand | None, target: float) -> Stand | None:
        """Train a step that fell below the target on, within the recovery budget."""
        options, spent = self.recipe.pruning, 0
        while tried and tried.score.accuracy < target and spent < options.recovery_epochs:
            epochs = min(options.epochs, options.recovery_epochs - spent)
            spent += epochs
            tried = self._steps.attempt(epochs)
        return tried

    def _finish(self, stand: Stand) -> None:
        self._enter("finish")
        if self.recipe.finish_epochs:
            tried = self._try(Batch(edits=()), self.recipe.finish_epochs)
            kept = tried is not None and tried.score.accuracy >= stand.score.accuracy
            self._decide(stand, tried, kept, "last training", None)

    # -- steps ---------------------------------------------------------------------------------------

    def _try(self, edit: Batch, epochs: int) -> Stand | None:
        """Apply an edit and train; None if training broke down. Nothing is decided yet."""
        if edit.edits:
            self._steps.apply(edit)
        self._steps.follow()
        return self._steps.attempt(epochs)

    def _decide(self, stand: Stand, tried: Stand | None, kept: bool, title: str, share: float | None) -> Stand:
        """Keep what was tried, or go back to where it started; either way it is measured and logged.

        Args:
            stand: where it started.
            tried: what came of it; None where there was nothing to do or training broke down.
            kept: whether it is kept.
            title: what was tried.
            share: of the phase that is done after this.
        """
        if tried is not None:
            self._measured(title, tried.score, kept, share)
        if kept and tried is not None:
            return tried
        self._refused += len(self._steps.editor.history) > stand.depth
        self._steps.back_to(stand, title)
        return stand

    def _train(self, epochs: int, title: str) -> Stand:
        """Train the current network; a breakdown here ends the run."""
        self._steps.follow()
        stand = self._steps.train(epochs)
        self._measured(title, stand.score, True, None)
        return stand

    # -- reporting -----------------------------------------------------------------------------------

    def _measured(self, title: str, score: Score, accepted: bool, share: float | None) -> None:
        total, now = cost(self._steps.network).total, time.monotonic()
        row = Measurement(
            step=len(self.rows),
            phase=self._steps.phase,
            edit=title,
            accepted=accepted,
            units=total.units,
            connections=total.connections,
            flops=total.flops,
            loss=score.loss,
            accuracy=score.accuracy,
            seconds=round(now - self._began, 3),
        )
        self.rows.append(row)
        self.folder.measured(row)
        if self._progress:
            remaining = (now - self._phase_began) * (1 / share - 1) if share else None
            self._progress(row, None if remaining is None else max(0.0, remaining))

    def _result(self, stages: Mapping[str, Network]) -> Result:
        """The result table. This is where the test split is read, once, after the last decision."""
        results: list[StageResult] = []
        for name, network in stages.items():
            total = cost(network).total
            results.append(
                StageResult(
                    stage=name,
                    units=total.units,
                    connections=total.connections,
                    parameters=total.parameters,
                    flops=total.flops,
                    active_flops=active_flops(network, self.trainer, "test"),
                    validation_accuracy=self.trainer.measure(network, "validation").accuracy,
                    test_accuracy=self.trainer.measure(network, "test").accuracy,
                    digest=network.digest,
                )
            )
        return Result(
            recipe=self.recipe.name,
            seed=self.seed,
            seconds=round(time.monotonic() - self._began, 1),
            edits=sum(not isinstance(edit, SetValues) for edit in self._steps.editor.history),
            refused=self._refused,
            stages=tuple(results),
            baseline=logistic_regression(self.trainer) if self.recipe.baseline else None,
        )


def _pruned_share(first: int, now: int, floor: int) -> float | None:
    """How much of pruning is done: each step takes a part of what is left, so its steps go with the logarithm."""
    return math.log(first / now) / math.log(first / floor) if first > floor > 0 else None
