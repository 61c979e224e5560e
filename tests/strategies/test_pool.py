"""The networks that a quick run chooses from leave out no kind of the vocabulary."""

from collections.abc import Iterator

import pytest

from nestgraph.spec import Activation, Conv, OneToOne, Pad, Upsampling
from nestgraph.spec.operations import OPERATIONS
from nestgraph.spec.operations.norm import Norm
from nestgraph.spec.projection import PROJECTIONS
from tests.strategies.networks import EVERY, FUNCTIONS, pool


def said(network) -> Iterator[object]:
    """What a network has of what there is to have."""
    yield "interface" if network.interface is not None else "no interface"
    for layer in network.layers_by_name.values():
        yield layer.kind, layer.size and len(layer.size), layer.unitwise, layer.places
        for operation in layer.operations:
            yield type(operation)
            if isinstance(operation, Activation):
                yield operation.function
            if isinstance(operation, Norm):
                yield "norm", operation.over
            if isinstance(operation, Pad):
                yield "pad", operation.mode
            if isinstance(operation, Upsampling):
                yield "upsampling", operation.mode, operation.align_corners
    for projection in network.projections_by_name.values():
        yield type(projection)
        area = network.connection_columns(projection.name).area
        yield "area", area is not None and ("map" if area.shape[1] == 1 else "pair")
        if isinstance(projection, Conv):
            yield "conv", len(projection.kernel), projection.transposed
        if isinstance(projection, OneToOne):
            yield "one to one", projection.gate, projection.placed, projection.trained


@pytest.fixture(scope="module")
def found():
    return {what for family in EVERY for network in pool(family) for what in said(network)}


def test_every_kind_of_operation_and_projection_is_there(found):
    assert {*OPERATIONS, *PROJECTIONS} - found == set()


def test_every_form_is_there(found):
    forms = {
        *FUNCTIONS,
        "interface",
        "no interface",
        *(("norm", over) for over in ("units", "both", "places")),
        *(("pad", mode) for mode in ("constant", "reflect", "replicate", "circular")),
        *(("upsampling", *how) for how in (("nearest", False), ("bilinear", False), ("bilinear", True))),
        *(("area", how) for how in (False, "map", "pair")),
        *(("conv", axes, transposed) for axes in (1, 2, 3) for transposed in (False, True)),
        *(("one to one", gate, False, trained) for gate in (False, True) for trained in (False, True)),
        *(("one to one", False, True, trained) for trained in (False, True)),
        *(("input", axes, False, False) for axes in (None, 1, 2, 3)),
        *(("feature_maps", axes, False, places) for axes in (1, 2, 3) for places in (False, True)),
        *(("feature_maps", axes, True, False) for axes in (1, 2, 3)),
        ("neurons", None, True, False),
    }
    assert forms - found == set()
