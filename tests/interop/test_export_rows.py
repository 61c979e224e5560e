"""Exports that take the raw rows of a table tell what `predict` tells, in other engines and without nestgraph."""

import ast
import csv
import math
import runpy
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from nestgraph.data.tables.frames import table_of
from nestgraph.data.tables.preparation import CategoryColumn, NumberColumn, Preparation
from nestgraph.data.tables.targets import ClassTarget, LabelTarget, NumberTarget
from nestgraph.errors import ExportError
from nestgraph.graph.reference import predict as reference
from nestgraph.interop import exporting
from nestgraph.interop import rows as raw
from nestgraph.interop.export import export
from nestgraph.interop.onnx_model import _name_ports as name_ports
from nestgraph.interop.onnx_rows import add_columns, raw_inputs
from nestgraph.interop.rows import told_names
from nestgraph.lowering.compact import compact
from nestgraph.runs.columns import save_columns
from nestgraph.runs.predicting import predict
from nestgraph.seeds import mlp
from tests.laws import quick

pytestmark = [pytest.mark.usefixtures("one_registry"), pytest.mark.filterwarnings("ignore:.*unseen in training")]
HOSTILE = '\'"""\n}{x!r}__import__("os").system("exit 1")'
WORD = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6)
NUMBER = st.floats(-1e6, 1e6).map(lambda x: round(x, 3) + 0.0)
SPREAD = st.floats(1e-3, 1e4)


@st.composite
def columns_of(draw):
    """Columns of all kinds, hostile names among them, with a target of any kind."""
    names = st.sampled_from(("linear", "nestgraph.raw.1", "nestgraph.0", HOSTILE.replace("\n", " "))) | WORD
    chosen = draw(st.lists(names, min_size=2, max_size=6, unique=True))
    *read, name = chosen
    found = []
    for each in read:
        gaps, kind = draw(st.booleans()), draw(st.sampled_from(("number", "words", "codes")))
        if kind == "number":
            found.append(NumberColumn(name=each, mean=draw(NUMBER), deviation=draw(SPREAD), gaps=gaps))
            continue
        words = WORD.map(lambda word: f"w{word}") if kind == "words" else st.integers(-9, 99).map(str)
        values = draw(st.lists(words, min_size=1, max_size=3, unique=True))
        found.append(CategoryColumn(name=each, values=tuple(sorted(values)), gaps=gaps))
    words = st.lists(WORD, min_size=2, max_size=4, unique=True)
    classes = words.map(lambda each: ClassTarget(name=name, classes=tuple(each)))
    numbers = st.builds(
        lambda mean, deviation, form: NumberTarget(
            names=(name, f"{name}2"),
            means=(mean, -mean),
            deviations=(deviation, 1.0),
            quantiles=form[0],
            spread=form[1],
        ),
        NUMBER,
        SPREAD,
        st.sampled_from((((), False), ((), True), ((0.1, 0.4, 0.8), False))),
    )
    labels = st.just(LabelTarget(names=(name, f"{name}2")))
    return Preparation(columns=tuple(found), target=draw(classes | numbers | labels))


def drawn(columns):
    """Rows with gaps and with categories that training did not see."""
    return [table for _, table in raw._tables(columns, "t", None)][-1]


def clashing(columns):
    """Whether a column to read has the name of what is told."""
    names = [*(column.name for column in columns.columns), *told_names(columns)]
    return len(set(names)) < len(names)


def check_told(got, exact, columns):
    assert list(got) == list(exact) == told_names(columns)
    units = raw._units(columns, exact)
    for name, (shift, factor) in units.items():
        if exact[name].dtype == object:
            shares = np.stack([exact[each] for each in exact if each.startswith(f"{name} = ")])
            clear = np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0] > 1e-3
            assert np.array_equal(np.asarray(got[name], object)[clear], exact[name][clear])
        else:
            np.testing.assert_allclose((got[name] - shift) / factor, (exact[name] - shift) / factor, atol=2e-4)


def linear_model(weights):
    """An ONNX model of one linear map, as an exporter of a network would name its values."""
    nodes = [helper.make_node("Gemm", ["nestgraph.0", "linear"], ["nestgraph.1"])]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])]
        for name, size in zip(("nestgraph.0", "nestgraph.1"), weights.shape, strict=True)
    ]
    held = helper.make_tensor("linear", TensorProto.FLOAT, weights.shape, weights.ravel())
    graph = helper.make_graph(nodes, "g", *ends, [held])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@quick(40)
