"""docs/results.md, written from run folders: tables beside what was published, pictures, commands, and studies."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from nestgraph.errors import SnapshotError
from nestgraph.runs.run import Run, StageResult
from nestgraph.snapshot import MAX_BYTES, read_bounded
from nestgraph.spec.metrics import Metric
from nestgraph.studies.references import Published, Reference
from nestgraph.studies.sections import FOLDER, NetworkFigures, Section
from nestgraph.studies.sweep_table import SweepRow, SweepTable

COUNTS = ("connections", "parameters", "FLOPs", "activation-aware FLOPs")
PICTURES = {
    "curves": "Connections and {goal} over the run",
    "inputs": "What the networks read of the image, by stage",
    "areas": "Where the convolutions of the final network compute",
    "layers": "The layers of the final network",
}
INTRODUCTION = """\
# Results

Written by `nestgraph results` from run folders. Do not edit: run it again.

- **Which data decides.** Every decision of a run, and the choice of the network that is committed, reads the validation
  split. The test split is read once, when all decisions of a run are over.
- **Which network is committed.** That of the seed with the best validation accuracy, unless a section says otherwise.
  It is one of several, so the medians over all seeds stand beside it.
- **Counts.** Connections are active weights. Parameters are connections plus one bias for each unit that has one. FLOPs
  are 2 for each multiply-accumulate at each computed position; the activation-aware ones are those whose source is not
  zero, the mean over the test split. Papers seldom say which they print: NeST's 6.7K FLOPs for 3.8K weights are below 2
  a weight, so they are apparently of the second kind.
