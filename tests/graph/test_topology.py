"""The arrays answer as networkx does on the explicit graph."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.errors import StructureError
from nestgraph.graph import Grid, Links, Network, Structure
from nestgraph.graph.topology import Topology
from nestgraph.spec import Dense, OneToOne
from tests.graph.explicit import explicit_graph
from tests.laws import quick
from tests.strategies import SEEDS, networks


@st.composite
def structures(draw):
    """Networks, and what is left of them when connections die at random: units without a path, several components."""
    network = draw(networks())
    if draw(st.booleans()):
        return network
    rng = np.random.default_rng(draw(SEEDS))
    thinned = {}
    for name in network.projection_names:
        columns = network.connection_columns(name)
        kept = columns.mask & (rng.random(columns.mask.shape) < 0.4)
        thinned[name] = columns.with_weight(np.where(kept, columns.weight, 0), kept)
    return network.replace(connections=thinned)


def flags(graph, chosen):
    return [node in chosen for node in graph]


def computed_together(structure, name):
    """The nodes of a layer by what mixes them: the body of an opaque layer all, a norm those of its group."""
    layer, ids = structure.layer(name), structure.units(name)
    whole = [np.zeros(len(ids))] * (layer.opaque is not None and not layer.unitwise)
    for groups in [*whole, *(op.mixed(ids) for op in layer.operations if op.facts.reach == "layer")]:
        for group in np.unique(groups):
            yield [(name, int(unit)) for unit in ids[groups == group]]


@quick(60)
@given(structure=structures(), data=st.data())
def test_reach_and_distance(structure, data):
    graph, topology = explicit_graph(structure), Topology(structure)
    some = data.draw(st.lists(st.sampled_from(list(graph)), unique=True, min_size=1))
    for node in some:
        assert topology.descendants(node).tolist() == flags(graph, nx.descendants(graph, node))
        assert topology.ancestors(node).tolist() == flags(graph, nx.ancestors(graph, node))
        lengths = nx.single_source_shortest_path_length(graph, node)
        assert topology.distances(node).tolist() == [lengths.get(other, -1) for other in graph]
        assert [topology.has_path(node, other) for other in graph] == flags(graph, lengths)
    mask = np.array(flags(graph, some))
    assert mask.sum() == len(topology.nodes(mask)) == len(some)
    for several in (some, mask):
        assert topology.descendants(several).tolist() == flags(
            graph, set().union(*(nx.descendants(graph, n) for n in some))
        )
        assert topology.ancestors(several).tolist() == flags(
            graph, set().union(*(nx.ancestors(graph, n) for n in some))
        )
        nearest = nx.multi_source_dijkstra_path_length(graph, set(some), weight=None)
        assert topology.distances(several).tolist() == [nearest.get(node, -1) for node in graph]


@quick(60)
@given(structure=structures())
def test_parts_depth_and_degrees(structure):
    graph, topology = explicit_graph(structure), Topology(structure)
    component = {node: i for i, part in enumerate(nx.weakly_connected_components(graph)) for node in part}
    depth = {node: i for i, part in enumerate(nx.topological_generations(graph)) for node in part}
    assert topology.components.tolist() == [component[node] for node in graph]
    assert topology.depth.tolist() == [depth[node] for node in graph]
    assert topology.is_acyclic
    assert topology.in_degrees.tolist() == [degree for _, degree in graph.in_degree()]
    assert topology.out_degrees.tolist() == [degree for _, degree in graph.out_degree()]
    inputs = [node for node in graph if structure.layer(node[0]).kind == "input"]
    outputs = [node for node in graph if structure.layer(node[0]).output]
    gates = {name for name, projection in structure.projections_by_name.items() if projection.gates}
    joined = graph.edges.data("projections")
    summed = graph.edge_subgraph((u, v) for u, v, names in joined if not gates.issuperset(names))
    tied, fed_by = graph.copy(), nx.DiGraph(summed)
    for name in structure.layer_names:
        for together in computed_together(structure, name):
            nx.add_cycle(tied, together)
            nx.add_cycle(fed_by, together)
    fed = set(inputs).union(*(nx.descendants(fed_by, node) for node in inputs if node in fed_by))
    read = set(outputs).union(*(nx.ancestors(tied, node) for node in outputs))
    assert topology.islands.tolist() == flags(graph, set(graph) - (fed & read))


@quick(60)
@given(structure=structures())
def test_generations_come_in_the_order_of_networkx(structure):
    topology = Topology(structure)
    expected = [list(part) for part in nx.topological_generations(explicit_graph(structure))]
    assert [topology.nodes(numbers) for numbers in topology.generations] == expected


@quick(20)
@given(network=networks())
def test_units_are_numbered_in_the_order_of_the_graph(network):
    topology = network.topology
    assert topology is network.topology
    assert len(topology) == network.unit_count
    assert [topology.number(node) for node in network.graph] == list(range(len(topology)))
    assert topology.nodes(np.arange(len(topology))[::-1]) == list(network.graph)[::-1]
    chosen = np.arange(len(topology)) % 3 == 0
    assert [(layer, unit) for layer, units in topology.ids(chosen).items() for unit in units] == topology.nodes(chosen)
    assert not any(
        array.flags.writeable
        for array in (topology.components, topology.depth, topology.islands, topology.in_degrees, *topology.generations)
    )


def joined_twice(first, second, dense=None):
    """Layers x and y of three units with two one-to-one projections, as pairs of positions, and perhaps a dense one."""
    graph = nx.DiGraph([(("x", i), ("y", i)) for i in range(3)])
    network = Network.from_graph(graph, projections=[OneToOne(source="x", target="y", name="first")])
    columns = {
        name: Links.of(np.ones(len(links)), links=np.array(links))
        for name, links in (("first", first), ("second", second))
    }
    projections = {"second": OneToOne(source="x", target="y", name="second")}
    if dense is not None:
        projections["all"] = Dense(source="x", target="y", name="all")
        columns["all"] = Grid.of(np.array(dense, float), np.array(dense, bool))
    return network.replace(projections=projections, connections=columns)


@pytest.mark.parametrize("dense", [None, [[1, 0, 1], [0, 0, 0], [0, 1, 0]]])
def test_a_pair_that_two_projections_join_is_one_edge(dense):
    structure = joined_twice([(2, 0), (0, 1), (1, 2)], [(2, 0), (1, 1), (0, 2)], dense)
    graph, topology = explicit_graph(structure), Topology(structure)
    assert topology.in_degrees.tolist() == [degree for _, degree in graph.in_degree()]
    assert topology.out_degrees.tolist() == [degree for _, degree in graph.out_degree()]
    expected = list(nx.topological_generations(graph))
    assert [topology.nodes(numbers) for numbers in topology.generations] == expected


@quick(3)
@given(network=networks())
def test_strange_units_are_refused_with_a_reason(network):
    topology = network.topology
    strange = [("nobody", 0), ("x", -1), ("x", "0"), [("x", [])], [7], np.ones(len(topology) + 1, bool), np.arange(2)]
    for units in strange:
        for query in (topology.descendants, topology.ancestors, topology.distances):
            with pytest.raises(StructureError, match="topology expected"):
                query(units)
    with pytest.raises(StructureError, match="topology expected"):
        topology.has_path(("nobody", 0), ("nobody", 0))


def test_nothing_reaches_nothing():
    topology = Topology(Structure((), (), {}, {}))
    assert len(topology) == 0
    assert topology.is_acyclic
    assert topology.components.tolist() == topology.islands.tolist() == []
