"""The words and tables of a report that need no script: what a busy person reads first, and what was run."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from nestgraph.spec.metrics import LOSS, Metric, metric

STAGE_WORDS = {"seed": "seed, trained", "grown": "grown", "final": "final"}
NOT_KNOWN = "\N{EN DASH}"
HEADINGS = ("connections", "units", "parameters", "FLOPs", "active FLOPs")


def summary(data: Mapping[str, Any]) -> dict[str, Any]:
    """Lead, figures and table of results of what `collect` gives."""
    stages, shown = _stages(data), [metric(entry["name"]) for entry in data["metrics"]]
    first, last = stages[0], stages[-1]
    grown = max(stages, key=lambda stage: stage["connections"])
    return {
        "lead": _lead(data, stages),
        "figures": _figures(data, first, grown, last, shown),
        "headings": [*HEADINGS, *(heading for each in shown for heading in _heads(each, shown))],
        "table": [_cells(stage, shown) for stage in stages],
        "baseline": _baseline(data, shown),
        "scores": [] if _plain(shown) else [each.words for each in shown if each.name != LOSS],
        "goal": shown[0],
    }


def _stages(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the result table; of an unfinished run what its moments tell."""
    if data["result"]:
        return [
            dict(stage) | {"words": STAGE_WORDS.get(stage["stage"], stage["stage"])}
            for stage in data["result"]["stages"]
        ]
    rows = {row["step"]: row for row in data["rows"]}
    first, last = data["moments"][0], data["moments"][-1]
    words = "the seed as it was made" if first is last else "so far"
    found = [_of_moment(first, rows, "the seed as it was made"), _of_moment(last, rows, words)]
    return found[:1] if first is last else found


def _of_moment(moment: Mapping[str, Any], rows: Mapping[int, Mapping[str, Any]], words: str) -> dict[str, Any]:
    counts = {name: moment[name] for name in ("units", "connections", "parameters", "flops")}
    row = rows.get(moment["step"], {})
    return {"words": words, **counts, "active_flops": None, "validation": row.get("scores", {}), "test": {}}


def _plain(shown: Sequence[Metric]) -> bool:
    """Whether accuracy is the only metric, which then needs no name."""
    return [each.name for each in shown] == ["accuracy"]


def _heads(each: Metric, shown: Sequence[Metric]) -> tuple[str, str]:
    return ("validation", "test") if _plain(shown) else (f"validation {each.words}", f"test {each.words}")


def _lead(data: Mapping[str, Any], stages: list[dict[str, Any]]) -> str:
    first, last = stages[0]["connections"], stages[-1]["connections"]
    grown = max(moment["connections"] for moment in data["moments"])
    if not data["result"]:
        return f"This run goes on. It began with {first:,} connections and has {last:,} now."
    share = f", {grown / last:.1f} times fewer" if last and grown > last else ""
    growth = f"grew to {grown:,} and " if grown > first else ""
    return f"A seed of {first:,} connections {growth}was pruned to {last:,}{share}."


def _figures(
    data: Mapping[str, Any],
    first: Mapping[str, Any],
    grown: Mapping[str, Any],
    last: Mapping[str, Any],
    shown: Sequence[Metric],
) -> list[dict[str, Any]]:
    def counted(name: str, title: str) -> dict[str, Any]:
        notes = [f"seed {first[name]:,}", f"grown {grown[name]:,}"]
        return {"title": title, "value": f"{last[name]:,}", "notes": notes}

    def scored(split: str, title: str) -> dict[str, Any]:
        goal = shown[0]
        found = [(word, stage[split].get(goal.name)) for word, stage in (("seed", first), ("grown", grown))]
        notes = [f"{word} {goal.shown(score)}" for word, score in found if score is not None]
        more = [f"{each.words} {each.shown(last[split].get(each.name))}" for each in shown[1:] if last[split]]
        return {
            "title": f"{title} {goal.words}",
            "value": goal.shown(last[split].get(goal.name)),
            "notes": notes + more,
        }

    seconds: float = data["result"]["seconds"] if data["result"] else 0.0
    seconds = seconds or (data["rows"][-1]["seconds"] if data["rows"] else 0.0)
    kept = sum(row["accepted"] for row in data["rows"])
    counts = [f"{kept} steps kept", f"{len(data['rows']) - kept} refused"]
    left_out = sum(one["left_out"] for one in data["idle"])
    nothing = len(data["idle"]) - left_out
    counts += [f"{nothing} proposals of nothing"] if nothing else []
    counts += [f"{left_out} proposals left out"] if left_out else []
    return [
        counted("connections", "Connections"),
        counted("parameters", "Parameters"),
        counted("flops", "FLOPs"),
        scored("test", "Test"),
        scored("validation", "Validation"),
        {"title": "Time", "value": duration(seconds), "notes": counts},
    ]


def steps(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of steps: what was measured, each after the proposals of which nothing was done before."""
    names = [entry["name"] for entry in data["metrics"] if entry["name"] != LOSS]
    told = [row | {"idle": False, "cells": _scores(row, names)} for row in data["rows"]]
    told += [one | {"idle": True} for one in data["idle"]]
    return sorted(told, key=lambda one: (one["step"], not one["idle"]))


def _scores(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [metric(name).shown(row["scores"].get(name)) for name in names]


def _cells(stage: Mapping[str, Any], shown: Sequence[Metric]) -> list[str]:
    active = stage["active_flops"]
    return [
        stage["words"],
        *(f"{stage[name]:,}" for name in ("connections", "units", "parameters", "flops")),
        NOT_KNOWN if active is None else f"{active:,.0f}",
        *(each.shown(stage[split].get(each.name)) for each in shown for split in ("validation", "test")),
    ]


def _baseline(data: Mapping[str, Any], shown: Sequence[Metric]) -> list[str] | None:
    found: dict[str, Any] | None = data["result"]["baseline"] if data["result"] else None
    if not found:
        return None
    name = str(found["name"]).replace("_", " ")
    scores = [cell for each in shown for cell in ("", each.shown(found["test"].get(each.name)))]
    return [name, f"{found['weights']:,}", "", "", "", "", *scores]


def duration(seconds: float) -> str:
    """Seconds in the unit that people would say: `45 s`, `12 min`, `1 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def fields(content: Any) -> Any:
    """A recipe's or environment's fields: records as pairs, lists of records as numbered pairs, the rest as text."""
    if isinstance(content, dict):
        record = cast(dict[str, Any], content)
        return [(key.replace("_", " "), fields(value)) for key, value in record.items() if value is not None]
    entries = cast(list[Any], content if isinstance(content, list) else [content])
    if any(isinstance(entry, dict) for entry in entries):
        return [_numbered(number, entry) for number, entry in enumerate(entries, 1)]
    return ", ".join(str(entry) for entry in entries)


def _numbered(number: int, entry: Any) -> tuple[str, Any]:
    """One of a list of records, headed by its kind where it has one."""
    record = cast(dict[str, Any], entry) if isinstance(entry, dict) else {"value": entry}
    kind = str(record.get("kind", number)).replace("_", " ")
    return kind, fields({key: value for key, value in record.items() if key != "kind"} or {"kind": kind})
