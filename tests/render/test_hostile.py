"""Labels are text: whatever they hold, a picture has no script, handler, style sheet, markup or reference."""

import io
import json
import re
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pygraphviz
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import nestgraph  # noqa: F401  (which fills the slot of notebooks)
from nestgraph.edits import Batch, Editor, diff
from nestgraph.render import (
    curves,
    draw,
    draw_difference,
    layer_diagram,
    neuron_diagram,
    neuron_dot,
    write_interchange,
)
from nestgraph.render.canvas import painted
from nestgraph.render.engine import laid_out
from nestgraph.render.neuron_diagram import neuron_scene
from nestgraph.spec import Layer
from nestgraph.spec.record import MAX_TEXT, check_text
from tests.laws import quick
from tests.render.samples import gated, mlp

LABELS = (
    '"; DROP TABLE layers; --',
    "</script><script>alert(1)</script>",
    "<b>bold</b><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "<<TABLE><TR><TD HREF='javascript:alert(1)'>x</TD></TR></TABLE>>",
    r"\N \G \L \E \\ \" \n \l",
    "&lt;b&gt; &amp; &#x41; &unknown;",
    "]]> <!-- --> <?php ?> <![CDATA[",
    '" URL="javascript:alert(1)" x="',
    'fc1 -> x; x [fontname="evil"]',
    "$\\frac{1}{0}$ $unclosed",
    "漢字 العربية 🙂 e\u0301 \ufffe \uffff",
    "{a|b} <port> %s {0} {x!r}",
    "x" * MAX_TEXT,
)
ALLOWED_TAGS = {
    "image",
    "svg",
    "g",
    "title",
    "desc",
    "rect",
    "path",
    "circle",
    "text",
    "polygon",
    "polyline",
    "ellipse",
}
free_text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=60)


def is_harmless(text):
    try:
        check_text(text)
    except ValueError:
        return False
    return True


def check_svg(text):
    """Return the root of an SVG text that is well-formed and made of shapes and words only."""
    root = ElementTree.fromstring(text)
    for element in root.iter():
        assert element.tag.rpartition("}")[2] in ALLOWED_TAGS
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            assert not name.endswith("href") or re.fullmatch("data:image/png;base64,[A-Za-z0-9+/=]+", value)
            assert name != "style"
            assert "javascript:" not in value
            assert "url(" not in value
    return root


def shown_words(root):
    return "".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text"))


def letters(text):
    """Text as it can be compared across spacing, ellipses and replaced code points."""
    return re.sub(r"[\s\ufffd\ufffe\uffff]", "", text)


@pytest.mark.parametrize("label", LABELS)
def test_hostile_labels_are_shown_as_text(label):
    network = mlp(3, 2, 1, label=label)
    for text in (laid_out(layer_diagram(network), "svg").decode(), neuron_diagram(network)):
        assert letters(label)[:12] in letters(shown_words(check_svg(text)))


@quick(25)
@given(free_text.filter(is_harmless))
def test_any_label_keeps_the_graph_and_the_svg_whole(label):
    network, plain = mlp(3, 2, 1, label=label), mlp(3, 2, 1)
    for write in (layer_diagram, neuron_dot):
        drawn, expected = (pygraphviz.AGraph(string=write(each)) for each in (network, plain))
        assert sorted(drawn.nodes()) == sorted(expected.nodes())
        assert sorted(drawn.edges()) == sorted(expected.edges())
        assert set(drawn.graph_attr) == set(expected.graph_attr)
    assert letters(label)[:4] in letters(shown_words(check_svg(neuron_diagram(network))))


@pytest.mark.parametrize("label", LABELS)
def test_hostile_labels_change_no_attribute_of_the_dot_form(label):
    graphs = [pygraphviz.AGraph(string=neuron_dot(mlp(3, 2, 1, label=text))) for text in (label, "plain")]
    looks = [
        {str(node): {name: value for name, value in node.attr.items() if name != "label"} for node in graph.nodes()}
        for graph in graphs
    ]
    assert looks[0] == looks[1]


