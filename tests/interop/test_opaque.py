"""Opaque layers: bodies come back on every way, are counted, and cost what their units cost."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nestgraph as ng
from nestgraph.edits import AddProjection, Batch, Block, Editor, RemoveLayer, RemoveProjection, diff
from nestgraph.graph import cost
from nestgraph.graph.pairs import Complete, Matrix, united
from nestgraph.interop.importing import import_module
from nestgraph.interop.opaque import Gathered
from nestgraph.interop.report import import_report
from nestgraph.snapshot.files import from_bytes, to_bytes
from nestgraph.spec import Dense
from tests.interop.odd_modules import written
from tests.laws import quick


class Sort(nn.Module):
    """Computes what no kind covers, with parameters of its own where it is given a width."""

    def __init__(self, width=0):
        super().__init__()
        self.inner = nn.Linear(width, width) if width else nn.Identity()

    def forward(self, x):
        return torch.sort(self.inner(x) if x.sum() > -1e9 else x, 1).values


def sorting(width=6, inner=False):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, width), Sort(width if inner else 0), nn.Linear(width, 3)).eval()
    return module, import_module(module, torch.rand(2, 5))


def bypassed(network):
    """An edit that puts a dense projection in the place of the opaque layer."""
    (name,) = network.bodies
    touching = (*network.incoming(name), *network.outgoing(name))
    source, target = network.incoming(name)[0].source, network.outgoing(name)[0].target
    weight = np.ones((len(network.units(target)), len(network.units(source))), np.float32)
    short = AddProjection(
        projection=Dense(source=source, target=target, name="short"), connections=Block(weight=weight, mask=weight > 0)
    )
    return Batch(edits=[*(RemoveProjection(projection=p.name) for p in touching), RemoveLayer(layer=name), short])


def same(network, other):
    x = torch.rand(4, 5)
    return torch.equal(ng.lower(network).eval()(x), ng.lower(other).eval()(x))


def test_a_body_comes_back_on_every_way():
    _, network = sorting()
    edit = bypassed(network)
    applied = edit.apply(network)
    back = applied.inverse.apply(applied.network)
    again = back.inverse.apply(back.network)
    for found in (
        back.network,
        again.inverse.apply(again.network).network,
        diff(applied.network, network).apply(applied.network).network,
    ):
        assert found == network
        assert found.bodies == network.bodies
        assert same(found, network)
    for editor in (Editor(network), ng.Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))):
        editor.apply(edit)
        twin = editor.branch()
        for each in (editor, twin):
            assert same(each.undo(), network)
            assert not each.redo().bodies
            assert same(each.undo(), network)
    later = Editor(applied.network)  # which has never seen the body
    later.apply(applied.inverse)
    assert same(later.network, network)
    later.undo()
    assert same(later.redo(), network)


def test_an_edit_says_nothing_of_the_body_it_holds():
    _, network = sorting()
    inverse = bypassed(network).apply(network).inverse
    assert type(inverse).model_validate_json(inverse.model_dump_json()) == inverse
    assert "body" not in inverse.model_dump_json()


def test_parameters_of_bodies_are_counted_or_named():
    module, network = sorting(inner=True)
    held = sum(parameter.numel() for parameter in module.parameters())
    assert cost(network).total.parameters == held
    assert f"{held:,}" in network.summary()
    assert "not those of 1 opaque layer" in network.summary()
    report = import_report(network)
    assert report.opaque_share == pytest.approx(42 / held)
    assert f"1 opaque with {42 / held:.0%} of the parameters" in str(report)
    bare = from_bytes(to_bytes(network))
    (name,) = network.bodies
    assert cost(bare).total.parameters == held - 42
    assert cost(bare).uncounted == (name,)
    assert f"nor the parameters inside {name}" in bare.summary()
    assert "without a body" in str(import_report(bare))


def peak(units):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, units), Sort(), nn.Linear(units, 2)).eval()
    tracemalloc.start()
    import_module(module, torch.randn(2, 2))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_of_an_import_grows_with_the_units_and_not_with_their_square():
    peak(100)
    assert peak(16_000) < 8 * peak(4_000)


def test_a_whole_layer_is_read_without_an_index():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), written(lambda _, x: x.flip(1).softmax(1))
    )
    images = torch.randn(2, 3, 8, 8)
    network = import_module(module, images)
    indexed = [
        part.index is not None
        for body in network.bodies.values()
        for part in body.module.modules()
        if isinstance(part, Gathered)
    ]
    assert sorted(indexed) == [False, True]
    torch.testing.assert_close(ng.lower(network).eval()(images), module(images))
    torch.testing.assert_close(ng.lower(network).double().eval()(images.double()), module.double()(images.double()))


@quick()
@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_all_pairs_answer_as_a_matrix_of_them_does(targets, sources, data):
    complete, matrix = Complete((targets, sources)), Matrix(np.ones((targets, sources), bool))
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=sources, max_size=sources)))
    heeded = np.array(data.draw(st.lists(st.booleans(), min_size=targets, max_size=targets)))
    order = np.flatnonzero(chosen)
    for got, wanted in (
        (complete.onward(chosen), matrix.onward(chosen)),
        (complete.back(heeded), matrix.back(heeded)),
        (complete.matrix(), matrix.matrix()),
        (
            complete.holds(np.arange(targets), np.zeros(targets, int)),
            matrix.holds(np.arange(targets), np.zeros(targets, int)),
        ),
        *zip(complete.degrees(), matrix.degrees(), strict=True),
        *(zip(complete.lead(order), matrix.lead(order), strict=True) if len(order) else ()),
    ):
        np.testing.assert_array_equal(got, wanted)
    assert united([matrix, complete]) is complete


HALF_WAY = {
    "a part by one of its values": lambda c: c / c[:, :, :1],
    "by a sum": lambda c: c / c.abs().sum(-1, keepdim=True),
    "by a norm": lambda c: c / c.norm(dim=-1, keepdim=True),
    "by what is read again": lambda c: (lambda n: c / (1 + n) + n)(c.norm(dim=-1, keepdim=True)),
    "by one of its parts": lambda c: c / c[:, :1],
}


@pytest.mark.parametrize("step", HALF_WAY)
def test_a_step_that_is_covered_half_way_leaves_what_it_reads_as_it_was(step):
    """A quotient is a product with a reciprocal, which the divisor's layer has gained when the product is refused."""
    torch.manual_seed(0)
    divided = written(
        lambda self, x: HALF_WAY[step](self.linear(x).reshape(-1, 4, 4)).flatten(1), linear=nn.Linear(7, 16)
    )
    module, x = divided.eval(), torch.randn(4, 7)
    network = ng.import_module(module, x)
    torch.testing.assert_close(ng.lower(network).eval()(x), module(x), rtol=1e-3, atol=1e-4)


class FixedPlaces(nn.Module):
    """Sorts and reads rows of images of eight rows alone."""

    def __init__(self):
        super().__init__()
        self.maps, self.end = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        maps = torch.relu(self.maps(x))
        rows = maps.permute(0, 2, 3, 1)[:, [0, 3, 2, 1, 5, 4, 7, 6]]
        return self.end((torch.cumsum(rows, 1).permute(0, 3, 1, 2) + torch.sort(maps, 1)[0]).mean((2, 3)))


def test_a_size_that_a_body_does_not_take_is_tried_in_silence(capsys):
    network = ng.import_module(FixedPlaces().eval(), torch.randn(2, 3, 8, 8))
    assert not any(port.free for port in network.inputs)
    assert capsys.readouterr() == ("", "")
