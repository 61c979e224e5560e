"""The tables that verbs print."""

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from nestgraph.graph import Network, cost

if TYPE_CHECKING:
    from nestgraph.train.runs import Result

Rows = list[tuple[str, ...]]


def result_rows(results: "Sequence[Result]") -> Rows:
    """The stages of one run, or of the medians of several, beside the baseline."""
    title = f"median of {len(results)} seeds" if len(results) > 1 else f"seed {results[0].seed}"
    rows: Rows = [(f"network ({title})", "connections", "units", "parameters", "FLOPs", "validation", "test")]
    for number, stage in enumerate(results[0].stages):
        entries = [result.stages[number] for result in results]
        counts = [[e.connections for e in entries], [e.units for e in entries], [e.parameters for e in entries]]
        counts.append([e.flops for e in entries])
        shares = [[e.validation_accuracy for e in entries], [e.test_accuracy for e in entries]]
        words = [f"{median(values):,.0f}" for values in counts] + [f"{median(values):.2%}" for values in shares]
        rows.append((stage.stage, *words))
    baselines = [result.baseline for result in results if result.baseline]
    if baselines:
        weights = f"{median(entry.weights for entry in baselines):,.0f}"
        accuracy = f"{median(entry.test_accuracy for entry in baselines):.2%}"
        rows.append((baselines[0].name, weights, "", "", "", "", accuracy))
    return rows


def evaluation(network: Network, data: str, split: Any, seed: int, device: str) -> dict[str, Any]:
    """What `evaluate` measures of a network."""
    from nestgraph.train.data import load_dataset
    from nestgraph.train.recipe import TrainingOptions
    from nestgraph.train.trainer import Trainer

    score = Trainer(load_dataset(data, seed=seed), TrainingOptions(), seed=seed, device=device).measure(network, split)
    total = cost(network).total
    return {
        "data": data,
        "split": split,
        "error": 1 - score.accuracy,
        "accuracy": score.accuracy,
        "loss": score.loss,
        "connections": total.connections,
        "parameters": total.parameters,
        "flops": total.flops,
    }


def difference_rows(old: Network, new: Network) -> Rows:
    """By layer: units and connections before and after, and how many were added and removed."""
    rows: Rows = [("layer", "units", "", "units +", "units -", "connections", "", "change")]
    before, after = cost(old).by_layer, cost(new).by_layer
    for name in dict.fromkeys((*old.layer_names, *new.layer_names)):
        ids = [set(net.units(name).tolist()) if net.has_layer(name) else set[int]() for net in (old, new)]
        links = [table[name].connections if name in table else 0 for table in (before, after)]
        words = (f"{len(ids[0]):,}", f"-> {len(ids[1]):,}", f"+{len(ids[1] - ids[0]):,}", f"-{len(ids[0] - ids[1]):,}")
        rows.append((name, *words, f"{links[0]:,}", f"-> {links[1]:,}", f"{links[1] - links[0]:+,}"))
    return rows


def recipe_record() -> dict[str, Any]:
    """The records whose schemas the snapshot layer does not know."""
    from nestgraph.train.recipe import Recipe

    return {"recipe.schema.json": Recipe}
