"""The layer diagram of a difference: a box a layer of either network, with what was added, removed and changed."""

# The package graphviz has no stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from collections.abc import Mapping

import graphviz

from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.render.boxes import BAR, bar_row, table_label, text_row, title_row
from nestgraph.render.changes import Change, NetworkChange, incoming, network_change, other_changes
from nestgraph.render.comparison import Comparison, compare
from nestgraph.render.encoding import LOOKS, Fate, signed
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
from nestgraph.render.style import INK, MUTED, fitted, projection_words, unit_words
from nestgraph.spec.projection import Projection

STYLES: Mapping[Fate, str] = {"added": "solid", "removed": "dashed", "changed": "solid", "unchanged": "solid"}


def layer_difference(old: Network, new: Network) -> str:
    """The DOT text of what became of each layer.

    A box has the sign and the line of its fate, units and connections before and after, and a bar of connections that
    stayed the same, changed, were added or removed, and are dormant. Equal layers that did not change fold as in
    the layer diagram.
    """
    comparison, changes = compare(old, new), network_change(old, new)
    fates: dict[str, Fate] = {name: _layer_fate(comparison, name, change) for name, change in changes.by_layer.items()}
    boxes = runs(comparison.union, [name for name, became in fates.items() if became != "unchanged"])
    places = grid(comparison.union, boxes)
    dot = graphviz.Digraph("difference", **frame(_words(comparison, changes.total)))
    for run in boxes:
        dot.node(run.key, label=_box(comparison, changes, run, _run_fate(run, fates)), shape="plain")
    _add_projections(dot, comparison, changes, boxes, places)
    hold_rows(dot, places)
    return dot.source


def _words(comparison: Comparison, total: Change) -> str:
    old, new = comparison.old, comparison.new
    units = f"{old.unit_count:,} → {new.unit_count:,} units ({signed(total.born, total.gone) or 'the same'})"
    links = signed(total.added, total.removed) or "the same"
    lines = [
        f"{units}, {old.connection_count:,} → {new.connection_count:,} connections ({links}), ~{total.values:,} values",
        "+ added: blue, solid.  - removed: vermilion, dashed.  ~ changed: purple.  Unchanged: grey.  Dormant: light.",
    ]
    if comparison.left_out:
        lines.append(f"{comparison.left_out} removed projections led backwards and are left out.")
    return "".join(line + r"\l" for line in lines)


def _layer_fate(comparison: Comparison, name: str, change: Change) -> Fate:
    if not comparison.old.has_layer(name):
        return "added"
    if not comparison.new.has_layer(name):
        return "removed"
    counts = change.born, change.gone, change.added, change.removed, change.values
    changed = any(counts) or other_changes(comparison.old, comparison.new, name)
    return "changed" if changed else "unchanged"


def _run_fate(run: Run, fates: Mapping[str, Fate]) -> Fate:
    """That of its layers where they share one."""
    found: set[Fate] = {fates[name] for name in run.names}
    return found.pop() if len(found) == 1 else "changed"


def _box(comparison: Comparison, changes: NetworkChange, run: Run, became: Fate) -> str:
    change = sum((changes.by_layer[name] for name in run.names), Change())
    look, layer = LOOKS[became], comparison.union.layer(run.key)
    rows = [title_row(f"{look.sign} {run_words(run)}".strip(), look.colour if look.sign else None)]
    what = unit_words(layer, change.units).split()[1]
    rows.append(text_row(_growth(change.units, change.born, change.gone, what), 10, INK))
    possible = sum(comparison.union.connection_columns(p.name).mask.size for p in comparison.union.incoming(run.key))
    if possible:
        rows.append(_bar(comparison, changes, run, change))
        rows.append(text_row(_growth(change.connections, change.added, change.removed, "connections"), 10, INK))
    if change.values:
        rows.append(text_row(f"~{change.values:,} values", 10, INK))
    notes = other_changes(comparison.old, comparison.new, run.key)
    if notes and became == "changed":
        rows.append(text_row(fitted(f"~ {notes}".replace("_", " "), 10, LABEL_WIDTH), 10, MUTED))
    style = "ROUNDED,DASHED" if STYLES[became] == "dashed" else "ROUNDED"
    return table_label(rows, "1" if became == "unchanged" else "2", look.colour, style)


def _growth(before: int, plus: int, minus: int, what: str) -> str:
    if not (plus or minus):
        return f"{before:,} {what}"
    return f"{before:,} → {before + plus - minus:,} {what}: {signed(plus, minus)}"


def _bar(comparison: Comparison, changes: NetworkChange, run: Run, change: Change) -> str:
    """Connections of both networks by what became of them, over all that are possible in either."""
    spaces = [cost(network) for network in (comparison.old, comparison.new)]
    possible = max(sum(s.by_layer[n].possible for n in run.names if n in s.by_layer) for s in spaces)
    into = {name for layer in run.names for name in incoming(comparison.old, comparison.new, layer)}
    weights = sum(changes.by_projection[name].values for name in into)
    counts: dict[Fate, int] = {
        "unchanged": change.connections - change.removed - weights,
        "changed": weights,
        "added": change.added,
        "removed": change.removed,
    }
    whole = max(possible, sum(counts.values()), 1)
    pieces: dict[Fate, int] = {became: _length(count, whole) for became, count in counts.items()}
    pieces["dormant"] = max(BAR - sum(pieces.values()), 0)
    return bar_row(*((width, LOOKS[became].colour) for became, width in pieces.items()))


def _length(count: int, whole: int) -> int:
    return max(2, int((BAR - 8) * count / whole)) if count else 0  # a little of everything that there is is seen


def _add_projections(
    dot: graphviz.Digraph, comparison: Comparison, changes: NetworkChange, boxes: tuple[Run, ...], places: Grid
) -> None:
    joined = joined_boxes(comparison.union, boxes)
    bare = crowded(dot, joined, boxes)
    for ends, projections in joined.items():
        for projection in projections[:MOST_PARALLEL]:
            add_edge(dot, places, ends, _edge(comparison, changes, projection), bare)
        if len(projections) > MOST_PARALLEL:
            more = f"{len(projections) - MOST_PARALLEL:,} more projections"
            add_edge(dot, places, ends, {"label": more}, bare)


def _edge(comparison: Comparison, changes: NetworkChange, projection: Projection) -> dict[str, str]:
    before, after = comparison.projections[projection.name]
    change = changes.by_projection[projection.name.partition("~")[0]]
    became: Fate = "unchanged"
    counts = ""
    if before and after:
        counts = signed(change.added, change.removed, change.values)
        became = "changed" if counts else "unchanged"
    else:
        became = "added" if after else "removed"
        counts = signed(change.added, 0) if after else signed(0, change.removed)
    look = LOOKS[became]
    lines = [f"{look.sign} {projection_words(projection)}".strip(), counts]
    label = r"\n".join(graphviz.escape(line) for line in lines if line)
    return {"label": label, "color": look.colour, "style": STYLES[became], "fontcolor": INK if look.sign else MUTED}
