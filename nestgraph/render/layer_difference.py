"""The layer diagram of a difference: a box a layer of either network, with what was added, removed and changed."""

# The package graphviz has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from collections.abc import Mapping

import graphviz

from nestgraph.graph.cost import cost
from nestgraph.graph.difference import Difference
from nestgraph.graph.network import Network
from nestgraph.graph.tally import Counts, Tally
from nestgraph.render.boxes import BAR, bar_row, table_label, text_row, title_row
from nestgraph.render.comparison import Comparison, compare
from nestgraph.render.encoding import LOOKS, Fate, growth_words, signed
from nestgraph.render.folding import Grid, Run, grid, runs
from nestgraph.render.layer_diagram import (
    LABEL_WIDTH,
    MOST_PARALLEL,
    add_edge,
    crowded,
    frame,
    hold_rows,
    joined_boxes,
    run_words,
)
from nestgraph.render.style import INK, MUTED, fitted, unit_words
from nestgraph.spec.projection import Projection

STYLES: Mapping[Fate, str] = {"added": "solid", "removed": "dashed", "changed": "solid", "unchanged": "solid"}


def layer_difference(old: Network, new: Network) -> str:
    """The DOT text of what became of each layer.

    A box has the sign and the line of its fate, units and connections before and after, and a bar of connections that
    stayed the same, changed, were added or removed, and are dormant. Equal layers that did not change fold as in
    the layer diagram.
    """
    comparison = compare(old, new)
    change = comparison.difference
    fates: dict[str, Fate] = {name: change.fate(name) for name in change.layers}
    boxes = runs(comparison.union, [name for name, became in fates.items() if became != "unchanged"])
    places = grid(comparison.union, boxes)
    dot = graphviz.Digraph("difference", **frame(_words(comparison)))
    for run in boxes:
        dot.node(run.key, label=_box(comparison, run, _run_fate(run, fates)), shape="plain")
    _add_projections(dot, comparison, boxes, places)
    hold_rows(dot, places)
    return dot.source


def _words(comparison: Comparison) -> str:
    change = comparison.difference
    lines = [
        f"{growth_words(change.counts)}, ~{change.counts.numbers:,} values",
        "+ added: blue, solid.  - removed: vermilion, dashed.  ~ changed: purple.  Unchanged: grey.  Dormant: light.",
    ]
    if change.interface:
        lines.append("~ Another interface is recorded: the order, form or names of inputs and outputs.")
    if comparison.left_out:
        lines.append(f"{comparison.left_out} removed projections led backwards and are left out.")
    return "".join(line + r"\l" for line in lines)


def _run_fate(run: Run, fates: Mapping[str, Fate]) -> Fate:
    """That of its layers where they share one."""
    found: set[Fate] = {fates[name] for name in run.names}
    return found.pop() if len(found) == 1 else "changed"


def _box(comparison: Comparison, run: Run, became: Fate) -> str:
    change = comparison.difference
    counts = sum((change.by_layer[name] for name in run.names), Counts())
    look, layer = LOOKS[became], comparison.union.layer(run.key)
    rows = [title_row(f"{look.sign} {run_words(run)}".strip(), look.colour if look.sign else None)]
    what = unit_words(layer, counts.units.before, bool(comparison.union.matches(run.key))).split()[1]
    rows.append(text_row(_growth(counts.units, what), 10, INK))
    possible = sum(comparison.union.connection_columns(p.name).mask.size for p in comparison.union.incoming(run.key))
    if possible:
        rows.append(_bar(change, run, counts.connections))
        rows.append(text_row(_growth(counts.connections, "connections"), 10, INK))
    if counts.numbers:
        rows.append(text_row(f"~{counts.numbers:,} values", 10, INK))
    notes = ", ".join(change.notes(run.key))
    if notes and became == "changed":
        rows.append(text_row(fitted(f"~ {notes}".replace("_", " "), 10, LABEL_WIDTH), 10, MUTED))
    style = "ROUNDED,DASHED" if STYLES[became] == "dashed" else "ROUNDED"
    return table_label(rows, "1" if became == "unchanged" else "2", look.colour, style)


def _growth(tally: Tally, what: str) -> str:
    if not (tally.added or tally.removed):
        return f"{tally.before:,} {what}"
    return f"{tally.before:,} → {tally.after:,} {what}: {signed(tally.added, tally.removed)}"


def _bar(change: Difference, run: Run, connections: Tally) -> str:
    """Connections of both networks by what became of them, over all that are possible in either."""
    spaces = [cost(network) for network in (change.old, change.new)]
    possible = max(sum(s.by_layer[n].possible for n in run.names if n in s.by_layer) for s in spaces)
    counts: dict[Fate, int] = {
        "unchanged": connections.unchanged,
        "changed": connections.changed,
        "added": connections.added,
        "removed": connections.removed,
    }
    whole = max(possible, sum(counts.values()), 1)
    pieces: dict[Fate, int] = {became: _length(count, whole) for became, count in counts.items()}
    rest = max(BAR - sum(pieces.values()), 0)
    largest: Fate = max(counts, key=lambda became: counts[became])
    pieces |= {largest: pieces[largest] + rest} if sum(counts.values()) == whole else {"dormant": rest}
    return bar_row(*((width, LOOKS[became].colour) for became, width in pieces.items()))


def _length(count: int, whole: int) -> int:
    return max(2, int((BAR - 8) * count / whole)) if count else 0  # a little of everything that there is is seen


def _add_projections(dot: graphviz.Digraph, comparison: Comparison, boxes: tuple[Run, ...], places: Grid) -> None:
    joined = joined_boxes(comparison.union, boxes)
    bare = crowded(dot, joined, boxes)
    for ends, projections in joined.items():
        for projection in projections[:MOST_PARALLEL]:
            add_edge(dot, places, ends, _edge(comparison, projection), bare)
        if len(projections) > MOST_PARALLEL:
            more = f"{len(projections) - MOST_PARALLEL:,} more projections"
            add_edge(dot, places, ends, {"label": more}, bare)


def _edge(comparison: Comparison, projection: Projection) -> dict[str, str]:
    before, after = comparison.projections[projection.name]
    change = comparison.difference.projections[projection.name.partition("~")[0]]
    tally = change.counts
    became: Fate = change.fate
    if not (before and after):
        became = "added" if after else "removed"
        tally = Tally(added=tally.added) if after else Tally(removed=tally.removed)
    look, counts = LOOKS[became], signed(tally.added, tally.removed, tally.changed)
    lines = [f"{look.sign} {projection.words}".strip(), counts]
    label = r"\n".join(graphviz.escape(line) for line in lines if line)
    return {"label": label, "color": look.colour, "style": STYLES[became], "fontcolor": INK if look.sign else MUTED}
