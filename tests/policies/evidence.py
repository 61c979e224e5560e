"""Evidence out of the air, in the shapes that a network's policies expect."""

import numpy as np

from nestgraph.policies import Evidence, bridged_layers


def evidence_for(network, rng, draw=None):
    """Random evidence of all kinds; `draw(shape)` gives the gradients and bridges, normal ones by default."""
    draw = draw or rng.standard_normal
    shapes = {name: network.connection_columns(name).weight.shape for name in network.projection_names}
    bridges = {
        name: (len(network.units(after.target)), int(np.prod(shapes[before.name][1:])))
        for name, (before, after) in bridged_layers(network).items()
    }
    return Evidence(
        {name: draw(shape).astype(np.float32) for name, shape in shapes.items()},
        {name: draw(shape).astype(np.float32) for name, shape in bridges.items()},
        {name: np.abs(rng.standard_normal(len(network.units(name)))) for name in network.layer_names},
        samples=1,
    )
