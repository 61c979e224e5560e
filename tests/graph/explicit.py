"""The explicit graph of a network, built by loops over its arrays: the oracle of the views."""

import networkx as nx
import numpy as np

from nestgraph.graph.columns import Links
from nestgraph.spec import Argument, Match


def connections_of(network, projection):
    """Yield (source id, target id, weights, mask, area or None) for each pair that a projection could join."""
    columns = network.connection_columns(projection.name)
    if isinstance(projection, Argument):
        for target in network.units(projection.target).tolist():
            for source in network.units(projection.source).tolist():
                if source == target or not network.layer(projection.target).unitwise:
                    yield source, target, np.float32(0), np.False_, None
        return
    if isinstance(projection, Match):
        yield from met(columns)
        return
    if isinstance(columns, Links):
        for place, (source, target) in enumerate(columns.links.tolist()):
            yield source, target, columns.weight[place], columns.mask[place], None
        return
    for row, target in enumerate(network.units(projection.target).tolist()):
        for column, source in enumerate(network.units(projection.source).tolist()):
            area = None if columns.area is None else columns.area[row, column % columns.area.shape[1]]
            yield source, target, columns.weight[row, column], columns.mask[row, column], area


def met(columns):
    """The connections of a match: a number, or several where two units meet at several slots."""
    for source, target in sorted({(source, target) for source, target, _ in columns.links.tolist()}):
        places = np.flatnonzero((columns.links[:, :2] == (source, target)).all(axis=1))
        places = places[0] if len(places) == 1 else places
        yield source, target, columns.weight[places], columns.mask[places], None


def slots_of(network, projection, source, target):
    """The slots at which a match joins two units, by its name; empty for other projections."""
    if not isinstance(projection, Match):
        return {}
    links = network.connection_columns(projection.name).links.tolist()
    return {projection.name: [slot for *ends, slot in links if ends == [source, target]]}


def explicit_graph(network):
    """A networkx.DiGraph with a dict edge for each pair of units that an active connection joins."""
    graph = nx.DiGraph()
    for name in network.layer_names:
        columns = network.unit_columns(name)
        for place, unit in enumerate(columns.ids.tolist()):
            values = {column: array[place].tolist() for column, array in columns.values.items()}
            graph.add_node((name, unit), layer=name, kind=network.layer(name).kind, **values)
    for projection in sorted(network.projections_by_name.values(), key=lambda p: p.name):
        for source, target, weight, mask, area in connections_of(network, projection):
            if mask.any() or isinstance(projection, Argument):
                ends = (projection.source, source), (projection.target, target)
                old = graph.get_edge_data(*ends) or {"weight": 0.0, "connections": 0, "projections": ()}
                data = {
                    "weight": old["weight"] + float(np.sum(weight, dtype=np.float64)),
                    "connections": old["connections"] + int(mask.sum()),
                    "projections": (*old["projections"], projection.name),
                    "blocks": old.get("blocks", {}) | {projection.name: np.where(mask, weight, None).tolist()},
                    "slots": old.get("slots", {}) | slots_of(network, projection, source, target),
                    "areas": old.get("areas", {}) | ({} if area is None else {projection.name: area.tolist()}),
                }
                graph.add_edge(*ends, **data)
    for _, _, data in graph.edges(data=True):
        blocks, areas, slots = data.pop("blocks"), data.pop("areas"), data.pop("slots")
        if len(blocks) > 1 or any(isinstance(block, list) for block in blocks.values()):
            data["weights"] = blocks
        if areas:
            data["areas"] = areas
        if slots:
            data["slots"] = slots
    return graph
