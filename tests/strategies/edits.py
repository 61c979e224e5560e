"""Edits that plausibly fit a network."""

import itertools
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from nestgraph.edits import (
    AddLayer,
    AddProjection,
    AddUnits,
    AnyEdit,
    Batch,
    Block,
    RemoveLayer,
    RemoveProjection,
    RemoveUnits,
    SetArea,
    SetInterface,
    SetMask,
    SetOperations,
    SetValues,
)
from nestgraph.edits.islands import island_edits
from nestgraph.errors import EditError
from nestgraph.graph.columns import Grid, Links, Slotted
from nestgraph.graph.geometry import output_size
from nestgraph.graph.pinning import pinned
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.tying import ties
from nestgraph.spec import Conv, Dense, Layer, OneToOne
from tests.strategies.networks import SEEDS, areas, chains, columns_for, interfaces, sparse


def fresh_name(structure, stem):
    """A name that begins with a stem and that no layer or projection has."""
    taken = structure.layers_by_name.keys() | structure.projections_by_name.keys()
    return next(name for name in (f"{stem}{place}" for place in itertools.count()) if name not in taken)


def swept(structure, edits):
    """The edits, then what drops the islands they leave; as they are where that cannot be."""
    try:
        after = Batch(edits=tuple(edits)).change(structure)[0]
        return Batch(edits=(*edits, *island_edits(after)))
    except EditError:
        return Batch(edits=tuple(edits))


def _block(shape, rng, axis=0):
    """Random connections of a shape that leave one to every index of an axis (0 or 1)."""
    order = (axis, 1 - axis, *range(2, len(shape)))
    columns = sparse(tuple(shape[place] for place in order), 0.6, rng)
    return Block(weight=columns.weight.transpose(order), mask=columns.mask.transpose(order))


