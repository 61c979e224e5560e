"""Dropout in PyTorch."""

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Handler, Room, Weaving, with_attributes
from nestgraph.spec import Dropout, Layer

DROPOUTS: Mapping[tuple[bool, bool], tuple[type[nn.Module], ...]] = {
    (False, False): (nn.Dropout,) * 4,
    (True, False): (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    (False, True): (nn.AlphaDropout,) * 4,
    (True, True): (nn.FeatureAlphaDropout,) * 4,
}
"""(of whole maps, to SELU's value) -> the module by the number of a map's extents."""


def emit(emission: Emission, layer: Layer, operation: Dropout, path: str, x: fx.Node) -> fx.Node:
    """A module, which follows train() and eval()."""
    axes = len(layer.size or ())
    return emission.apply(path, DROPOUTS[operation.maps, operation.alpha][axes](operation.probability), x)


def _dropped(maps: bool = False, alpha: bool = False) -> Handler:
    """A kind of dropout; whether it was training when it was traced does not matter."""

    def handle(
        weaving: Weaving[Any],
        input: Any,
        p: float = 0.5,
        training: bool = True,  # noqa: ARG001
        inplace: bool = False,  # noqa: ARG001
    ) -> Any:
        if not p:
            return input
        if p >= 1 or (maps and not weaving.of_units(input)):
            weaving.note(input, f"a dropout with probability {p} in training is left out")
            return input
        return weaving.pointwise(input, Dropout(probability=p, maps=maps, alpha=alpha))

    return handle


_values, _maps, _alpha, _alpha_maps = (
    _dropped(),
    _dropped(maps=True),
    _dropped(alpha=True),
    _dropped(maps=True, alpha=True),
)
ROOM = Room(
    Dropout,
    emit,
    functions={
        "dropout": _values,
        "dropout1d": _maps,
        "dropout2d": _maps,
        "dropout3d": _maps,
        "feature_dropout": _maps,
        "alpha_dropout": _alpha,
        "feature_alpha_dropout": _alpha_maps,
    },
    modules={
        nn.Dropout: with_attributes(_values, "p"),
        nn.Dropout1d: with_attributes(_maps, "p"),
        nn.Dropout2d: with_attributes(_maps, "p"),
        nn.Dropout3d: with_attributes(_maps, "p"),
        nn.AlphaDropout: with_attributes(_alpha, "p"),
        nn.FeatureAlphaDropout: with_attributes(_alpha_maps, "p"),
    },
)
