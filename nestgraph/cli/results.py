"""What verbs report: result tables, measures, broken laws."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import prod
from statistics import median
from typing import TYPE_CHECKING, Any

from nestgraph.errors import DataError, RecipeError, VerificationError
from nestgraph.graph import Network, Violation, cost
from nestgraph.spec.metrics import Metric, metric

if TYPE_CHECKING:
    from nestgraph.data.datasets import DatasetInfo
    from nestgraph.data.samples import Dataset
    from nestgraph.loop.trainer import Split
    from nestgraph.recipes.recipe import Recipe
    from nestgraph.runs.run import Result, StageResult
    from nestgraph.studies.sections import Section
    from nestgraph.studies.sweep_table import SweepTable

Rows = list[tuple[str, ...]]
WORDS = {"flash": "flash, B", "ram": "RAM, B", "macs": "multiply-adds"}
"""The heads of columns of what a budget limits."""


def result_rows(results: "Sequence[Result]") -> Rows:
    """The stages of one run; of several, the medians and the final network of each. Beside them the baseline."""
    title = f"median of {len(results)} seeds" if len(results) > 1 else f"seed {results[0].seed}"
    aim = results[0].aim.metric
    heads = ("connections", "units", "parameters", "FLOPs", *map(WORDS.__getitem__, _limited(results[0].stages)))
    rows: Rows = [(f"network ({title})", *heads, *_splits(aim))]
    for number, stage in enumerate(results[0].stages):
        rows.append((stage.stage, *_stage_words([result.stages[number] for result in results], aim)))
    baselines = [result.baseline for result in results if result.baseline]
    if baselines:
        weights = f"{median(entry.weights for entry in baselines):,.0f}"
        score = aim.shown(_median([entry.test for entry in baselines], aim))
        rows.append((baselines[0].name, weights, *("" for _ in heads), score))
    if len(results) > 1:
        rows += [(f"final of seed {result.seed}", *_stage_words(result.stages[-1:], aim)) for result in results]
    return rows


def _stage_words(stages: "Sequence[StageResult]", aim: Metric) -> tuple[str, ...]:
    """The medians of a stage's counts and of the goal's metric over the runs."""
    counts = ("connections", "units", "parameters", "flops")
    splits = [stage.validation for stage in stages], [stage.test for stage in stages]
    return (
        *(f"{median(getattr(stage, count) for stage in stages):,.0f}" for count in counts),
        *(f"{median((stage.spent or {})[name] for stage in stages):,.0f}" for name in _limited(stages)),
        *(aim.shown(_median(scores, aim)) for scores in splits),
    )


def _limited(stages: "Sequence[StageResult]") -> list[str]:
    """What a budget limits beside the counts that each table has."""
    return [name for name in stages[0].spent or {} if name in WORDS]


def _splits(aim: Metric) -> tuple[str, str]:
    """The heads of the columns of the goal's metric; an accuracy needs no name."""
    words = "" if aim.name == "accuracy" else f" {aim.words}"
    return f"validation{words}", f"test{words}"


def _median(scores: "Sequence[Mapping[str, float]]", aim: Metric) -> float | None:
    """Of the goal's metric, where all have it."""
    known = [each[aim.name] for each in scores if aim.name in each]
    return median(known) if len(known) == len(scores) else None


def sweep_rows(content: "SweepTable") -> Rows:
    """A row of medians for each variation of a sweep."""
    counts = sorted({len(row.seeds) for row in content.rows})
    seeds = " to ".join(map(str, (counts[0], counts[-1])[: len(counts)]))
    title = f"{content.sweep} (median of {seeds} seeds)" if counts[-1] > 1 else content.sweep
    aim = content.aim.metric
    rows: Rows = [(title, "grown", "final", "FLOPs", "active FLOPs", *_splits(aim), "edits", "growth s", "total s")]
    for row in content.rows:
        figures = row.medians
        counts = (figures.grown_connections, figures.connections, figures.flops, figures.active_flops)
        rest = (figures.edits, figures.growth_seconds, figures.seconds)
        scores = (figures.validation, figures.test)
        cells = [f"{value:,.0f}" for value in counts] + [aim.shown(value) for value in scores]
        rows.append((row.variation, *cells, *(f"{value:,.0f}" for value in rest)))
    return rows


def chosen_seeds(choices: Sequence[str]) -> dict[str, int]:
    """The seeds of options such as `lenet-5=3`, by recipe.

    Raises:
        RecipeError: one is not of that form.
    """
    pairs = [choice.partition("=") for choice in choices]
    wrong = [choice for choice, (name, _, seed) in zip(choices, pairs, strict=True) if not (name and seed.isdecimal())]
    if wrong:
        raise RecipeError(f"--committed: expected a recipe and a seed such as lenet-5=3, got {wrong[0]!r}")
    return {name: int(seed) for name, _, seed in pairs}


def section_rows(sections: "Sequence[Section]") -> Rows:
    """Of each recipe, the network that is committed."""
    heads = list(dict.fromkeys(section.heading for section in sections))
    rows: Rows = [("recipe", "seeds", "committed", "connections", "FLOPs", " or ".join(heads))]
    for section in sections:
        figures, seed = section.committed, str(section.chosen.result.seed)
        counts = (f"{figures.connections:,.0f}", f"{figures.flops:,.0f}", figures.words)
        rows.append((section.name, str(len(section.runs)), f"seed {seed}", *counts))
    return rows


