"""What `ng.export` writes as C: whole or not at all, and nothing of a name can become code."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from nestgraph.chip import building, trying, writing
from nestgraph.chip.text import prefix_of
from nestgraph.chip.writing import export_c
from nestgraph.errors import ExportError
from nestgraph.interop.export import export
from nestgraph.seeds import mlp
from nestgraph.snapshot import save
from nestgraph.spec import Activation, Dense, Layer
from tests.chip.trying import missing
from tests.cli.running import run
from tests.interop.test_export import named, small
from tests.lowering.test_compact import built

NETWORK = mlp((8, 6, 3), density=0.5, seed=0)


@missing("gcc")
def test_both_files_and_how_they_were_tried(tmp_path):
    found = export(NETWORK, tmp_path / "net.c", inputs=np.ones((3, 8), np.float32))
    assert found.paths == (tmp_path / "net.c", tmp_path / "net.h")
    assert found.bytes == sum(path.stat().st_size for path in found.paths)
    assert found.difference < 1e-6
    assert found.chip.compiled in building.COMPILERS
    for path in found.paths:
        text = path.read_text()
        assert NETWORK.digest in text
        assert f"Built by {found.chip.compiled} and tried" in text
    again = export(NETWORK, tmp_path / "net.c")  # our own files are replaced
    assert again.paths == found.paths


def test_without_a_compiler_it_says_that_it_was_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = export_c(NETWORK, tmp_path / "net.c")
    assert found.compiled is None
    assert found.difference < 1e-5
    assert "Not built or tried" in found.paths[0].read_text()


@missing("gcc")
def test_what_gives_other_outputs_is_not_written(tmp_path, monkeypatch):
    honest = trying.outputs_of
    monkeypatch.setattr(trying, "outputs_of", lambda *given: [array + 1e-3 for array in honest(*given)])
    with pytest.raises(ExportError, match="expected output 0 within"):
        export(NETWORK, tmp_path / "net.c")
    assert list(tmp_path.iterdir()) == []


@missing("gcc")
def test_what_single_precision_cannot_hold_on_the_way_is_no_fault_of_the_file(tmp_path):
    """exp(500 x) and then its logarithm: samples tell nothing where that is beyond single precision."""
    layers = [Layer(name="x", kind="input", features=1)]
    layers += [Layer(name="h", kind="neurons", operations=(Activation(function="exp"),))]
    layers += [Layer(name="y", kind="neurons", operations=(Activation(function="log"),), output=True)]
    projections = (Dense(source="x", target="h"), Dense(source="h", target="y"))
    weights = {projections[0].name: np.full((1, 1), 500.0), projections[1].name: np.ones((1, 1))}
    network = built(tuple(layers), projections, weights, {"x": 1, "h": 1, "y": 1})
    with pytest.raises(ExportError, match="finite values in single precision, got none at random: give some as inputs"):
        export(network, tmp_path / "net.c")
    assert not list(tmp_path.iterdir())
    assert export(network, tmp_path / "net.c", inputs=np.full((4, 1), 0.1, np.float32)).difference < 1e-5


def test_files_of_others_stay(tmp_path):
    (tmp_path / "net.h").write_text("mine")
    with pytest.raises(ExportError, match="a file that it did not write"):
        export(NETWORK, tmp_path / "net.c")
    assert [path.name for path in tmp_path.iterdir()] == ["net.h"]


@pytest.mark.parametrize("name", ['a"b.c', "a b.c", "a\nb.c", "é.c", ".c", "a*/b.c"])
def test_names_of_files_that_c_cannot_name(tmp_path, name):
    with pytest.raises(ExportError, match="expected"):
        export(NETWORK, tmp_path / name)


@pytest.mark.parametrize(
    ("stem", "prefix"), [("net", "net"), ("my-net.2", "my_net_2"), ("2nd", "net_2nd"), ("___", "net"), ("int", "int")]
)
def test_prefixes(stem, prefix):
    assert prefix_of(stem) == prefix


@missing("gcc")
def test_names_and_labels_are_no_code(tmp_path):
    network = small()
    names = dict(zip(network.layer_names, ["int", "main", "__FILE__", "NULL", "uint8_t"], strict=False))
    hostile = named(network, names, label='*/ #error "got out" /* \\')
    for stem in ("main", "if", "printf", "x"):
        path = tmp_path / f"{stem}.c"
        export(hostile, path)
        assert "got out" not in path.read_text()
        defined = re.findall(r"^(?:static|void|typedef).*?\b(\w+)(?:\[|\(|;)", path.read_text(), re.MULTILINE)
        assert defined
        assert all(name.startswith(f"{prefix_of(stem)}_") for name in defined)
    assert Layer(name="a", kind="neurons").name == "a"
    with pytest.raises(ValueError, match="name"):
        Layer(name="a*/b", kind="neurons")


def test_what_no_chip_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MAX_ON_CHIP", NETWORK.connection_count - 1)
    with pytest.raises(ExportError, match=r"expected a network of at most .* connections"):
        export(NETWORK, tmp_path / "net.c")


def test_no_torch_is_needed(tmp_path):
    save(NETWORK, tmp_path / "net.json")
    code = (
        f"import sys, nestgraph as ng; network = ng.load({str(tmp_path / 'net.json')!r}); "
        f"ng.export(network, {str(tmp_path / 'net.c')!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    words = ["export", str(tmp_path / "net.json"), str(tmp_path / "net.c"), "--int8"]
    after = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))"
    code = f"{after}; from nestgraph.cli.app import app; app({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_the_verb(tmp_path):
    save(NETWORK, tmp_path / "net.json")
    done = run("export", str(tmp_path / "net.json"), str(tmp_path / "net.c"))
    assert done.exit_code == 0, done.output
    assert "outputs differ by" in done.output
    assert (tmp_path / "net.h").exists()
