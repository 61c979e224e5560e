"""Evidence out of the air, in the shapes that a network's policies expect."""

from functools import partial

import numpy as np

from nestgraph.graph.geometry import output_size
from nestgraph.policies import Evidence, bridged_layers, possible_skips


def evidence_for(network, rng, draw=None):
    """Random evidence of all kinds; `draw(shape)` gives the gradients and bridges, normal ones by default."""
    slopes = partial(_slopes, draw=draw)
    draw = draw or rng.standard_normal
    shapes = {name: network.connection_columns(name).weight.shape for name in network.projection_names}
    bridges = {
        name: (len(network.units(after.target)), int(np.prod(shapes[before.name][1:])))
        for name, (before, after) in bridged_layers(network).items()
    }
    skips = {
        skip.name: (*(len(network.units(end)) for end in (skip.target, skip.source)), *_size(network, skip.source))
        for skip in possible_skips(network)
    }
    responses = {
        p.name: np.abs(rng.standard_normal((*shapes[p.name][:2], *network.layer(p.target).size)))
        for p in network.projections_by_name.values()
        if p.kind == "conv" and p.follows is None
    }
    return Evidence(
        {name: draw(shapes[name]).astype(np.float32) for name in _own(network)},
        {name: draw(shape).astype(np.float32) for name, shape in bridges.items()},
        {name: np.abs(rng.standard_normal(len(network.units(name)))) for name in network.layer_names},
        saliency={name: np.abs(rng.standard_normal(len(network.units(name)))) for name in network.layer_names},
        skips={name: draw(shape).astype(np.float32) for name, shape in skips.items()},
        responses=responses,
        loss=any_loss,
        slopes=slopes,
        samples=1,
    )


def _own(network):
    """The projections with weights of their own; of a table at both ends the lookup."""
    return [name for name in network.projection_names if network.projection(name).follows is None]


def _size(network, layer):
    return output_size(network.layer(layer)) or ()


def _slopes(network, draw):
    """Gradients that a network has whenever it is tried."""
    draw = draw or np.random.default_rng(int(network.digest[:12], 16)).standard_normal
    return {name: draw(network.connection_columns(name).weight.shape).astype(np.float32) for name in _own(network)}


def asleep(network, name):
    """Bool: the connections of a projection that can be woken; of a tied table none of classes that no output is."""
    found = ~network.connection_columns(name).mask
    for p in network.projections_by_name.values():
        if p.follows == name:
            classes = np.arange(found.shape[2])
            found[:, :, ~np.isin(classes, network.units(p.target))] = False
    return found


def any_loss(network):
    """A number that every network has, and hardly two the same."""
    return int(network.digest[:12], 16) / 16**12
