"""The curves of a run: connections and a metric against step with the phases shaded, and the metric against size."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nestgraph.render.curve_points import points_of
from nestgraph.render.files import PICTURE_FORMATS, picture_path, write_whole
from nestgraph.render.theme import Theme, check_theme
from nestgraph.spec.metrics import metric


def curves(
    metrics: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    theme: Theme = "light",
    overwrite: bool = False,
    score: str = "accuracy",
) -> Path:
    """Draw a run's log into an .svg, .png or .pdf file; returns its path.

    Args:
        metrics: by step, mappings with `step`, `phase` (seed, grow, shift, prune), `connections` and the metric, which
            may also stand in a mapping `scores` (on validation data); other keys are ignored.
        path: the file to write.
        theme: light or dark.
        overwrite: replace a file that is no picture of ours.
        score: the name of the metric: one of a task, or `loss`.

    Raises:
        RenderError: the suffix is unknown, the log is empty or an entry lacks a number, or the file cannot be written.
    """
    points, kind = points_of(metrics, score), metric(score)
    check_theme(theme)
    target, picture_format = picture_path(path, overwrite, PICTURE_FORMATS)
    from nestgraph.render.chart import chart  # with matplotlib, which other pictures do without

    return write_whole(target, chart(points, kind, picture_format, theme), overwrite)


def curves_svg(metrics: Sequence[Mapping[str, Any]], score: str = "accuracy") -> str:
    """The same as SVG text, for a notebook.

    Raises:
        RenderError: as `curves`.
    """
    from nestgraph.render.chart import chart

    return chart(points_of(metrics, score), metric(score), "svg").decode()
