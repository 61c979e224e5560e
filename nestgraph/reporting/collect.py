"""What a report shows, collected from a run folder: the run is done again from seed and journal, moment by moment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from nestgraph.graph.cost import cost
from nestgraph.graph.difference import difference
from nestgraph.graph.geometry import output_size
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.render.style import size_words
from nestgraph.reporting.frames import Frames, Units
from nestgraph.reporting.moments import Moment, moments
from nestgraph.reporting.packing import Bundle
from nestgraph.reporting.reasons import Life, Reasons
from nestgraph.runs.records import Records
from nestgraph.runs.run import Measurement
from nestgraph.snapshot import JournalEntry, Proposal
from nestgraph.spec.layer import Layer
from nestgraph.spec.metrics import LOSS, Goal, metric
from nestgraph.spec.projection import Projection

FRAMES = 200
"""Moments that can be looked at, about; of more, phases keep their ends and the rest is thinned evenly."""


def collect(folder: Path) -> dict[str, Any]:
    """The data of the page, as JSON.

    Raises:
        SnapshotError: the folder is not that of a run, or its parts do not belong together.
    """
    records = Records.read(folder)
    numbers = chosen_numbers(records.rows)
    frames, reasons = Frames(len(numbers)), Reasons()
    layers: dict[str, Layer] = {}
    projections: dict[str, Projection] = {}
    shown: list[dict[str, Any]] = []
    last: Network | None = None
    for moment in moments(records):
        thresholds = reasons.follow(moment)
        layers |= moment.network.layers_by_name
        projections = dict(moment.network.projections_by_name) | projections
        if moment.number in numbers:
            frames.add(moment.network)
            shown.append(_facts(moment, thresholds) | {"since": _since(last, moment.network)})
            last = moment.network
    told = {
        "recipe": records.recipe,
        "environment": records.environment,
        "result": records.result and records.result.model_dump(mode="json"),
        "rows": [_row(row) for row in records.rows],
        "metrics": [_metric(name) for name in _told(records)],
        "idle": [_idle(entry, proposal) for entry, proposal in records.idle],
        "moments": shown,
    }
    pictured = _pictured(Structure(layers.values(), projections.values(), {}, {}), reasons, frames, numbers)
    total = sum(row.accepted for row in records.rows) + 1
    thinned = [f"{len(numbers):,} of {total:,} moments can be looked at; curves and tables have all steps"]
    return told | pictured | {"omitted": (thinned if len(numbers) < total else []) + frames.omitted}


def _pictured(union: Structure, reasons: Reasons, frames: Frames, numbers: list[int]) -> dict[str, Any]:
    """What pictures are drawn from: all layers and projections that ever were, and the arrays of each moment."""
    units = {
        name: {unit: place for place, unit in enumerate(sorted(reasons.lives[name]))} for name in union.layer_names
    }
    bundle = Bundle()
    frames.thin()
    for name in union.layer_names:
        frames.write_factors(name, units, bundle)
        frames.write_states(name, units, bundle)
    return {
        "layers": [
            _layer(union.layer(name), reasons.lives[name], numbers) | {"versions": frames.versions(f"layer/{name}")}
            for name in union.layer_names
        ],
        "projections": [_projection(union.projection(name), units, frames, bundle) for name in union.projection_names],
        "pixels": frames.write_pixels(bundle),
        **bundle.write(),
    }


def _layer(layer: Layer, lives: Mapping[int, Life], numbers: list[int]) -> dict[str, Any]:
    def frame(moment: int | None) -> int | None:
        return None if moment is None else int(np.searchsorted(numbers, moment))

    ids = sorted(lives)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "label": layer.label,
        "output": layer.output,
        "size": size_words(layer),
        "map": output_size(layer),
        "features": layer.features,
        "units": [[unit, frame(lives[unit].born), frame(lives[unit].died)] for unit in ids],
        "why": [[lives[unit].why, lives[unit].cause] for unit in ids],
    }


def _projection(projection: Projection, units: Units, frames: Frames, bundle: Bundle) -> dict[str, Any]:
    inner, of = frames.write_connections(projection, units, bundle)
    return {
        "name": projection.name,
        "source": projection.source,
        "target": projection.target,
        "words": projection.words,
        "inner": inner,
        "of": of,
        "area": frames.write_areas(projection, units, bundle),
        "versions": frames.versions(f"projection/{projection.name}"),
    }


def _facts(moment: Moment, thresholds: list[dict[str, Any]]) -> dict[str, Any]:
    row, counts = moment.row, cost(moment.network)
    return {
        "step": row.step if row else None,
        "phase": row.phase if row else "seed",
        "edit": row.edit if row else "the seed as it was made",
        "digest": moment.network.digest,
        "units": counts.total.units,
        "connections": counts.total.connections,
        "parameters": counts.total.parameters,
        "flops": counts.total.flops,
        "by_layer": {name: [c.units, c.connections, c.parameters, c.flops] for name, c in counts.by_layer.items()},
        "by_projection": {name: [c.connections, c.possible, c.flops] for name, c in counts.by_projection.items()},
        "thresholds": thresholds,
    }


def _row(row: Measurement) -> dict[str, Any]:
    """A measurement, with its metrics always by name."""
    fields = row.model_dump(mode="json")
    fields.pop("accuracy", None)
    return {**fields, "scores": {**row.scores, LOSS: row.loss}}


def _told(records: Records) -> list[str]:
    """The metrics of the run, that of its goal first."""
    task: Any = records.recipe.get("task")
    fields = cast("dict[str, Any]", task) if isinstance(task, dict) else {}
    goal = Goal.of(str(fields.get("goal", "accuracy")))
    return list(dict.fromkeys((goal.name, *(name for row in records.rows for name in row.scores))))


def _metric(name: str) -> dict[str, Any]:
    known = metric(name)
    return {"name": name, "words": known.words, "percent": known.percent, "bounded": known.bounded}


def _idle(entry: JournalEntry, proposal: Proposal) -> dict[str, Any]:
    """A policy of which nothing was done: before which step, and why."""
    left_out = bool(proposal.left_out)
    return {"step": entry.step, "phase": entry.phase, "words": proposal.words, "left_out": left_out}


def _since(last: Network | None, network: Network) -> dict[str, list[int]] | None:
    """Of each projection, connections added, removed, changed and unchanged since the moment that is shown before."""
    if last is None:
        return None
    tallies = {name: change.counts for name, change in difference(last, network).projections.items()}
    return {name: [t.added, t.removed, t.changed, t.unchanged] for name, t in tallies.items()}


def chosen_numbers(rows: Sequence[Measurement]) -> list[int]:
    """The moments to show, 0 for the seed as it was made: all, or the ends of phases and an even choice of the rest."""
    phases = ["seed", *(row.phase for row in rows if row.accepted)]
    if len(phases) <= FRAMES:
        return list(range(len(phases)))
    ends = {place for place, phase in enumerate(phases) if phases[place + 1 : place + 2] != [phase]}
    even = np.rint(np.linspace(0, len(phases) - 1, max(2, FRAMES - len(ends)))).astype(int).tolist()
    return sorted({*ends, *even})
