"""For each recipe function a call that plausibly fits a network."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from nestgraph.edits import (
    Batch,
    bypass_layer,
    copy_block,
    coupled,
    deepen,
    drop_islands,
    duplicate_unit,
    fold_batch_norm,
    freeze,
    grow_head,
    grow_unit,
    insert_batch_norm,
    insert_skip,
    merge_twins,
    narrow,
    prune_connections,
    remove_heads,
    remove_projection,
    remove_units,
    replace_activation,
    respell_areas,
    restore_inputs,
    shift_activations,
    shrink_areas,
    split_head,
    split_unit,
    thaw,
    tie,
    untie,
    wake_connections,
    widen,
    widen_heads,
)
from nestgraph.graph.columns import Grid
from nestgraph.spec import Conv
from tests.strategies.edits import fresh_name
from tests.strategies.networks import FUNCTIONS, areas, sparse


def hidden_layers(network):
    return [n for n in network.layer_names if network.layer(n).kind != "input" and not network.layer(n).output]


def some_layer(draw, network):
    names = hidden_layers(network)
    assume(names)
    return draw(st.sampled_from(names))


def some_unit(draw, network):
    layer = some_layer(draw, network)
    return layer, draw(st.sampled_from(network.units(layer).tolist()))


def _entries(draw, network, active, rng):
    name = draw(st.sampled_from(network.projection_names))
    places = np.flatnonzero(network.connection_columns(name).mask == active)
    return name, rng.permutation(places)[: draw(st.integers(0, 3))]


def _prune(draw, network, rng):
    return prune_connections(network, dict([_entries(draw, network, True, rng)]))


def _wake(draw, network, rng):
    return wake_connections(network, *_entries(draw, network, False, rng))


def _remove(draw, network, rng):
    layer = draw(st.sampled_from([name for name in network.layer_names if len(network.units(name))]))
    return remove_units(network, layer, rng.permutation(network.units(layer))[: draw(st.integers(0, 2))])


def grown_weights(network, layer, like, rng):
    """Weights for all that can be given for a new unit like another and its partners, some connections of each."""
    strand = coupled(network, layer, [like])
    weights = {}
    for name in strand:
        for projection in (*network.incoming(name), *network.outgoing(name)):
            if isinstance(network.connection_columns(projection.name), Grid):
                shape = list(network.connection_columns(projection.name).weight.shape)
                del shape[0 if projection.target == layer or projection.source not in strand else 1]
                weights[projection.name] = sparse((1, *shape), 0.6, rng).weight[0]
    return weights


def _grow(draw, network, rng):
    layer, like = some_unit(draw, network)
    return grow_unit(network, layer, grown_weights(network, layer, like, rng), like=like)


def _restore(draw, network, rng):
    layer = draw(st.sampled_from(network.input_names))
    absent = np.setdiff1d(np.arange(network.layer(layer).features), network.units(layer))
    return restore_inputs(network, layer, rng.permutation(absent)[: draw(st.integers(0, 2))])


def _deepen(draw, network, rng):  # noqa: ARG001
    layer, function = some_layer(draw, network), draw(st.sampled_from((None, "relu", "leaky_relu", "tanh")))
    kernel = draw(st.sampled_from(((1, 1), (3, 1)))) if network.layer(layer).size else (1, 1)
    return deepen(network, layer, fresh_name(network, "deeper"), function, kernel)


def _copy_block(draw, network, rng):  # noqa: ARG001
    names = network.layer_names
    links = {(p.source, p.target) for p in network.projections_by_name.values() if p.couples and not p.learns}
    joined = sorted(links | {(a, d) for a, b in links for c, d in links if b == c})
    source, target = draw(st.sampled_from(joined)) if joined else (names[0], draw(st.sampled_from(names)))
    return copy_block(network, source, target, fresh_name(network, "copy"))


def _skip(draw, network, rng):  # noqa: ARG001
    names = network.layer_names
    place = draw(st.integers(0, len(names) - 2))
    target = draw(st.sampled_from(names[place + 1 :]))
    return insert_skip(network, names[place], target, one_to_one=draw(st.booleans()))


def _disjoin(draw, network, rng):  # noqa: ARG001
    return remove_projection(network, draw(st.sampled_from(network.projection_names)))


def _replace(draw, network, rng):  # noqa: ARG001
    return replace_activation(network, some_layer(draw, network), draw(st.sampled_from((*FUNCTIONS, None))))


def _shift(draw, network, rng):  # noqa: ARG001
    return shift_activations(network, "relu", draw(st.sampled_from(("leaky_relu", "tanh"))))


def _shrink(draw, network, rng):
    names = [name for name in network.projection_names if isinstance(network.projection(name), Conv)]
    assume(names)
    name = draw(st.sampled_from(names))
    size = network.layer(network.projection(name).target).size
    area = draw(areas(network.connection_columns(name).weight.shape, size, rng))
    return shrink_areas(network, {} if area is None else {name: area})


def _heads(draw, network):
    layers = [name for name in network.layer_names if network.matches(name)]
    return draw(st.sampled_from(layers)) if layers else some_layer(draw, network)


def _remove_heads(draw, network, rng):
    layer = _heads(draw, network)
    return remove_heads(network, layer, rng.permutation(network.units(layer))[: draw(st.integers(0, 2))])


def _grow_head(draw, network, rng):
    width, values = (draw(st.sampled_from((None, 1, 3))) for _ in range(2))
    return grow_head(network, _heads(draw, network), rng, width, values)


def _split_head(draw, network, rng):
    layer = _heads(draw, network)
    return split_head(network, layer, int(rng.choice(network.units(layer))))


def _widen_heads(draw, network, rng):
    layer, count, values = _heads(draw, network), *draw(st.sampled_from(((1, 0), (2, 1), (0, 1))))
    heads = rng.permutation(network.units(layer))[: draw(st.integers(1, 3))] if draw(st.booleans()) else None
    return widen_heads(network, layer, count, rng, heads, values)


def _tie(draw, network, rng):  # noqa: ARG001
    """What is tied, untied and tied again, so that there is something to tie; or any two projections."""
    if network.tied and draw(st.booleans()):
        follower = next(name for name in network.tied if network.projection(name).follows)
        loose = untie(network, follower)
        again = tie(loose.apply(network).network, follower, network.tied[follower])
        return Batch(edits=(*loose.edits, *again.edits))
    names = network.projection_names
    return tie(network, draw(st.sampled_from(names)), draw(st.sampled_from(names)))


def _untie(draw, network, rng):  # noqa: ARG001
    return untie(network, draw(st.sampled_from([*network.tied] or list(network.projection_names))))


RECIPE_CASES = {
    prune_connections: _prune,
    wake_connections: _wake,
    remove_units: _remove,
    grow_unit: _grow,
    grow_head: _grow_head,
    remove_heads: _remove_heads,
    split_head: _split_head,
    widen_heads: _widen_heads,
    restore_inputs: _restore,
    deepen: _deepen,
    copy_block: _copy_block,
    insert_skip: _skip,
    remove_projection: _disjoin,
    replace_activation: _replace,
    shift_activations: _shift,
    shrink_areas: _shrink,
    respell_areas: lambda draw, network, rng: respell_areas(network),  # noqa: ARG005
    drop_islands: lambda draw, network, rng: drop_islands(network),  # noqa: ARG005
    split_unit: lambda draw, network, rng: split_unit(network, *some_unit(draw, network)),  # noqa: ARG005
    duplicate_unit: lambda draw, network, rng: duplicate_unit(network, *some_unit(draw, network)),  # noqa: ARG005
    widen: lambda draw, network, rng: widen(network, some_layer(draw, network), draw(st.integers(0, 3)), rng),
    bypass_layer: lambda draw, network, rng: bypass_layer(network, some_layer(draw, network)),  # noqa: ARG005
    narrow: lambda draw, network, rng: narrow(network, draw(st.sampled_from((0.2, 0.5, 0.9)))),  # noqa: ARG005
    merge_twins: lambda draw, network, rng: merge_twins(network, some_layer(draw, network)),  # noqa: ARG005
    fold_batch_norm: lambda draw, network, rng: fold_batch_norm(network, some_layer(draw, network)),  # noqa: ARG005
    insert_batch_norm: lambda draw, network, rng: insert_batch_norm(network, some_layer(draw, network)),  # noqa: ARG005
    freeze: lambda draw, network, rng: freeze(network, some_layer(draw, network)),  # noqa: ARG005
    tie: _tie,
    untie: _untie,
    thaw: lambda draw, network, rng: thaw(network, some_layer(draw, network)),  # noqa: ARG005
}
"""For each recipe function a function (draw, network, rng) that calls it in a way that plausibly fits."""