def check_form(network: Network, name: str, entry: "DatasetInfo") -> None:
    """Check whether a network fits a dataset, before anything large is loaded.

    Raises:
        DataError: the network, called `name`, does not take these images or does not tell their classes apart.
    """
    sizes = (_size(entry.image), prod(entry.image))
    wanted, got = [f"{size} to {entry.classes}" for size in sizes], _form(network)
    if got not in wanted:
        raise DataError(f"{name}: does not fit {entry.name} (expected a network of {' or '.join(wanted)}, got {got})")


def evaluation(
    network: Network, data: str, recipe: "Recipe | None", split: "Split", seed: int, device: str
) -> dict[str, Any]:
    """What `evaluate` measures of a network on a dataset of the package, or on the data of a recipe by its task.

    Raises:
        DataError: the dataset cannot be had, or the network does not fit it.
    """
    from nestgraph.data.datasets import load_dataset
    from nestgraph.loop.flops import active_flops
    from nestgraph.loop.trainer import Trainer
    from nestgraph.recipes.recipe import CLASSES, TrainingOptions

    dataset = recipe.load(seed) if recipe else load_dataset(data, seed)
    task = recipe.task if recipe else CLASSES
    trainer = Trainer(dataset, TrainingOptions(), seed=seed, device=device, task=task)
    score = trainer.measure(network, split)
    total = cost(network).total
    return {
        "data": data,
        "split": split,
        "seed": seed,
        **({"error": 1 - score.scores["accuracy"]} if "accuracy" in score.scores else {}),
        **score.told,
        "connections": total.connections,
        "parameters": total.parameters,
        "flops": total.flops,
        "active_flops": active_flops(network, trainer, split),
    }


def _form(network: Network) -> str:
    """What a network takes and gives, such as `1x28x28 to 10`."""
    inputs = [network.layer(name) for name in network.input_names]
    outputs = [(len(network.units(name)), network.layer(name).size) for name in network.output_names]
    taken = [_size((layer.features, *(layer.size or ()))) for layer in inputs]
    given = [_size((units, *(size or ()))) for units, size in outputs]
    return f"{' and '.join(taken)} to {' and '.join(given)}"


def evaluation_rows(content: dict[str, Any]) -> Rows:
    """The measures as a table for people."""
    names = list(content)
    scores = names[names.index("seed") + 1 : names.index("loss")]
    shown = {
        **{
            f"{content['split']} error" if name == "error" else metric(name).words: f"{content[name]:.2%}"
            if name == "error"
            else metric(name).shown(content[name])
            for name in scores
        },
        "loss": f"{content['loss']:.4f}",
        "connections": f"{content['connections']:,}",
        "parameters": f"{content['parameters']:,}",
        "FLOPs (2 per multiply-accumulate)": f"{content['flops']:,}",
        "FLOPs of sources that are not 0": f"{content['active_flops']:,.0f}",
    }
    return [(f"{content['data']}, split by seed {content['seed']}", "value"), *shown.items()]


def dataset_rows(entries: "Sequence[DatasetInfo]") -> Rows:
    """A row for each dataset: samples of its splits, images, and where it is or would be put."""
    rows: Rows = [("name", "train", "validation", "test", "classes", "image", "available", "location")]
    for entry in entries:
        counts = (f"{count:,}" for count in (entry.train, entry.validation, entry.test, entry.classes))
        rows.append((entry.name, *counts, _size(entry.image), "yes" if entry.available else "no", entry.location))
    return rows


def folder_facts(dataset: "Dataset") -> dict[str, Any]:
    """What was made of a folder of images: how many images of each class each split has."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    classes = {
        name: {split: int((samples.targets == label).sum()) for split, samples in splits.items()}
        for label, name in enumerate(dataset.names)
    }
    return {"classes": classes, "left_out": dataset.left_out}


def folder_rows(content: dict[str, Any]) -> Rows:
    """A row for each class."""
    rows: Rows = [("class", "train", "validation", "test")]
    rows += [(name, *map(str, counts.values())) for name, counts in content["classes"].items()]
    return rows


def _size(extents: "Sequence[int | None]") -> str:
    return "x".join(map(str, extents))


def broken_laws(error: BaseException) -> list[dict[str, Any]]:
    """The laws that a refused snapshot breaks, each with its place: a layer, a projection or [layer, id]."""
    broken = error.__cause__.violations if isinstance(error.__cause__, VerificationError) else ()
    return [asdict(violation) for violation in broken if isinstance(violation, Violation)]


def recipe_record() -> dict[str, Any]:
    """The records whose schemas the snapshot layer does not know."""
    from nestgraph.recipes.recipe import Recipe
    from nestgraph.studies.sweep import Sweep
    from nestgraph.studies.sweep_table import SweepTable

    return {"recipe.schema.json": Recipe, "sweep.schema.json": Sweep, "sweep-table.schema.json": SweepTable}