- **Reached** means an error and a number of connections that are both at most those published."""


def results_page(sections: Sequence[Section | SweepTable]) -> str:
    """The page as Markdown: a section for each recipe, then the studies."""
    parts = [INTRODUCTION]
    for section in sections:
        if isinstance(section, Section):
            parts += _recipe_parts(section)
    tables = [table for table in sections if isinstance(table, SweepTable)]
    if tables:
        parts.append(
            "## Studies\n\nMedians over the seeds of each variation, of the final networks, with the range of "
            "accuracies and errors: where ranges overlap, so few seeds tell no difference."
        )
    for table in tables:
        parts += _sweep_parts(table)
    return "\n\n".join(parts)


def _recipe_parts(section: Section) -> Iterator[str]:
    run, reference = section.chosen, section.reference
    yield f"## {section.name}\n\n{_escaped(run.recipe.description)}".rstrip()
    yield _table([("network", section.heading, *COUNTS), *_published_rows(reference), *_our_rows(section)])
    if reference:
        yield _table(list(_verdict_rows(reference, section)))
    yield "\n".join(("```console", *_commands(section), "```"))
    yield _table(list(_seed_rows(section)))
    yield f"{run.recipe.data.story} {_machine(section)}"
    for kind, name in section.pictures.items():
        words = PICTURES[kind].format(goal=section.aim.words)
        yield f"![{words}]({FOLDER}/{name})\n\n*{words}: {section.name}, seed {run.result.seed}.*"


# -- tables --------------------------------------------------------------------------------------------------


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join((lines[0], f"|---{'|---:' * (len(rows[0]) - 1)}|", *lines[1:]))


def _published_rows(reference: Reference | None) -> Iterator[tuple[str, ...]]:
    if reference is None:
        return
    yield (f"{reference.name}, dense", "", f"{reference.connections:,}", "", _thousands(reference.flops), "")
    for published in reference.published:
        counts = (published.connections, published.flops)
        factors = [f" ({factor:g}x)" for factor in published.factors or ()] or ["", ""]
        smaller = [_thousands(n) + factor if n else "" for n, factor in zip(counts, factors, strict=True)]
        note = f" ({published.note})" if published.note else ""
        yield (published.name, f"{published.error:.2f}%{note}", smaller[0], "", smaller[1], "")


def _our_rows(section: Section) -> Iterator[tuple[str, ...]]:
    seed = section.chosen.result.seed
    link = f"**nestgraph, [seed {seed}]({FOLDER}/{section.name}.json)**"
    yield (link, *_figure_words(section.committed, section.reference))
    if len(section.runs) > 1:
        yield (f"nestgraph, median of {len(section.runs)} seeds", *_figure_words(section.medians, section.reference))


def _figure_words(figures: NetworkFigures, reference: Reference | None) -> tuple[str, ...]:
    smaller = f" ({reference.connections / figures.connections:.1f}x)" if reference else ""
    counts = (figures.parameters, figures.flops, figures.active_flops)
    connections = f"{figures.connections:,.0f}{smaller}"
    return (figures.words, connections, *(f"{count:,.0f}" for count in counts))


def _verdict_rows(reference: Reference, section: Section) -> Iterator[tuple[str, ...]]:
    """Whether each published result was reached, by the committed network and by the median."""
    ours = {f"seed {section.chosen.result.seed}": section.committed}
    if len(section.runs) > 1:
        ours["median"] = section.medians
    heads = (f"{name}: {each.words} at {each.connections:,.0f}" for name, each in ours.items())
    yield ("target", *heads)
    for published in reference.published:
        target = f"{published.name}: {published.error:.2f}% at {_thousands(published.connections)}"
        flops = f", {_thousands(published.flops)} FLOPs" if published.flops else ""
        yield (target + flops, *(_verdict(published, figures) for figures in ours.values()))


def _verdict(published: Published, ours: NetworkFigures) -> str:
    missed = {
        f"error {ours.score - published.error:.2f} points above": ours.score > published.error,
        f"{ours.connections - published.connections:,.0f} connections above": ours.connections > published.connections,
    }
    words = [word for word, above in missed.items() if above]
    verdict = f"not reached: {', '.join(words)}" if words else "**reached**"
    return f"{verdict}; {_flops_verdict(published.flops, ours)}" if published.flops else verdict


def _flops_verdict(published: int, ours: NetworkFigures) -> str:
    if ours.flops <= published:
        return "FLOPs reached"
    kind = "reached if activation-aware ones are meant" if ours.active_flops <= published else "not reached"
    return f"FLOPs {kind}"


def _seed_rows(section: Section) -> Iterator[tuple[str, ...]]:
    names = ("seed", "grown", "final", "parameters", "FLOPs", "activation-aware", "validation", section.heading, "time")
    yield (names[0], *(f"{name} connections" for name in names[1:3]), *names[3:])
    for run in section.runs:
        stages = {stage.stage: stage for stage in run.result.stages}
        committed = " (committed, as asked for)" if section.asked else " (committed)"
        final, mark = stages["final"], committed if run is section.chosen else ""
        counts = (stages["grown"].connections, final.connections, final.parameters, final.flops, final.active_flops)
        shares = (*_scores(section.aim, final), _duration(run.result.seconds))
        yield (f"{run.result.seed}{mark}", *(f"{count:,.0f}" for count in counts), *shares)


def _scores(aim: Metric, final: StageResult) -> tuple[str, str]:
    """The goal's metric on the validation and on the test split; of accuracy there the error."""
    test = final.test[aim.name]
    error = f"{1 - test:.2%}" if aim.name == "accuracy" else aim.shown(test)
    return aim.shown(final.validation[aim.name]), error


def _thousands(count: float) -> str:
    if count < 1000:
        return f"{count:.0f}"
    amount, unit = (count / 1e6, "M") if count >= 1e6 else (count / 1e3, "K")
    return f"{amount:.2f}".rstrip("0").rstrip(".") + unit


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


# -- sentences -----------------------------------------------------------------------------------------------


