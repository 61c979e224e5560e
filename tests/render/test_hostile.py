"""Labels are text: whatever they hold, a picture has no script, handler, style sheet, markup or reference."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pygraphviz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nestgraph.render import curves, layer_diagram, neuron_diagram, neuron_dot
from nestgraph.render.canvas import painted
from nestgraph.render.engine import laid_out
from nestgraph.render.neuron_diagram import neuron_scene
from nestgraph.spec import Layer
from nestgraph.spec.record import MAX_TEXT, check_text
from tests.render.samples import mlp

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
ALLOWED_TAGS = {"svg", "g", "title", "desc", "rect", "path", "circle", "text", "polygon", "polyline", "ellipse"}
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
            assert not name.endswith("href")
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


@settings(deadline=None, max_examples=25)
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


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.filterwarnings("error")
def test_hostile_labels_paint(label):
    scene = neuron_scene(mlp(3, 2, 1, label=label))
    plain = neuron_scene(mlp(3, 2, 1, label="."))
    pictures = [Image.open(io.BytesIO(painted(each, "png"))).convert("L") for each in (scene, plain)]
    assert pictures[0].size == pictures[1].size
    levels = [np.asarray(picture, np.int64) for picture in pictures]
    changed = np.argwhere(abs(levels[0] - levels[1]) > 60)  # a palette each, so colours differ a little
    assert changed[:, 0].max() < 2 * 112  # a label stays in its line of the heading
    assert painted(scene, "pdf").startswith(b"%PDF-")


@pytest.mark.parametrize("label", LABELS)
def test_hostile_phases_are_text_in_curves(tmp_path, label):
    log = [{"step": step, "phase": label, "connections": 10 + step, "accuracy": 0.5} for step in range(3)]
    root = ElementTree.parse(curves(log, tmp_path / "c.svg")).getroot()
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "defs", "style", "g", "path", "text", "use", "clipPath", "rect", "metadata"} | {
        "RDF", "Work", "type", "format", "creator", "Agent", "title"}  # fmt: skip
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            assert not name.endswith("}href") or value.startswith("#")
    shown = letters("".join(text for element in root.iter() for text in element.itertext()))
    assert letters(label)[:8] in shown


def test_a_layer_name_cannot_carry_markup():
    with pytest.raises(ValueError, match="name"):
        Layer(name="a<b>", kind="neurons")
