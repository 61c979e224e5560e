"""What a kind of connections of others has; run by `test_made_up` in a process of its own."""

import itertools
import sys
from pathlib import Path

import numpy as np
import torch

import nestgraph as ng
from nestgraph.edits import AddUnits, Block, RemoveUnits, SetMask, SetValues, way_over
from nestgraph.errors import EditError, VerificationError
from nestgraph.graph import Network, Structure, UnitColumns
from nestgraph.graph.columns import Grid
from nestgraph.graph.reference import forward
from nestgraph.lowering import collect, lower
from nestgraph.lowering.compact import compact
from nestgraph.render import draw_difference
from nestgraph.snapshot import JournalWriter, read_journal, replay
from nestgraph.spec import Dense, Layer
from tests.laws import check_laws


def network(listed):
    """Four inputs, six hidden neurons that read some of them, two outputs."""
    rng = np.random.default_rng(0)
    layers = [
        Layer(name="x", kind="input", features=4),
        Layer(name="h", kind="neurons"),
        Layer(name="y", kind="neurons", output=True),
    ]
    records = [listed.Listed(source="x", target="h", name="some", strength=0.5), Dense(source="h", target="y")]
    units = {layer.name: UnitColumns.neutral(n, layer.column_names) for layer, n in zip(layers, (4, 6, 2), strict=True)}
    pairs = np.array([[s, t] for t in range(6) for s in range(4) if (s + t) % 3], np.int64)
    connections = {
        "some": listed.Pairs.of(rng.standard_normal(len(pairs)), links=pairs),
        "h_to_y": Grid.of(rng.standard_normal((2, 6))),
    }
    return Network.of(Structure(layers, records, units, connections))


def edits(net, listed):
    columns = net.connection_columns("some")
    yield SetMask(projection="some", entries=[1, 4], active=[False, False], weights=[0.0, 0.0])
    yield SetValues(weights={"some": columns.weight + np.float32(0.5)})
    yield RemoveUnits(layer="h", units=[1, 4])
    yield RemoveUnits(layer="x", units=[2])
    block = Block.of(listed.Pairs.of(np.ones(2), links=[[0, 6], [3, 6]]))
    yield AddUnits(layer="h", ids=[6], blocks={"some": block, "h_to_y": Block.of(Grid.of(np.ones((2, 1))))})
    yield ng.edits.prune_connections(net, {"some": [0, 5, 7]})
    yield ng.edits.remove_units(net, "h", [0])


def check_verification(net, listed):
    for broken in ([[9, 0]], [[0, 5], [0, 1]]):
        pairs = listed.Pairs.of(np.ones(len(broken)), links=broken)
        try:
            Network.of(net.replace(connections={"some": pairs}))
        except VerificationError as error:
            print("refused:", error)
        else:
            raise AssertionError("expected pairs that do not fit to be refused")


def check_edits(net, cases):
    """The laws of each, and both orders of each two."""
    for edit in cases:
        assert check_laws(net, edit) is not None, edit
    squares = 0
    for edit, other in itertools.product(cases, repeat=2):
        try:
            first = other.map(way_over(net, [edit])).apply(edit.apply(net).network).network
            second = edit.map(way_over(net, [other])).apply(other.apply(net).network).network
        except EditError:
            continue
        assert first.connection_count == second.connection_count
        squares += first == second
    assert squares > len(cases)


def check_meaning(net):
    """The reference, both forms of the module, and a bench that trains and edits."""
    samples = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    expected = forward(net, samples)["y"]
    with torch.no_grad():
        for module in (lower(net).eval(), compact(net)):
            np.testing.assert_allclose(module(torch.tensor(samples)).numpy(), expected, rtol=1e-4, atol=1e-5)
    bench = ng.Workbench(net, lambda module: torch.optim.Adam(module.parameters(), lr=0.01))
    for _ in range(3):
        bench.optimizers[0].zero_grad()
        bench.module(torch.tensor(samples)).square().mean().backward()
        bench.optimizers[0].step()
    bench.take_in()
    bench.apply(RemoveUnits(layer="h", units=[2]))
    assert collect(bench.network, bench.module) == bench.network


def check_files(net, cases, folder):
    """The document, with the arrays in it and beside it, a journal, and the explicit graph."""
    for place, above in ((folder / "net.json", 10_000), (folder / "beside.json", 0)):
        ng.save(net, place, sidecar_above=above, overwrite=True)
        assert ng.load(place) == net
    with JournalWriter(folder / "journal.jsonl") as journal:
        editor = ng.Editor(net)
        for edit in (cases[0], cases[2]):
            journal.append("apply", editor.apply(edit).network.digest, edit)
    assert replay(net, read_journal(folder / "journal.jsonl")).network == editor.network
    graph = net.graph
    assert graph.number_of_edges() == len(net.connection_columns("some").links) + 12
    records = [net.layer(name) for name in net.layer_names], [net.projection(name) for name in net.projection_names]
    assert Network.from_graph(graph, *records) == net


def check_pictures(net, pruned, folder):
    assert ng.cost(net).by_projection["some"].connections == len(net.connection_columns("some").links)
    for view in ("layers", "neurons", "matrix"):
        ng.draw(net, folder / f"{view}.svg", view)
    for view in ("layers", "neurons"):
        draw_difference(net, pruned, folder / f"changed-{view}.svg", view)
    assert "listed" in (folder / "layers.svg").read_text("utf-8")


def main(folder):
    import listed  # the package

    net = network(listed)
    cases = list(edits(net, listed))
    check_verification(net, listed)
    check_edits(net, cases)
    check_meaning(net)
    check_files(net, cases, folder)
    check_pictures(net, cases[0].apply(net).network, folder)
    print("all of it")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
