"""NeST's loop in time: seed, grow, shift, prune, finish. Training, policies and edits meet here and in `steps`."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nestgraph.edits.batch import Batch
from nestgraph.edits.operations import shift_activations
from nestgraph.errors import EditError, RecipeError, TrainingError
from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.snapshot import load
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.train import interruption
from nestgraph.train.baseline import logistic_regression
from nestgraph.train.checkpoint import PHASES, TRAINED_SEED, Begun, Facts, Pace, Phase, Point, Position, RunState, Tally
from nestgraph.train.environment import environment, fingerprints
from nestgraph.train.flops import active_flops
from nestgraph.train.interruption import Interrupted, signals_noted
from nestgraph.train.locks import Lock
from nestgraph.train.naming import check_names
from nestgraph.train.own_policies import refuse_unknown
from nestgraph.train.pruning_options import PruningOptions
from nestgraph.train.randomness import derived_seed
from nestgraph.train.recipe import Recipe
from nestgraph.train.run_folder import RunFolder
from nestgraph.train.runs import Faults, Measurement, Result, Run, StageResult, read_metrics
from nestgraph.train.steps import Stand, Stepper
from nestgraph.train.trainer import Score, Trainer, cpu_threads

Progress = Callable[[Measurement, float | None], None]
"""Called after each measurement with the row and the seconds that the phase probably still takes (None: unknown)."""


@checked(RecipeError)
def synthesize(
    recipe: Recipe,
    out: PathLike | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    overwrite: bool = False,
    save_every: float | None = None,
) -> Run:
    """Run a recipe: grow a small seed, shift its activations, prune it, and write everything to a run folder.

    A run that was interrupted, however it was, goes on with `resume` and gives the same bits. In the main thread,
    Ctrl-C, SIGTERM and SIGHUP end it at the next batch, which is kept.

    Args:
        recipe: all choices of the run.
        out: the run folder, new or empty; `runs/NAME-SEED` by default.
        seed: of the split, the seed network and every random number of the run.
        device: "cpu" or "cuda".
        progress: called after every measurement.
        overwrite: replace the folder of an earlier run.
        save_every: seconds between the points that are kept to resume from; by default as many as bring the time that
            this takes below 2%.

    Raises:
        DataError: the dataset cannot be had, or the seed network does not fit it.
        Interrupted: a signal ended the run, which can be resumed. It is a `KeyboardInterrupt`.
        RecipeError: the snapshot that the recipe starts from holds another network than when the recipe was read, the
            code of a policy is not known, or a policy names a projection that there is none of.
        SnapshotError: the folder is in use or cannot be written, or the snapshot cannot be read.
        StructureError: the recipe's seed network cannot be made.
        TrainingError: the seed network does not train, or the device is missing.
    """
    refuse_unknown(recipe)
    recipe, data = recipe.resolved(Path()), recipe.data
    trainer = Trainer(data.load(seed), recipe.training, data.distortion, seed, device, data.augmentation)
    place = Path(out or f"runs/{recipe.name}-{seed}")
    with cpu_threads(recipe.training.threads):
        facts = facts_of(trainer)
        folder, state = RunFolder(place, recipe, facts, overwrite), RunState(place, Pace(save_every))
        synthesis = Synthesis(recipe, trainer, folder, state, progress)
        with Lock(place):
            folder.prepare()
            state.begin(Begun(recipe=recipe.document, environment=Facts.model_validate(facts)))
            return synthesis.run()


def facts_of(trainer: Trainer) -> dict[str, Any]:
    """What the exact numbers of a run depend on beside its recipe."""
    data = fingerprints(trainer.dataset)
    return {"seed": trainer.seed, "device": str(trainer.device), **environment(), "data": data}


class Synthesis:
    """One run in progress: the decisions of each phase, and the record of what they led to."""

    def __init__(
        self,
        recipe: Recipe,
        trainer: Trainer,
        folder: RunFolder,
        state: RunState,
        progress: Progress | None = None,
        point: Point | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
            recipe: all choices of the run.
            trainer: with the recipe's data and the run's seed.
            folder: where to write.
            state: where points are kept.
            progress: called after every measurement.
            point: where to go on; from the beginning without.
        """
        self.recipe, self.trainer, self.folder = recipe, trainer, folder
        self.rows: list[Measurement] = []
        self._progress, self._state = progress, state
        passed = point.progress.seconds if point else 0.0
        self._began = self._phase_began = time.monotonic() - passed
        if point:
            self._position, network, tally = point.progress.position, point.network, point.progress.tally
        else:
            network = recipe.seed_network.build(derived_seed(trainer.seed, "seed network"), trainer.dataset)
            check_names(recipe, network)
            self._position, tally = Position(), Tally()
        self._steps = Stepper(network, trainer, folder, state, tally)
        self._stand = self._steps.restored(point) if point else None

    def run(self) -> Run:
        """The whole loop, or the rest of it; returns the finished run.

        Raises:
            Interrupted: a signal ended it at a point that is kept.
        """
        try:
            with signals_noted(), self.folder:
                if self._stand:
                    self.rows = read_metrics(self.folder.folder)
                result = self._result(self._stages())
                self.folder.finish(result, self.rows)
        except Interrupted as error:
            place = str(self.folder.folder)
            raise Interrupted(error.signal, f"{place}: interrupted; resume({place!r}) goes on") from None
        return Run(self.folder.folder, self.recipe, result)

    def _stages(self) -> dict[str, Network]:
        """Every phase in turn, or those that are left; returns the networks to report."""
        done = PHASES.index(self._position.phase)
        stand = self._stand or self._seed()
        stages = {"seed": self._state.seed()}
        for phase in (self._grow, self._shift, self._prune, self._finish)[max(0, done - 1) :]:
            stand = phase(stand)
        self._enter("report", stand)
        stages |= {"grown": load(self.folder.folder / "grown.json"), "final": self._steps.network}
        self.folder.keep("final", stages["final"])
        return stages

    # -- phases --------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, stand: Stand, **begin: Any) -> Position:
        """Begin a phase, or go on in it; where it goes on."""
        self._phase_began = time.monotonic()
        if phase != "report":
            self._steps.phase = phase
        if self._position.phase != phase:
            self._reached(stand, Position(phase=phase, first=stand.connections, **begin))
        return self._position

    def _reached(self, stand: Stand, position: Position) -> None:
        """Between steps: keep the point if it is time, and end here if a signal asked for it.

        Raises:
            Interrupted: it did.
        """
        self._position = position
        if self._state.pace.due or interruption.wished():
            seconds = time.monotonic() - self._began
            with self._state.pace:
                self._state.keep(self._steps.point(stand, position, seconds))
        interruption.end_if_wished()

    def _seed(self) -> Stand:
        self.folder.keep("seed", self._steps.network)
        stand = self._steps.begin(self.recipe.seed_epochs, "ended the run")
        self._measured("train the seed", stand.score, True, None)
        self._state.keep_seed(self._steps.network)
        self.folder.noted(TRAINED_SEED, self._steps.network)
        return stand

    def _grow(self, stand: Stand) -> Stand:
        options = self.recipe.growth
        now = self._enter("grow", stand)
        while options and now.number < options.max_edits and now.misses < options.patience:
            if stand.connections >= options.size_limit or stand.score.accuracy >= options.target_accuracy:
                break
            policy = options.policies[now.number % len(options.policies)]
            edit = self._steps.propose([(policy, 1.0)], options.evidence_batches)
            tried = self._try(edit, options.epochs) if edit.edits else None
            kept = tried is not None and tried.score.loss < stand.score.loss
            reached = tried.connections if tried and kept else stand.connections
            share = (reached - now.first) / (options.size_limit - now.first)
            stand = self._decide(stand, tried, kept, edit.words, share)
            now = _following(now, misses=0 if kept else now.misses + 1)
            self._reached(stand, now)
        self.folder.keep("grown", self._steps.network)
        return stand

    def _shift(self, stand: Stand) -> Stand:
        """Shift the activations; a network that no longer trains or knows anything keeps those it had."""
        self._enter("shift", stand)
        edit, epochs = self._shifted(), self.recipe.shift.epochs
        if not edit.edits and not epochs:
            return stand
        tried = self._try(edit, epochs)
        kept = tried is not None and not self._collapsed(stand, tried)
        return self._decide(stand, tried, kept, edit.words, None)

    def _shifted(self) -> Batch:
        """The edit that shifts the activations; an empty one, which says why, where there are none to shift."""
        try:
            return shift_activations(self._steps.network, self.recipe.shift.function)
        except EditError as error:
            return Batch(edits=(), title=str(error)[:256])

    def _prune(self, stand: Stand) -> Stand:
        options = self.recipe.pruning
        given = options.target_accuracy
        target = stand.score.accuracy - options.tolerance if given is None else given
        now = self._enter("prune", stand, target=target, scales=(1.0,) * len(options.policies))
        while now.number < options.max_edits and stand.connections > options.size_floor and any(now.scales):
            scales = {place: scale for place, scale in enumerate(now.scales) if scale}
            steps = [(options.policies[place], scale) for place, scale in scales.items()]
            edit = self._steps.propose(steps, options.activity_batches)
            tried = self._recovered(self._try(edit, options.epochs), now.target or 0.0) if edit.edits else None
            kept = tried is not None and tried.score.accuracy >= (now.target or 0.0)
            reached = tried.connections if tried and kept else stand.connections
            share = _pruned_share(now.first, reached, options.size_floor)
            stand = self._decide(stand, tried, kept, edit.words, share)
            scales = scales if kept else self._backed_off(scales, options)
            now = _following(now, scales=tuple(scales.get(place, 0.0) for place in range(len(now.scales))))
            self._reached(stand, now)
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
            tried = self._unless_broken(self._steps.proceed, epochs)
        return tried

    def _finish(self, stand: Stand) -> Stand:
        self._enter("finish", stand)
        if not self.recipe.finish_epochs:
            return stand
        tried = self._try(Batch(edits=()), self.recipe.finish_epochs)
        kept = tried is not None and tried.score.accuracy >= stand.score.accuracy
        return self._decide(stand, tried, kept, "last training", None)

    # -- steps ---------------------------------------------------------------------------------------

    def _try(self, edit: Batch, epochs: int) -> Stand | None:
        """Apply an edit and train; None if training broke down. Nothing is decided yet."""
        if edit.edits:
            self._steps.apply(edit)
        return self._unless_broken(self._steps.begin, epochs)

    def _unless_broken(self, training: Callable[[int], Stand], epochs: int) -> Stand | None:
        try:
            return training(epochs)
        except TrainingError:
            return None

    def _collapsed(self, stand: Stand, tried: Stand) -> bool:
        """Whether the network is no better than guessing where it was before."""
        return tried.score.accuracy <= self.trainer.guessing < stand.score.accuracy

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
        if tried is not None and self._collapsed(stand, tried):
            self._steps.collapsed(tried.score.accuracy)
        self._steps.back_to(stand, title)
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
            parameters=total.parameters,
        )
        self.rows.append(row)
        self.folder.measured(row)
        if self._progress:
            remaining = (now - self._phase_began) * (1 / share - 1) if share else None
            self._progress(row, None if remaining is None else max(0.0, remaining))

    def _result(self, stages: Mapping[str, Network]) -> Result:
        """The result table. This is where the test split is read, once, after the last decision."""
        results, tally = list[StageResult](), self._steps.tally
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
            seed=self.trainer.seed,
            seconds=round(time.monotonic() - self._began, 3),
            edits=tally.edits,
            refused=tally.refused,
            stages=tuple(results),
            baseline=logistic_regression(self.trainer) if self.recipe.baseline else None,
            faults=Faults(
                diverged=tally.diverged,
                collapsed=tally.collapsed,
                retried=tally.retried,
                files=self.trainer.dataset.left_out,
            ),
        )


def _following(position: Position, **changes: Any) -> Position:
    """The next step in the same phase."""
    return position.model_copy(update={"number": position.number + 1, **changes})


def _pruned_share(first: int, now: int, floor: int) -> float | None:
    """How much of pruning is done: each step takes a part of what is left, so its steps go with the logarithm."""
    return math.log(first / now) / math.log(first / floor) if first > floor > 0 else None