def _commands(section: Section) -> Iterator[str]:
    run, name, seeds = section.chosen, section.name, section.seeds
    recipe = name if section.is_packaged else f"docs/{FOLDER}/{name}-recipe.json"
    time = _duration(run.result.seconds)
    yield f"$ nestgraph synthesize {recipe} --seed {run.result.seed}  # the committed network, {time}"
    if len(seeds) > 1 and seeds == tuple(range(seeds[0], seeds[0] + len(seeds))):
        total = _duration(sum(each.result.seconds for each in section.runs))
        yield f"$ nestgraph synthesize {recipe} --seed {seeds[0]} --seeds {len(seeds)}  # all seeds, {total}"
    seed = run.result.seed
    score = f"{section.heading.removeprefix('test ')} {section.committed.words}"
    data = run.recipe.data.title if run.recipe.data.named else recipe
    yield f"$ nestgraph evaluate docs/{FOLDER}/{name}.json --data {data} --seed {seed}  # {score}"


def _machine(section: Section) -> str:
    """What computed the runs, from their environment.json; as often as they differ."""
    return "Computed on " + " and on ".join(dict.fromkeys(_environment_words(run) for run in section.runs)) + "."


def _environment_words(run: Run) -> str:
    path = run.folder / "environment.json"
    try:
        facts = json.loads(read_bounded(path, MAX_BYTES))
        threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
        device, torch = facts["device"], facts["libraries"]["torch"]
        return f"{device}, {facts['machine']}, {threads}, Python {facts['python']}, PyTorch {torch}"
    except (ValueError, KeyError, TypeError):
        raise SnapshotError(f"{path}: expected the facts of a run's environment, got something else") from None


# -- studies -------------------------------------------------------------------------------------------------


def _sweep_parts(table: SweepTable) -> Iterator[str]:
    common = f" All with {_settings(table.set)}." if table.set else ""
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(each.seed for row in table.rows for each in row.seeds))
    source = f"Recipe `{table.recipe}`, seeds {seeds}.{common} Data: [{FOLDER}/sweep-{table.sweep}.json]"
    yield f"### {table.sweep}\n\n{_escaped(table.description)}".rstrip()
    yield f"{source}({FOLDER}/sweep-{table.sweep}.json)."
    names = ("variation", "settings", "grown connections", "final connections", "FLOPs", "activation-aware FLOPs")
    aim = table.aim.metric
    test = "test error" if aim.name == "accuracy" else f"test {aim.words}"
    heads = (*names, "validation", test, "growth", "total")
    yield _table([heads, *(_sweep_row(row, aim) for row in table.rows)])
    if table.missing:
        runs = ", ".join(f"{each.variation} seed {each.seed} ({_escaped(each.why)})" for each in table.missing)
        yield f"Not finished, and in no median: {runs}."


def _sweep_row(row: SweepRow, aim: Metric) -> tuple[str, ...]:
    medians = row.medians
    counts = (medians.grown_connections, medians.connections, medians.flops, medians.active_flops)
    return (
        row.variation,
        _settings(row.set),
        *(f"{count:,.0f}" for count in counts),
        _with_range(medians.validation, [each.validation for each in row.seeds], aim),
        _with_range(*_errors(medians.test, [each.test for each in row.seeds], aim), aim),
        *(_duration(seconds) for seconds in (medians.growth_seconds, medians.seconds)),
    )


def _errors(median: float, values: Sequence[float], aim: Metric) -> tuple[float, list[float]]:
    """Errors in the place of accuracies; other metrics as they are."""
    return (1 - median, [1 - each for each in values]) if aim.name == "accuracy" else (median, [*values])


def _with_range(median: float, values: Sequence[float], aim: Metric) -> str:
    if not aim.percent:
        return f"{aim.shown(median)} ({aim.shown(min(values))} to {aim.shown(max(values))})"
    return f"{median:.2%} ({100 * min(values):.2f} to {100 * max(values):.2f})"


def _settings(settings: Mapping[str, object]) -> str:
    """Settings as code that neither ends its span nor its cell."""
    words = (f"{place} = {json.dumps(value)}" for place, value in settings.items())
    return ", ".join(f"`{word.replace('`', chr(39)).replace('|', chr(92) + '|')}`" for word in words)


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<>|\[\]#])", r"\\\1", text)
