"""The pictures that go with a run."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from pathlib import Path
from typing import Any

from nestgraph.errors import RenderError
from nestgraph.graph.network import Network
from nestgraph.render import curves, draw, input_heat_map


def draw_stage(network: Network, folder: Path, stage: str) -> None:
    """Draw STAGE-layers.svg and STAGE-neurons.svg in a run's folder, whose names they are."""
    _drawn(lambda: draw(network, folder / f"{stage}-layers.svg", view="layers", overwrite=True))
    _drawn(lambda: draw(network, folder / f"{stage}-neurons.svg", view="neurons", overwrite=True))


def draw_run(
    stages: Mapping[str, Network],
    kept: Sequence[Mapping[str, Any]],
    folder: Path,
    prefix: str = "",
    overwrite: bool = True,
    score: str = "accuracy",
) -> None:
    """Draw curves.svg, inputs.svg where inputs make a square, and areas.svg where a convolution computes a part.

    Args:
        stages: the networks by stage, the final one last.
        kept: measurements of the edits that were kept; see `curves`.
        folder: where to.
        prefix: what the names of the files begin with.
        overwrite: replace files that are no pictures of ours: in a run's folder their names are the run's.
        score: the metric that the curves show.
    """
    final = list(stages.values())[-1]
    _drawn(lambda: curves(kept, folder / f"{prefix}curves.svg", overwrite=overwrite, score=score))
    if _has_square_inputs(final):
        _drawn(lambda: input_heat_map(stages, folder / f"{prefix}inputs.svg", overwrite=overwrite))
    if not all(final.connection_columns(name).everywhere for name in final.projection_names):
        _drawn(lambda: draw(final, folder / f"{prefix}areas.svg", "areas", overwrite=overwrite))


def _has_square_inputs(network: Network) -> bool:
    """Whether there is one input and it can be an image: those of tables are seldom as many as a square has."""
    layers = [network.layer(name) for name in network.input_names]
    squares = [layer.size is not None or isqrt(layer.features or 0) ** 2 == layer.features for layer in layers]
    return squares == [True]


def _drawn(picture: Callable[[], object]) -> None:
    """Draw a picture; one that fails, as without Graphviz, is a warning and does not end a run."""
    try:
        picture()
    except RenderError as error:
        warnings.warn(str(error), stacklevel=2)