@given(columns_of(), st.integers(0, 99))
def test_an_onnx_model_of_any_columns_tells_what_predict_tells(columns, seed):
    rng = np.random.default_rng(seed)
    (widths,) = columns.outputs
    width = widths[seed % len(widths)]
    weights = rng.standard_normal((len(columns.features), width)).astype(np.float32)
    model = linear_model(weights)
    if clashing(columns):  # is refused before: see below
        return
    name_ports(model.graph, add_columns(model.graph, columns, width))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert {node.name for node in session.get_inputs()} == {column.name for column in columns.columns}
    table = drawn(columns)
    got = dict(zip(told_names(columns), session.run(told_names(columns), raw_inputs(columns, table)), strict=True))
    check_told(got, columns.told(columns.inputs(table).astype(np.float64) @ weights), columns)


@quick(40)
@given(columns_of(), st.integers(0, 99))
def test_a_source_of_any_columns_tells_what_predict_tells(tmp_path_factory, columns, seed):
    path = tmp_path_factory.mktemp("source") / "net.py"
    (widths,) = columns.outputs
    width = widths[seed % len(widths)]
    network = mlp((len(columns.features), 3, width), batch_norm=False, seed=seed)
    if clashing(columns):
        with pytest.raises(ExportError, match="of different names, got"):
            export(network, path, columns=columns)
        return
    export(network, path, columns=columns)
    tree = ast.parse(path.read_text("ascii"))
    held = next(node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "COLUMNS")
    assert [each[0] for each in ast.literal_eval(held.value)] == [column.name for column in columns.columns]
    source = runpy.run_path(str(path))
    table = drawn(columns)
    rows = pd.DataFrame(dict(table.columns)).to_dict("records")
    told = source["predict"](source["load"](), rows)
    got = {name: np.array([each[name] for each in told]) for name in told[0]}
    check_told(got, columns.told(reference(network, columns.inputs(table))), columns)
    assert source["predict"](source["load"](), []) == []


# -- files of a table ------------------------------------------------------------------------------------

COLUMNS = Preparation(
    columns=(
        NumberColumn(name="age", mean=40.0, deviation=9.0, gaps=True),
        CategoryColumn(name="city", values=("Oslo", "Rome"), gaps=True),
        CategoryColumn(name="floor", values=("1", "2")),
        NumberColumn(name="built", mean=1.7e9, deviation=3e4),
    ),
    target=NumberTarget(names=("rent",), means=(900.0,), deviations=(120.0,)),
)
NETWORK = mlp((8, 4, 1), batch_norm=False, seed=3)


@pytest.fixture
def rows(tmp_path):
    """Raw rows in a file: gaps in several spellings, spaces, a city and a floor that training did not see."""
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["floor", "city", "age", "built", "rent"])
        writer.writerow(["1", " Oslo ", "33.5", "1700000000", "1"])
        writer.writerow(["2.0", "Rome", "NA", "1700040000", "2"])
        writer.writerow(["3", "Bonn", "", "1699940000", "3"])
        writer.writerow(["NA", "?", "71", "", "4"])
    return path


def test_an_onnx_model_takes_the_rows_of_a_file_by_column(rows, tmp_path):
    written = export(NETWORK, tmp_path / "net.onnx", columns=COLUMNS, rows=rows)
    assert written.difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    frame = pd.read_csv(rows, skipinitialspace=True)
    given = {name: frame[name].to_numpy(float) for name in ("age", "floor", "built")}
    given["city"] = frame["city"].str.strip().to_numpy(object)  # NaN for a gap: ONNX Runtime reads the word nan
    (rent,) = session.run(["rent"], given)
    assert rent == pytest.approx(predict(NETWORK, rows, COLUMNS)["rent"], rel=1e-5)
    kinds = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    assert kinds["city"] == ("tensor(string)", ["batch"])
    assert kinds["floor"] == kinds["age"] == ("tensor(double)", ["batch"])
    assert {domain.domain for domain in onnx.load(tmp_path / "net.onnx").opset_import} == {""}


FRESH = """
import csv, sys
sys.modules["nestgraph"] = None  # importing it would fail
sys.path.insert(0, sys.argv[1])
import net
with open(sys.argv[1] + "/rows.csv", newline="") as file:
    print([each["rent"] for each in net.predict(net.load(), list(csv.DictReader(file)))])
"""


