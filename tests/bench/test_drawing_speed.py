"""What pictures take: every figure of the table of views, up to AlexNet, in seconds of processor time and bytes."""

import resource
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from nestgraph.edits import prune_connections, remove_units
from nestgraph.render import draw, draw_difference, layer_diagram, neuron_diagram
from nestgraph.render.engine import laid_out
from nestgraph.render.matrix import matrix_scene
from nestgraph.render.svg import svg
from nestgraph.seeds import alexnet, lenet_300_100, mlp
from tests.render.samples import chain

SECONDS, BYTES = 10.0, 5_000_000  # of any picture
VIEWS = ("layers", "neurons", "matrix", "inputs", "areas")


def seconds(call):
    """What a call gives and the processor time that it takes, that of Graphviz included."""
    began, children = time.process_time(), spent_by_children()
    given = call()
    return given, time.process_time() - began + spent_by_children() - children


def spent_by_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.slow
def test_two_hundred_boxes():
    picture, taken = seconds(lambda: laid_out(layer_diagram(chain(200)), "svg"))
    print(f"\nlayer diagram of 200 boxes: {taken:.2f} s, {len(picture) / 1e3:.0f} kB")
    assert taken <= 2


@pytest.mark.slow
def test_a_chain_of_a_hundred_layers():
    root = ElementTree.fromstring(laid_out(layer_diagram(chain(100)), "svg"))
    width, height = (float(root.get(name).removesuffix("pt")) for name in ("width", "height"))
    print(f"\nchain of 100 layers: {width / height:.1f} times as wide as high")
    assert width <= 4 * height


@pytest.mark.slow
def test_a_quarter_million_edges():
    network = lenet_300_100()
    picture, taken = seconds(lambda: neuron_diagram(network))
    print(
        f"\nneurons of {network.graph.number_of_edges():,} edges: {taken:.2f} s, {len(picture.encode()) / 1e6:.2f} MB"
    )
    assert taken <= 2
    assert len(picture.encode()) <= 2_000_000


@pytest.mark.slow
def test_a_matrix_of_sixteen_million_connections():
    network = mlp((4096, 4096), batch_norm=False)
    picture, taken = seconds(lambda: svg(matrix_scene(network)))
    print(f"\nmatrix of 4096 x 4096: {taken:.2f} s, {len(picture) / 1e6:.2f} MB")
    assert taken <= 1


@pytest.mark.slow
def test_every_picture_of_alexnet(tmp_path):
    old = alexnet()
    new = remove_units(old, "fc6", range(100)).apply(old).network
    new = prune_connections(new, {"fc6_to_fc7": np.arange(0, 16_000_000, 3)}).apply(new).network
    made = {
        "picture": lambda path, view: draw(old, path, view),
        "difference": lambda path, view: draw_difference(old, new, path, view),
    }
    print()
    for what, make in made.items():
        for view in VIEWS:
            for suffix in ("svg", "png", "pdf"):
                path, taken = seconds(lambda make=make, view=view, suffix=suffix: make(tmp_path / f"a.{suffix}", view))
                size = path.stat().st_size
                print(f"AlexNet, {what} of {view} as {suffix}: {taken:.2f} s, {size / 1e6:.2f} MB", flush=True)
                assert taken <= SECONDS
                assert size <= BYTES


@pytest.mark.slow
def test_deep_and_wide_networks(tmp_path):
    networks = {"4,000 layers": chain(4000), "300,000 inputs": mlp((300_000, 20, 10), batch_norm=False)}
    for name, network in networks.items():
        for view in VIEWS[:3]:
            for suffix in ("svg", "png"):
                path, taken = seconds(
                    lambda network=network, view=view, suffix=suffix: draw(network, tmp_path / f"a.{suffix}", view)
                )
                print(f"\n{name}, {view} as {suffix}: {taken:.2f} s, {path.stat().st_size / 1e6:.2f} MB", end="")
                assert taken <= SECONDS
                assert path.stat().st_size <= BYTES
    print()
