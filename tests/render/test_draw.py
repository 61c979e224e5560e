import io
import os
import stat
from importlib import metadata
from xml.etree import ElementTree

import pytest
from hypothesis import given
from PIL import Image

import nestgraph
from nestgraph.errors import RenderError
from nestgraph.render import draw, engine, layer_diagram, mimebundle, neuron_dot
from nestgraph.render.engine import laid_out
from nestgraph.render.files import marked
from tests.laws import quick
from tests.render.samples import chain, gated, lenet_5, mlp, residual
from tests.strategies import networks

VIEWS = ("layers", "neurons")


def as_written(text):
    return marked(text.encode()).decode()


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda _: None)
    monkeypatch.setattr(engine, "find_spec", lambda _: None)


@pytest.fixture
def bundled_engine(monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda _: None)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.usefixtures("bundled_engine")
def test_every_format_opens(tmp_path, view):
    network = residual()
    assert draw(network, tmp_path / "net.dot", view).read_text().startswith("digraph")
    ElementTree.parse(draw(network, str(tmp_path / "net.svg"), view))
    with Image.open(draw(network, tmp_path / "net.PNG", view)) as image:
        image.load()
        assert image.format == "PNG"
        assert min(image.size) > 200
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24)) > 10
    pdf = draw(network, tmp_path / "net.pdf", view).read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("suffix", ["dot", "svg", "png", "pdf"])
def test_the_same_network_gives_the_same_bytes(tmp_path, monkeypatch, view, suffix):
    first = draw(residual(), tmp_path / f"a.{suffix}", view).read_bytes()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert draw(residual(), tmp_path / f"b.{suffix}", view).read_bytes() == first
    assert b"19700101" in first or b"Date" not in first


@pytest.mark.parametrize("view", ["matrix", "inputs", "areas"])
@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_rasters_and_maps_repeat_too(tmp_path, monkeypatch, view, suffix):
    first = draw(residual(), tmp_path / f"same.{suffix}", view).read_bytes()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert draw(residual(), tmp_path / f"same.{suffix}", view).read_bytes() == first


def test_svg_names_no_version_and_no_foreign_document():
    text = laid_out(layer_diagram(mlp(3, 2)), "svg")
    assert b"<!--" not in text
    assert b"DOCTYPE" not in text
    assert b"graphviz version" not in text


def test_the_view_is_neurons_where_it_fits(tmp_path):
    small, wide, dense, deep = mlp(4, 3, 2), mlp(290, 9, 2), mlp(60, 60, 2), chain(40)
    assert draw(small, tmp_path / "a.dot").read_text() == as_written(neuron_dot(small))
    for network in (wide, dense, deep):
        assert draw(network, tmp_path / "a.dot").read_text() == as_written(layer_diagram(network))


@pytest.mark.parametrize("name", ["net", "net.jpg", "net.svg.exe", "svg", ".svg"])
def test_other_suffixes_are_refused_with_the_four(tmp_path, name):
    with pytest.raises(RenderError, match=r"\.dot, \.svg, \.png, \.pdf"):
        draw(mlp(2, 1), tmp_path / name)


def test_other_views_are_refused(tmp_path):
    with pytest.raises(RenderError, match="'layers', 'neurons', 'matrix', 'inputs', 'areas'"):
        draw(mlp(2, 1), tmp_path / "net.svg", "heat")