def levels_of(scene):
    """How light each pixel of a scene is."""
    return np.asarray(Image.open(io.BytesIO(painted(scene, "png"))).convert("L"), np.int64)


@cache
def plain_levels():
    return levels_of(neuron_scene(mlp(3, 2, 1, label=".")))


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.filterwarnings("error")
def test_hostile_labels_paint(label):
    scene = neuron_scene(mlp(3, 2, 1, label=label))
    levels, plain = levels_of(scene), plain_levels()
    assert levels.shape == plain.shape
    changed = np.argwhere(abs(levels - plain) > 60)  # a palette each, so colours differ a little
    assert changed[:, 0].max() < 2 * 112  # a label stays in its line of the heading
    assert painted(scene, "pdf").startswith(b"%PDF-")


@pytest.mark.parametrize("labels", [LABELS[place : place + 3] for place in range(0, len(LABELS), 3)])
def test_hostile_phases_are_text_in_curves(tmp_path, labels):
    """As many in a picture as it has room to name."""
    phases = enumerate(labels * 3 if len(labels) == 1 else sorted(labels * 2, key=labels.index))
    log = [{"step": step, "phase": label, "connections": 10 + step, "accuracy": 0.5} for step, label in phases]
    root = ElementTree.parse(curves(log, tmp_path / "c.svg")).getroot()
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "defs", "style", "g", "path", "text", "use", "clipPath", "rect", "metadata"} | {
        "RDF", "Work", "type", "format", "creator", "Agent", "title"}  # fmt: skip
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            assert not name.endswith("}href") or value.startswith("#")
    shown = letters("".join(element.text or "" for element in root.iter() if element.tag.endswith("}text")))
    assert all(shown.count(letters(label)[:8]) >= 2 for label in labels)  # above the curves and beside a marker


def test_hostile_labels_are_text_in_every_other_view_and_difference(tmp_path):
    """All in one picture."""
    widths = [2 + place % 2 for place in range(len(LABELS))]  # no two neighbours are equal, so that none fold
    old, new = (mlp(4, first, *widths, 1, label=LABELS) for first in (3, 4))
    opaque = gated(*LABELS)
    for view, theme in zip(("layers", "neurons", "matrix", "inputs"), ("light", "dark", "light", "dark"), strict=True):
        check_svg(draw_difference(old, new, tmp_path / "d.svg", view, theme=theme).read_text())
        if view != "inputs":
            check_svg(draw(opaque, tmp_path / "o.svg", view, theme=theme).read_text())
            draw(opaque, tmp_path / "o.png", view, theme=theme)


@pytest.mark.parametrize("label", LABELS)
def test_hostile_words_are_text_in_notebooks_and_files(tmp_path, label):
    network = gated(label)
    batch = Batch(edits=diff(network, mlp(4, 3, 1)).edits, title=label)
    for shown in (network, Editor(network), batch):
        data = shown._repr_mimebundle_()
        assert set(data) == {"text/plain", "image/svg+xml"}
        assert sum(map(len, data.values())) < 300_000
        check_svg(data["image/svg+xml"])
    assert letters(label)[:12] in letters(shown_words(check_svg(batch._repr_mimebundle_()["image/svg+xml"])))
    for form in ("graphml", "node-link", "model-explorer"):
        for path in write_interchange(network, tmp_path / f"net.{form}", form):
            if form == "graphml":
                tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
                assert tags <= {"graphml", "key", "graph", "node", "edge", "data"}
            else:
                assert letters(label)[:12] in letters(json.dumps(json.loads(path.read_text()), ensure_ascii=False)) or (
                    path.name.count(".") > 1 or "\\" in label or '"' in label
                )


def test_a_layer_name_cannot_carry_markup():
    with pytest.raises(ValueError, match="name"):
        Layer(name="a<b>", kind="neurons")