def _bridge(draw, structure, source, target, name):
    """A projection record that can lead from one layer to another, or None."""
    sizes = output_size(structure.layer(source)), structure.layer(target).size
    if sizes[1] is None:
        return Dense(source=source, target=target, name=name)
    if sizes[0] != sizes[1]:
        return None
    kernel, axes = draw(st.sampled_from((1, 3))), len(sizes[1])
    return Conv(source=source, target=target, name=name, kernel=(kernel,) * axes, padding=(kernel // 2,) * axes)


def add_layer(draw, network, rng):
    """A layer beside an existing projection, with a projection into it and one out of it."""
    beside = network.projection(draw(st.sampled_from(network.projection_names)))
    target = network.layer(beside.target)
    operations = draw(chains(target.size, resize=False))
    name, bias = fresh_name(network, "added"), draw(st.booleans())
    layer = Layer(name=name, kind=target.kind, size=target.size, operations=operations, bias=bias)
    ids = np.arange(draw(st.integers(1, 2))) + draw(st.integers(0, 3))
    edits = [AddLayer(layer=layer, ids=ids, values=columns_for(layer, len(ids), rng), next_id=9)]
    grown = edits[0].change(network)[0]
    onward = _bridge(draw, grown, layer.name, target.name, fresh_name(network, "from_added"))
    into = beside.model_copy(update={"target": layer.name, "name": fresh_name(network, "to_added")})
    if not isinstance(network.connection_columns(beside.name), Grid):
        into = _bridge(draw, grown, beside.source, layer.name, fresh_name(network, "to_added"))
    if into is None:
        return None
    for projection in (into, onward):
        block = _block(meaning_of(grown, projection).shape, rng)
        edits.append(AddProjection(projection=projection, connections=block))
    return Batch(edits=tuple(edits))


def remove_layer(draw, network, rng):
    """A hidden layer with all its projections, sources joined to targets where they can be, islands swept."""
    hidden = [n for n in network.layer_names if network.layer(n).kind != "input" and not network.layer(n).output]
    if not hidden:
        return None
    name = draw(st.sampled_from(hidden))
    sources, targets = network.incoming(name), network.outgoing(name)
    edits = [RemoveProjection(projection=p.name) for p in (*sources, *targets)] + [RemoveLayer(layer=name)]
    for place, (source, target) in enumerate((s.source, t.target) for s in sources for t in targets):
        projection = _bridge(draw, network, source, target, fresh_name(network, f"joined_{place}_"))
        if projection is not None:
            block = _block(meaning_of(network, projection).shape, rng)
            edits.append(AddProjection(projection=projection, connections=block))
    return swept(network, edits)


def add_projection(draw, network, rng):
    """A second way from one layer to a later one: full, sparse or one to one."""
    names = network.layer_names
    target = draw(st.sampled_from([name for name in names if network.layer(name).kind != "input"]))
    source = draw(st.sampled_from([name for name in names[: names.index(target)] if len(network.units(name))]))
    name = fresh_name(network, "added")
    if output_size(network.layer(source)) == network.layer(target).size and draw(st.booleans()):
        count = min(len(network.units(source)), len(network.units(target)))
        targets = np.sort(rng.permutation(network.units(target))[:count])
        links = np.stack([rng.permutation(network.units(source))[:count], targets], 1)
        block = Block(weight=rng.standard_normal(count).astype(np.float32), mask=np.ones(count, bool), links=links)
        record = OneToOne(source=source, target=target, name=name, gate=draw(st.booleans()))
        return AddProjection(projection=record, connections=block)
    projection = _bridge(draw, network, source, target, name)
    if projection is None:
        return None
    return AddProjection(projection=projection, connections=_block(meaning_of(network, projection).shape, rng))


def remove_projection(draw, network, rng):
    """One projection, with the islands it leaves, or with another of its form in its place."""
    old = network.projection(draw(st.sampled_from(network.projection_names)))
    edit = RemoveProjection(projection=old.name)
    how = draw(st.sampled_from(("alone", "swept", "replaced")))
    if how != "replaced" or not isinstance(network.connection_columns(old.name), Grid):
        return edit if how == "alone" else swept(network, [edit])
    block = _block(network.connection_columns(old.name).weight.shape, rng)
    return swept(network, [edit, AddProjection(projection=old, connections=block)])


def add_units(draw, network, rng):
    """Units for one layer, and for each layer that one-to-one projections couple to it as long as need be."""
    layers = [name for name in network.layer_names if not network.layer(name).output]
    if network.tied and draw(st.booleans()):
        return _grow_at_ends(draw, network, rng)
    edits = _grow(draw, network, draw(st.sampled_from(layers)), {}, rng)
    return None if edits is None else edits[0] if len(edits) == 1 else Batch(edits=tuple(edits))


def _grow(draw, structure, layer, links, rng):
    record, columns = structure.layer(layer), structure.unit_columns(layer)
    count = len(next(iter(links.values()))) if links else draw(st.integers(1, 2))
    ids = np.array(structure.fresh_ids(layer, count))
    if record.kind == "input":
        ids = np.setdiff1d(np.arange(record.features), columns.ids)[:count]
        if not len(ids):
            return None
    blocks = {}
    for projection in (*structure.incoming(layer), *structure.outgoing(layer)):
        old, axis = structure.connection_columns(projection.name), 0 if projection.target == layer else 1
        if isinstance(old, Grid):
            blocks[projection.name] = _grid_block(draw, old, len(ids), axis, rng)
        elif axis == 0 and isinstance(old, Links):
            sources = links.get(projection.name, rng.choice(structure.units(projection.source), len(ids)))
            slots = [np.zeros(len(ids), np.int64)] * isinstance(old, Slotted)
            weight = rng.standard_normal((len(ids), *old.weight.shape[1:])).astype(np.float32)
            blocks[projection.name] = Block(
                weight=weight, mask=np.ones(weight.shape, bool), links=np.stack([sources, ids, *slots], 1)
            )
    positions = None
    if draw(st.booleans()):
        positions = np.sort(rng.permutation(len(columns) + len(ids))[: len(ids)])
    values = columns_for(record, len(ids), rng) if draw(st.booleans()) else {}
    edits = [AddUnits(layer=layer, ids=ids, positions=positions, values=values, blocks=blocks)]
    coupled = [p for p in structure.outgoing(layer) if isinstance(p, OneToOne)]
    alone = coupled and len(coupled) == len(structure.outgoing(layer))  # nothing else reads the new units
    if alone and layer not in pinned(structure):
        grown = edits[0].change(structure)[0]
        edits += _grow(draw, grown, coupled[0].target, {coupled[0].name: ids}, rng)
    return edits


def _grow_at_ends(draw, network, rng):
    """Units of the same ids at both ends of a tied table, each with the same connections at both."""
    (tie,) = ties(network)
    ends = [network.projection(tie.leader).target, network.projection(tie.follower).source]
    count, start = draw(st.integers(1, 2)), max(network.unit_columns(name).next_id for name in ends)
    ids, table = np.arange(start, start + count), network.connection_columns(tie.leader)
    mask = (rng.random((count, 1, *table.inner)) < 0.7) & (tie.targets >= 0)
    weight = np.where(mask, rng.standard_normal(mask.shape), 0).astype(np.float32)
    inner = network.connection_columns(tie.follower).inner
    turned = [part[:, 0, tie.classes].T.reshape(-1, count, *inner) for part in (weight, mask)]
    given = {tie.leader: Block(weight=weight, mask=mask), tie.follower: Block(weight=turned[0], mask=turned[1])}
    edits, structure = [], network
    for layer in dict.fromkeys(ends):
        blocks = {}
        for projection in (*structure.incoming(layer), *structure.outgoing(layer)):
            old, axis = structure.connection_columns(projection.name), 0 if projection.target == layer else 1
            if isinstance(old, Grid):
                drawn = _grid_block(draw, old, count, axis, rng)
                blocks[projection.name] = given.get(projection.name, drawn)
        edits.append(AddUnits(layer=layer, ids=ids, blocks=blocks))
        structure = edits[-1].change(structure)[0]
    return Batch(edits=tuple(edits))


def _grid_block(draw, old, count, axis, rng):
    """Connections of new units of an end, with areas where each pair has its own."""
    shape = [count if place == axis else extent for place, extent in enumerate(old.weight.shape)]
    block = _block(tuple(shape), rng, axis)
    if old.area is None or old.area.shape[axis] != old.weight.shape[axis]:
        return block
    extents = [count if place == axis else extent for place, extent in enumerate(old.area.shape)]
    return block.model_copy(update={"area": rng.random(extents) < draw(st.sampled_from((0.6, 1)))})


def remove_units(draw, network, rng):
    """Some units of one layer, with the islands they leave or without."""
    layer = draw(st.sampled_from([name for name in network.layer_names if len(network.units(name))]))
    count = draw(st.integers(1, max(1, len(network.units(layer)) - 1)))
    edit = RemoveUnits(layer=layer, units=rng.permutation(network.units(layer))[:count])
    return swept(network, [edit]) if draw(st.booleans()) else edit


def set_mask(draw, network, rng):
    """Some connections of a projection woken or pruned."""
    name = draw(st.sampled_from(network.projection_names))
    size = network.connection_columns(name).mask.size
    entries = rng.permutation(size)[: draw(st.integers(0, min(4, size)))]
    active = rng.random(len(entries)) < draw(st.sampled_from((0.3, 0.9)))
    weights = np.where(active, rng.standard_normal(len(entries)), 0).astype(np.float32)
    edit = SetMask(projection=name, entries=entries, active=active, weights=weights)
    return swept(network, [edit]) if draw(st.booleans()) else edit


def set_area(draw, network, rng):
    """Another area of a convolution."""
    names = [name for name in network.projection_names if isinstance(network.projection(name), Conv)]
    if not names:
        return None
    name = draw(st.sampled_from(names))
    size = network.layer(network.projection(name).target).size
    return SetArea(projection=name, area=draw(areas(network.connection_columns(name).weight.shape, size, rng)))


def set_values(draw, network, rng):
    """Other values of some layers' columns and some projections' weights."""
    layers = draw(st.lists(st.sampled_from(network.layer_names), unique=True, max_size=2))
    names = draw(st.lists(st.sampled_from(network.projection_names), unique=True, max_size=2))
    units = {name: columns_for(network.layer(name), len(network.units(name)), rng) for name in layers}
    counts = {name: network.connection_columns(name).active for name in names}
    return SetValues(
        units=units, weights={name: rng.standard_normal(n).astype(np.float32) for name, n in counts.items()}
    )


def set_operations(draw, network, rng):
    """Another chain of operations that leaves the output's size."""
    names = [name for name in network.layer_names if network.layer(name).kind != "input"]
    layer = network.layer(draw(st.sampled_from(names)))
    resizings = tuple(op for op in layer.operations if op.facts.resizes)
    operations = draw(chains(layer.size, resize=False)) + resizings
    may_have_places = layer.size is not None and layer.opaque is None
    places = draw(st.sampled_from((None, None, True, False))) if may_have_places else None
    kept = layer.places if places is None else places
    new = layer.model_copy(update={"operations": operations, "bias": draw(st.booleans()), "places": kept})
    values = columns_for(new, len(network.units(layer.name)), rng) if draw(st.booleans()) else {}
    return SetOperations(layer=layer.name, operations=new.operations, bias=new.bias, values=values, places=places)


def set_interface(draw, network, _rng):
    """Another order and form of what goes in and comes out."""
    return SetInterface(interface=draw(interfaces(network)))


def batch(draw, network, rng):
    """A few edits, each made for what the ones before it left."""
    edits, structure = [], network
    for _ in range(draw(st.integers(0, 3))):
        edit = EDIT_CASES[draw(st.sampled_from([kind for kind in EDIT_CASES if kind is not Batch]))](
            draw, structure, rng
        )
        try:
            structure = structure if edit is None else edit.apply(structure).network
        except EditError:
            continue
        edits += [] if edit is None else [edit]
    return Batch(edits=tuple(edits), title="some edits")


EDIT_CASES: dict[type, Callable[..., AnyEdit | None]] = {
    AddLayer: add_layer,
    RemoveLayer: remove_layer,
    AddProjection: add_projection,
    RemoveProjection: remove_projection,
    AddUnits: add_units,
    RemoveUnits: remove_units,
    SetMask: set_mask,
    SetArea: set_area,
    SetValues: set_values,
    SetOperations: set_operations,
    SetInterface: set_interface,
    Batch: batch,
}
"""For each edit kind a function (draw, network, rng) that makes one that plausibly fits, alone or in a batch."""


@st.composite
def edits_for(draw, network, kinds=tuple(EDIT_CASES)):
    """Edits that plausibly fit a network; not all are legal. Kinds for which it has no place are left out."""
    rng = np.random.default_rng(draw(SEEDS))
    edit = EDIT_CASES[draw(st.sampled_from(kinds))](draw, network, rng)
    return Batch(edits=()) if edit is None else edit