@pytest.mark.parametrize("name", ["missing/net.svg", "a\0b.svg", "x" * 300 + ".svg"])
def test_a_path_that_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(RenderError, match=r"cannot be written|without NUL|names of at most 255"):
        draw(mlp(2, 1), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_picture_and_no_rest(tmp_path, monkeypatch):
    path = draw(mlp(2, 1), tmp_path / "net.svg")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RenderError, match="no space left"):
        draw(mlp(3, 3, 1), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    drawn = draw(mlp(2, 1), tmp_path / "net.svg")
    assert stat.S_IMODE(drawn.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.usefixtures("no_engine")
def test_without_graphviz_the_dot_text_is_written_beside(tmp_path):
    network = mlp(4, 3, 2)
    with pytest.raises(RenderError, match=r"net\.dot") as caught:
        draw(network, tmp_path / "net.png", "layers")
    assert "pygraphviz" in str(caught.value)
    assert (tmp_path / "net.dot").read_text() == as_written(layer_diagram(network))
    assert not (tmp_path / "net.png").exists()


@pytest.mark.usefixtures("no_engine")
def test_neurons_need_no_graphviz(tmp_path):
    for suffix in ("dot", "svg", "png", "pdf"):
        assert draw(mlp(4, 3, 2), tmp_path / f"net.{suffix}", "neurons").stat().st_size > 500


def test_dot_on_the_path_is_preferred(tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\ncat > /dev/null\nprintf '<svg>%s</svg>' \"$1\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert laid_out("digraph {}", "svg") == b"<svg>-Tsvg</svg>"
    assert engine.version() == "unknown"
    program.write_text("#!/bin/sh\necho 'dot - graphviz version 2.43.0 (0)' >&2\n")
    assert engine.version() == "2.43.0"


def test_the_version_is_that_of_the_wheel_or_none(bundled_engine, monkeypatch):  # noqa: ARG001
    assert engine.version() == f"in pygraphviz {metadata.version('pygraphviz')}"
    monkeypatch.setattr(engine, "find_spec", lambda _: None)
    assert engine.version() == "none"


@pytest.mark.usefixtures("bundled_engine")
def test_an_engine_that_fails_is_a_clear_error():
    with pytest.raises(RenderError, match="got exit"):
        laid_out("digraph {", "svg")


def test_notebooks_get_one_line_and_a_small_picture():
    for network in (mlp(4, 3, 2), mlp(784, 300, 100, 10), lenet_5(), chain(100), residual()):
        bundle = mimebundle(network)
        assert set(bundle) == {"text/plain", "image/svg+xml"}
        assert bundle["text/plain"] == repr(network)
        assert len(bundle["image/svg+xml"].encode()) <= 200_000
        ElementTree.fromstring(bundle["image/svg+xml"])
    assert set(mimebundle(chain(300))) == {"text/plain"}


def test_notebooks_show_editors_and_edits():
    editor = nestgraph.Editor(mlp(4, 3, 2))
    editor.apply(nestgraph.edits.remove_units(editor.network, "fc1", [1]))
    data = editor._repr_mimebundle_()
    assert data["text/plain"].startswith("<Editor: 1 edits applied>")
    assert data["image/svg+xml"] == mimebundle(editor.network)["image/svg+xml"]
    steps = nestgraph.diff(mlp(4, 3, 2), editor.network)
    card = steps._repr_mimebundle_()
    assert len(card["text/plain"].splitlines()) == 1 + len(steps.edits)
    assert "- RemoveUnits on layer 'fc1'" in card["text/plain"]
    ElementTree.fromstring(card["image/svg+xml"])
    many = nestgraph.edits.Batch(edits=steps.edits * 1000)
    shown = many._repr_mimebundle_()
    assert "more" in shown["text/plain"]
    assert sum(len(value.encode()) for value in shown.values()) < 20_000


def test_notebooks_show_opaque_layers_and_gates():
    network = gated()
    text = mimebundle(network)["image/svg+xml"]
    assert "dash-dotted: a gate, which multiplies" in text
    assert "dotted grey: read by an opaque layer" in text
    assert "x 0 → o 1: argument" in text


@pytest.mark.usefixtures("no_engine")
def test_notebooks_without_graphviz_get_the_strongest_units():
    picture = mimebundle(mlp(784, 300, 100, 10))["image/svg+xml"]
    assert len(picture.encode()) <= 200_000
    assert "of 1,194 units" in picture


@quick(12)
@given(networks())
def test_any_network_becomes_a_png(network):
    from nestgraph.render.canvas import painted
    from nestgraph.render.neuron_diagram import neuron_scene

    scene = neuron_scene(network)
    with Image.open(io.BytesIO(painted(scene, "png"))) as image:
        assert image.size == pytest.approx((2 * scene.width, 2 * scene.height), abs=2)
