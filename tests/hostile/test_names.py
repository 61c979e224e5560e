"""Hostile names are refused with a sentence; hostile text is text in whatever reads it, and never runs."""

import ast
import json
import os
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from nestgraph.errors import SnapshotError
from nestgraph.graph import violations
from nestgraph.interop.export import export
from nestgraph.lowering import lower
from nestgraph.render import draw
from nestgraph.snapshot import load, save, to_bytes
from nestgraph.snapshot.files import from_bytes
from tests.cli.running import hand_made, run

CANARY = "canary"
NAMES = (
    *('a"b', "a'b", "a`b", "a\\b", "</script>", '"; DROP TABLE layers; --', "a b", "a.b", "a:b", "a/b", "..", ""),
    *("class", "lambda", "None", "a\nb", "a\0b", "1a", "ä", "a" * 65, "a" * 2**20, "<b>", "{x}", "%s", "x=1"),
    "a\u202eb",
    f'x=__import__("os").system("touch {CANARY}")',
    f"x: __import__('pathlib').Path('{CANARY}').touch()",
)
TEXTS = (
    *("'", '"', '"""', "\\", "`", "</script><script>alert(1)</script>", '"; DROP TABLE layers; --', "class", "&lt;"),
    *("<b>bold</b><img src=x onerror=alert(1)>", "]]> <!-- -->", '" URL="javascript:alert(1)" x="', "%s {0} {x!r}"),
    *("<<TABLE><TR><TD>x</TD></TR></TABLE>>", r"\N \G \L", "$\\frac{1}{0}$", "../../etc/passwd", "[red]x[/red]", "#"),
    '"""\n'.strip() + f"; __import__('pathlib').Path('{CANARY}').touch()",
    f'"); __import__("os").system("touch {CANARY}") #',
    "x" * 256,
)
REFUSED = ("a\nb", "a\rb", "a\tb", "\x1b[2J", "\x00", "a\u202eb", "a\u2028b", "\x85", "x" * 257, "x" * 2**20)
DRAWN = {"svg", "g", "title", "desc", "rect", "path", "circle", "text", "polygon", "polyline", "ellipse", "tspan"}


def network(label=""):
    plain = hand_made({0: "01", 1: "12", 2: "23"}, {(0, 0): 0.5, (1, 0): -0.5, (1, 1): 0.25, (2, 1): 1.0})
    return from_bytes(changed(to_bytes(plain), label=label)) if label else plain


def changed(data, **fields):
    """A snapshot whose hidden layer's record has other fields, with the digest that then holds."""
    document = json.loads(data)
    document["layers"][1]["layer"].update(fields)
    with pytest.raises(SnapshotError) as caught:
        from_bytes(json.dumps(document).encode())
    digest = re.search(r"digest: expected ([0-9a-f]{64})", str(caught.value))
    document["digest"] = digest[1] if digest else document["digest"]
    return json.dumps(document).encode()


@pytest.fixture(autouse=True)
def no_canary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_a_hostile_name_is_refused(name):
    with pytest.raises(SnapshotError) as caught:
        from_bytes(changed(to_bytes(network()), name=name), "net.json")
    message = str(caught.value)
    assert message.startswith("net.json: layers[1].layer.name: ")
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:20]))
def test_text_that_steers_or_floods_is_refused(text):
    with pytest.raises(SnapshotError) as caught:
        from_bytes(changed(to_bytes(network()), label=text), "net.json")
    assert str(caught.value).startswith("net.json: layers[1].layer.label: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_hostile_text_passes_through_without_effect(text, tmp_path):
    plain, labelled = network(), network(text)
    for above in (0, 10**9):
        save(labelled, tmp_path / "net.json", sidecar_above=above)
        assert load(tmp_path / "net.json").layer("fc1").label == text
    assert violations(labelled) == ()
    _check_code(plain, labelled)
    _check_export(plain, labelled, tmp_path)
    for view in ("layers", "neurons"):
        _check_picture(draw(labelled, tmp_path / f"{view}.svg", view=view))
    for verb in ("summary", "verify"):
        _check_words(run(verb, tmp_path / "net.json"), run(verb, tmp_path / "net.json", "--json"))


def _check_code(plain, labelled):
    modules = [lower(each).eval() for each in (plain, labelled)]
    assert modules[0].code == modules[1].code
    sample = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
    assert torch.equal(modules[0](sample), modules[1](sample))


def _check_export(plain, labelled, folder):
    sources = []
    for name, each in (("plain", plain), ("labelled", labelled)):
        (folder / name).mkdir()
        export(each, folder / name / "net.py")
        source = (folder / name / "net.py").read_text().replace(each.digest, "")
        sources.append(ast.dump(ast.parse(source)))  # a label may be a comment, and nothing else
    assert sources[0] == sources[1]
    written = []
    for name, each in (("plain", plain), ("labelled", labelled)):
        export(each, folder / name / "net.c")
        written.append([(folder / name / f"net.{end}").read_text().replace(each.digest, "") for end in "ch"])
    assert written[0] == written[1]


def _check_picture(path):
    for element in ElementTree.parse(path).iter():
        assert element.tag.rpartition("}")[2] in DRAWN
        assert not any(name.lower().startswith("on") or name.endswith("href") for name in element.attrib)


def _check_words(text, data):
    assert text.exit_code == data.exit_code == 0
    assert all(line.isprintable() for line in text.stdout.splitlines())
    json.loads(data.stdout)


def test_a_canary_would_be_seen(tmp_path):
    """The texts do run where they are taken for code."""
    eval(TEXTS[-3].removeprefix('"""; '))
    assert (tmp_path / CANARY).exists()
    os.unlink(tmp_path / CANARY)
