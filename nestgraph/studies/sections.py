"""What docs/results.md is made of: the finished runs of each recipe, and the tables of sweeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import TypeAdapter

from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.recipes.recipe import load_recipe
from nestgraph.runs.records import Records
from nestgraph.runs.run import Run, StageResult
from nestgraph.snapshot import MAX_BYTES, read_bounded, read_record
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.metrics import Metric
from nestgraph.studies.references import REFERENCES, Reference
from nestgraph.studies.sweep_table import SweepTable

FOLDER = "results"
"""Where the files lie that results.md shows, beside it."""
_SWEEP: TypeAdapter[SweepTable] = TypeAdapter(SweepTable)


@dataclass(frozen=True)
class NetworkFigures:
    """What is published of a network, or the medians of several.

    Attributes:
        score: the goal's metric on the test split; where that is the accuracy, the error in percent.
    """

    aim: Metric
    score: float
    connections: float
    parameters: float
    flops: float
    active_flops: float

    @classmethod
    def of(cls, stages: Sequence[StageResult], aim: Metric) -> "NetworkFigures":
        """The medians over networks."""
        scores = [stage.test[aim.name] for stage in stages]
        if aim.name == "accuracy":
            scores = [round(100 * (1 - score), 2) for score in scores]
        counts = ("connections", "parameters", "flops", "active_flops")
        middle = round(median(scores), 3) if aim.name == "accuracy" else median(scores)
        return cls(aim, middle, *(median(getattr(stage, count) for stage in stages) for count in counts))

    @property
    def words(self) -> str:
        """The score as a page has it."""
        return f"{self.score:.2f}%" if self.aim.name == "accuracy" else self.aim.shown(self.score)


@dataclass(frozen=True)
class Section:
    """The runs of one recipe.

    Attributes:
        runs: finished, by seed.
        chosen: the one whose final network is committed; `asked` whether that was asked for.
        pictures: names of the files of its pictures, by what they show.
    """

    runs: tuple[Run, ...]
    chosen: Run
    asked: bool
    pictures: Mapping[str, str]

    @property
    def name(self) -> str:
        """The recipe's name, which is also that of its files."""
        return self.chosen.recipe.name

    @property
    def is_packaged(self) -> bool:
        """Whether the recipe is one of the package, so that its name is enough."""
        try:
            return load_recipe(self.name) == self.chosen.recipe
        except RecipeError:
            return False

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(run.result.seed for run in self.runs)

    @property
    def reference(self) -> Reference | None:
        """What the networks are held against: errors in percent."""
        return REFERENCES.get(self.chosen.recipe.seed_network.kind) if self.aim.name == "accuracy" else None

    @property
    def aim(self) -> Metric:
        """The metric of the goal."""
        return self.chosen.result.aim.metric

    @property
    def heading(self) -> str:
        """What the score of a network is called."""
        return "test error" if self.aim.name == "accuracy" else f"test {self.aim.words}"

    @property
    def committed(self) -> NetworkFigures:
        """The figures of the committed network."""
        return NetworkFigures.of(self.chosen.result.stages[-1:], self.aim)

    @property
    def medians(self) -> NetworkFigures:
        """The medians over the seeds' final networks."""
        return NetworkFigures.of([run.result.stages[-1] for run in self.runs], self.aim)


def read_sections(folders: Sequence[PathLike], seeds: Mapping[str, int] | None = None) -> list[Section | SweepTable]:
    """Read run folders, folders of several seeds' runs, and folders of sweeps.

    Args:
        folders: a recipe's runs may lie in several; unfinished runs inside a folder of runs are left out.
        seeds: by recipe, the seed whose network is to be committed. By default it is that of the best validation
            goal, such as accuracy, of equal ones that with the fewest connections: the test split has no say.

    Raises:
        SnapshotError: a folder has nothing finished or a run that is damaged, recipes of one name differ, a seed comes
            twice or is not there.
    """
    found: dict[str, list[Run]] = {}
    tables: list[SweepTable] = []
    for folder in map(Path, folders):
        path = folder / "sweep.json"
        if path.exists():
            tables.append(read_record(_SWEEP, read_bounded(path, MAX_BYTES), str(path)))
            continue
        for run in _runs(folder):
            found.setdefault(run.recipe.name, []).append(run)
    unknown = sorted(set(seeds or {}) - set(found))
    if unknown:
        raise SnapshotError(f"expected a seed for one of the recipes {', '.join(found)}, got one for {unknown[0]!r}")
    return [*(_section(runs, (seeds or {}).get(name)) for name, runs in found.items()), *tables]


def _runs(folder: Path) -> list[Run]:
    places = [folder] if (folder / "result.json").exists() else sorted(folder.glob("*/"))
    runs = [_checked(place) for place in places if (place / "result.json").exists()]
    if not runs:
        raise SnapshotError(f"{folder}: expected a finished run, a folder of runs or a sweep, got neither")
    return runs


def _checked(place: Path) -> Run:
    """The finished run of a folder whose parts belong together."""
    Records.read(place)
    return Run.read(place)


def _section(runs: Sequence[Run], seed: int | None) -> Section:
    runs = sorted(runs, key=lambda run: run.result.seed)
    name, by_seed = runs[0].recipe.name, {run.result.seed: run for run in runs}
    if any(run.recipe != runs[0].recipe for run in runs):
        raise SnapshotError(f"{name}: expected runs of one recipe, got several of that name: rename one")
    if len(by_seed) < len(runs):
        raise SnapshotError(f"{name}: expected one run a seed, got seeds {[run.result.seed for run in runs]}")
    if seed is not None and seed not in by_seed:
        raise SnapshotError(f"{name}: expected one of the seeds {', '.join(map(str, by_seed))}, got {seed}")
    chosen = max(runs, key=_merit) if seed is None else by_seed[seed]
    return Section(tuple(runs), chosen, seed is not None, {})


def _merit(run: Run) -> tuple[float, int]:
    final = run.result.stages[-1]
    return run.result.aim.value(final.validation), -final.connections
