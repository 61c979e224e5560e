"""Run folders written without training: a journal, metrics and snapshots that say what we want them to."""

import json
from functools import partial
from pathlib import Path

import numpy as np

from nestgraph.edits import Batch, Editor, Reason, SetValues, grow_unit, prune_connections, remove_units, shrink_areas
from nestgraph.graph import Network, cost
from nestgraph.graph.projections import meaning_of
from nestgraph.policies import Evidence, MagnitudePruning
from nestgraph.runs.run import Measurement, Result, StageResult
from nestgraph.seeds import mlp
from nestgraph.snapshot import JournalWriter, Proposal, save
from nestgraph.spec import Activation, BatchNorm, Conv, Dense, Layer, Pooling
from tests.render.samples import built

RECIPE = {
    "name": "small",
    "description": "a run without training",
    "growth": {"policies": [{"kind": "neuron_growth", "units": 1}]},
    "pruning": {"policies": [{"kind": "magnitude_pruning", "score": "lamp"}], "size_floor": None},
}


def training(network, rng):
    """What training might do: each active weight moves."""
    weights = {}
    for name in (name for name in network.projection_names if network.projection(name).follows is None):
        columns = network.connection_columns(name)
        live = columns.weight[columns.mask]
        if network.projection(name).learns and live.size:
            weights[name] = (live * rng.uniform(0.7, 1.4, live.shape) + 0.01).astype(np.float32)
    return SetValues(weights=weights)