def test_a_source_takes_the_rows_of_a_file_where_there_is_no_nestgraph(rows, tmp_path):
    export(NETWORK, tmp_path / "net.py", columns=COLUMNS)
    done = subprocess.run(
        [sys.executable, "-I", "-c", FRESH, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert ast.literal_eval(done.stdout) == pytest.approx(predict(NETWORK, rows, COLUMNS)["rent"], rel=1e-5)


def test_a_source_refuses_rows_in_words(tmp_path):
    export(NETWORK, tmp_path / "net.py", columns=COLUMNS)
    source = runpy.run_path(str(tmp_path / "net.py"))
    row = {"age": 30, "city": "Oslo", "floor": 1, "built": 1.7e9}
    for wrong, words in (
        ({"age": "old"}, "expected a finite number in the column 'age', got 'old'"),
        ({"built": math.inf}, "expected a finite number in the column 'built', got inf"),
    ):
        with pytest.raises(ValueError, match=words):
            source["numbers"](row | wrong)
    del row["city"]
    with pytest.raises(ValueError, match="expected a value for the column 'city', or None for a gap"):
        source["numbers"](row)


@pytest.mark.parametrize("name", ["net.onnx", "net.py"])
def test_what_disagrees_on_rows_is_refused_once(name, tmp_path, monkeypatch):
    def spoilt(network, batch=1, layout="auto", execution="auto"):
        module = compact(network, batch, layout, execution)
        next(module.parameters()).view(-1)[0] += 0.01
        return module

    monkeypatch.setattr(exporting, "compact", spoilt)
    with pytest.raises(ExportError, match=r"'rent' of \d+ random rows expected values within \S+ of the network's"):
        export(NETWORK, tmp_path / name, columns=COLUMNS)
    assert list(tmp_path.iterdir()) == []


def test_an_export_of_rows_is_checked_once(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(exporting, "check_agreement", lambda *_: asked.append("prepared"))
    monkeypatch.setattr(exporting, "check_rows", lambda *_: asked.append("raw") or 0.0)
    export(NETWORK, tmp_path / "net.py", columns=COLUMNS)
    assert asked == ["raw"]


def test_a_wrong_class_is_refused(tmp_path, monkeypatch):
    columns = COLUMNS.model_copy(update={"target": ClassTarget(name="kind", classes=("flat", "house"))})
    turned = COLUMNS.model_copy(update={"target": ClassTarget(name="kind", classes=("house", "flat"))})
    monkeypatch.setattr(exporting, "source_of", lambda *given: SOURCE_OF(*given[:-1], turned))
    with pytest.raises(ExportError, match=r"'kind' of 1 random rows expected '(flat|house)', got '(flat|house)'"):
        export(mlp((8, 4, 2), batch_norm=False, seed=3), tmp_path / "net.py", columns=columns)


SOURCE_OF = exporting.source_of
REFUSED = {
    "a network of other inputs": (
        {"network": mlp((7, 4, 1))},
        "expected a network that reads 8 numbers a row, got one of 7: export it without columns",
    ),
    "of other outputs": ({"network": mlp((8, 4, 2))}, "expected a network that gives 1 numbers a row, got one of 2"),
    "an autoencoder": (
        {"network": mlp((8, 4, 8)), "columns": COLUMNS.model_copy(update={"target": None})},
        "got those of a network that gives its rows back: export it without columns",
    ),
    "weights alone": ({"path": "net.safetensors"}, "expected .onnx or .py with columns, got weights"),
    "prepared inputs": ({"inputs": np.zeros((2, 8))}, "expected raw rows with columns, got inputs: give rows="),
    "rows alone": ({"columns": None, "rows": pd.DataFrame({"age": [1.0]})}, "expected columns with rows, got none"),
    "rows without a column": ({"rows": pd.DataFrame({"age": [1.0]})}, "expected one of the columns 'age', got 'city'"),
    "no rows": ({"rows": 3}, "expected a file of a table, or a frame, got 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_of_rows_is_refused_in_a_sentence(case, tmp_path):
    asked, sentence = REFUSED[case]
    given = {"network": NETWORK, "path": "net.py", "columns": COLUMNS} | asked
    with pytest.raises(ExportError, match=sentence):
        export(given.pop("network"), tmp_path / given.pop("path"), **given)
    assert list(tmp_path.iterdir()) == []


def test_columns_are_read_from_their_file(tmp_path):
    save_columns(COLUMNS, tmp_path / "columns.json")
    export(NETWORK, tmp_path / "a.py", columns=tmp_path / "columns.json", rows=frame_of_one())
    export(NETWORK, tmp_path / "b.py", columns=COLUMNS)
    assert (tmp_path / "a.py").read_bytes() == (tmp_path / "b.py").read_bytes()


def frame_of_one():
    frame = pd.DataFrame({"age": [3.0], "city": ["Rome"], "floor": [2], "built": [1.7e9]})
    assert len(table_of(frame)) == 1
    return frame