def write_run(folder, seed, steps, finished=True, recipe=RECIPE, environment=None):
    """Write the folder of a run; returns the networks of its moments.

    Args:
        folder: to write.
        seed: the network to begin with.
        steps: (phase, title, edit of the network or None, whether it is kept).
        finished: whether there is a result.
        recipe: of the run.
        environment: of the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    editor, rng, kept = Editor(seed), np.random.default_rng(0), [seed]
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "environment.json").write_text(json.dumps(environment or {"seed": 0, "python": "3"}))
    save(seed, folder / "seed.json")
    with JournalWriter(folder / "journal.jsonl") as journal, (folder / "metrics.jsonl").open("w") as metrics:
        for step, (phase, title, propose, accepted) in enumerate(steps):
            depth = len(editor.history)
            edit = propose(editor.network) if propose else None
            for one in [edit] if edit else []:
                editor.apply(one)
                noted(journal, editor.network.digest, one, phase, step)
            trained = training(editor.network, rng)
            editor.apply(trained)
            journal.append("apply", editor.network.digest, trained, phase, step=step)
            metrics.write(row(step, phase, title, accepted, editor.network).model_dump_json() + "\n")
            if accepted:
                kept.append(editor.network)
            while not accepted and len(editor.history) > depth:
                journal.append("undo", editor.undo().digest, phase=phase, note=f"refused: {title}", step=step)
    save(max(kept, key=lambda network: network.connection_count), folder / "grown.json")
    if finished:
        finish(folder, kept)
    return kept


def noted(journal, digest, edit, phase, step):
    """Write an edit down: a batch of batches with titles is what policies proposed."""
    proposed = edit.edits if isinstance(edit, Batch) else ()
    if proposed and all(isinstance(one, Batch) and one.title for one in proposed):
        made = [Proposal(policy="mine", scale=1.0, edit=one) for one in proposed]
        journal.append("propose", digest, phase=phase, step=step, proposals=made)
    else:
        journal.append("apply", digest, edit, phase, edit.words[:256], step)


def row(step, phase, title, accepted, network):
    total, share = cost(network).total, 1 - 1 / (step + 2)
    return Measurement(
        step=step,
        phase=phase,
        edit=title,
        accepted=accepted,
        units=total.units,
        connections=total.connections,
        flops=total.flops,
        loss=1 - share,
        accuracy=share,
        seconds=step * 1.5,
    )


def finish(folder, kept):
    """Write the result, and a recipe that a run could have had."""
    stages = {"seed": kept[1], "grown": max(kept, key=lambda network: network.connection_count), "final": kept[-1]}
    results = [stage(name, network) for name, network in stages.items()]
    outcome = Result(recipe="small", seed=0, seconds=9.0, edits=3, refused=1, stages=tuple(results))
    (folder / "result.json").write_text(outcome.model_dump_json())
    save(kept[-1], folder / "final.json")


def stage(name, network):
    total, share = cost(network).total, 0.5 + network.connection_count / 10000
    counts = {
        "units": total.units,
        "connections": total.connections,
        "parameters": total.parameters,
        "flops": total.flops,
    }
    accuracies = {"validation_accuracy": share, "test_accuracy": share / 2, "active_flops": total.flops / 2}
    return StageResult(stage=name, digest=network.digest, **counts, **accuracies)


# -- a run that has everything -----------------------------------------------------------------------------


def conv_seed(label=""):
    """Maps with batch normalisation and pooling, neurons, three outputs; an input of 8 x 8."""
    relu, pool = Activation(function="relu"), Pooling(function="max", kernel=(2, 2), stride=(2, 2))
    layers = [
        Layer(name="image", kind="input", features=1, size=(8, 8)),
        Layer(name="conv1", kind="feature_maps", size=(6, 6), operations=(BatchNorm(), relu, pool), bias=False),
        Layer(name="fc1", kind="neurons", operations=(relu,), label=label),
        Layer(name="digit", kind="neurons", output=True),
    ]
    projections = [
        Conv(source="image", target="conv1", kernel=(3, 3)),
        Dense(source="conv1", target="fc1"),
        Dense(source="fc1", target="digit"),
    ]
    return built(layers, projections, {"image": 1, "conv1": 4, "fc1": 6, "digit": 3}, 0.6)


def grown(network):
    """A new neuron that reads and feeds some."""
    shape = meaning_of(network, network.projection("conv1_to_fc1")).shape[1:]
    weights = {"conv1_to_fc1": np.full(shape, 0.25), "fc1_to_digit": np.array([0.5, 0, -0.5])}
    (unit,) = network.fresh_ids("fc1", 1)
    reason = Reason(place="fc1", unit=unit, measure="sum of 2 |bridging gradients|", value=1.5, bound=0.125)
    proposed = Batch(edits=(grow_unit(network, "fc1", weights),), title="grow 1 neurons", reasons=(reason,))
    return Batch(edits=(proposed,), title="grow 1 neurons")


def pruned(network):
    """The smallest of one projection, half of the places of another, and a neuron."""
    share = 20 / network.connection_columns("conv1_to_fc1").active
    policy = MagnitudePruning(fraction=share, scope="global", score="lamp", projections=("conv1_to_fc1",))
    first = policy.propose(network, Evidence(), np.random.default_rng(0))
    between = first.apply(network).network
    area = np.zeros((len(network.units("conv1")), 1, 6, 6), bool)
    area[..., 1:5, 2:] = True
    second = shrink_areas(between, {"image_to_conv1": area})
    between = second.apply(between).network
    third = remove_units(between, "fc1", [2])
    reason = Reason(place="fc1", unit=2, measure="mean |output|", value=0.001, bound=0.05)
    named = Batch(edits=third.edits, title="prune 1 units", reasons=(reason,))
    return Batch(edits=(first, second, named), title="prune connections, areas and a unit")


def fewer(network):
    """Without the smallest connection of the first projection."""
    name = network.projection_names[0]
    columns = network.connection_columns(name)
    return prune_connections(network, {name: np.array([np.where(columns.mask, abs(columns.weight), np.inf).argmin()])})


def pruned_run(folder, seed, moments):
    """Write a run that prunes the largest projection of a seed down to a little, at equal shares of what is there."""
    largest = max(seed.projection_names, key=lambda name: seed.connection_columns(name).active)
    pruning = ("prune", "prune", partial(share, largest, 2 / moments), True)
    return write_run(Path(folder), seed, [("seed", "train", None, True), *[pruning] * (moments - 2)])


def share(name, part, network):
    """Without the smallest weights of a projection."""
    columns = network.connection_columns(name)
    sizes = np.where(columns.mask, np.abs(columns.weight), np.inf).ravel()
    return prune_connections(network, {name: np.sort(np.argsort(sizes)[: int(part * columns.active)])})


STEPS = (
    ("seed", "train the seed", None, True),
    ("grow", "grow 1 neurons", grown, True),
    ("grow", "grow 1 neurons", grown, False),
    ("prune", "prune connections, areas and a unit", pruned, True),
    ("prune", "prune 1 units", lambda network: remove_units(network, "fc1", [3]), False),
    ("finish", "last training", None, True),
)


def whole_run(folder, finished=True, label="", title="", **options):
    """A run of every phase, with refused steps; `title` takes the place of all titles and measures."""
    steps = [(phase, title or words, edit and partial(named, edit, title), kept) for phase, words, edit, kept in STEPS]
    return write_run(Path(folder), conv_seed(label), steps, finished, **options)


def named(propose, title, network):
    """What `propose` gives, with a title and measures of that name, if there is one."""
    edit = propose(network)
    return retitled(edit, title) if title else edit


def retitled(batch, title):
    reasons = tuple(reason.model_copy(update={"measure": title}) for reason in batch.reasons)
    edits = tuple(retitled(edit, title) if isinstance(edit, Batch) else edit for edit in batch.edits)
    return batch.model_copy(update={"title": title, "reasons": reasons, "edits": edits})


def flat_run(folder, widths=(64, 12, 10), density=0.3):
    """A perceptron on images of 8 x 8, trained twice."""
    seed = mlp(widths, density, 0)
    assert isinstance(seed, Network)
    return write_run(Path(folder), seed, [("seed", "train the seed", None, True), ("finish", "more", None, True)])
