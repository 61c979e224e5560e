"""Tables: what is read out of CSV files and frames, what columns become, and every refusal in one sentence."""

import csv
import io
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from nestgraph.data.options import AnyData, DataOptions
from nestgraph.data.splitting import split_places
from nestgraph.data.tables import csv_files
from nestgraph.data.tables.csv_files import read_csv
from nestgraph.data.tables.frames import table_of
from nestgraph.data.tables.kinds import found_in_all
from nestgraph.data.tables.options import TableOptions, TableReading
from nestgraph.data.tables.preparation import PREPARATION, CategoryColumn, NumberColumn
from nestgraph.data.tables.table import Table, gaps_of
from nestgraph.data.tables.targets import NumberTarget
from nestgraph.errors import DataError
from nestgraph.runs.predicting import raw_table
from tests.laws import quick

ROWS = 60
CITIES = ("Rome", "Oslo", "Nice")


def frame(rows=ROWS, seed=0):
    """Numbers and categories with gaps, classes and a price."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 9, rows).round(2)
    city = rng.choice(CITIES, rows).astype(object)
    age[::7], city[3::11] = np.nan, None
    species = np.where(rng.random(rows) < 0.4, "cat", "dog")
    price = rng.normal(100, 30, rows).round(3)
    return pd.DataFrame(
        {"age": age, "city": city, "rooms": rng.integers(1, 9, rows), "species": species, "price": price}
    )


def written(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def options(path, target="species", **more):
    return TableOptions(kind="csv", path=str(path), target=target, **more)


# -- reading -----------------------------------------------------------------------------------------

CELL = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp", "Zs")), max_size=4)


@quick(40)
@given(data=st.data(), delimiter=st.sampled_from(csv_files.DELIMITERS))
def test_a_csv_file_is_read_as_it_was_written(tmp_path_factory, data, delimiter):
    count = data.draw(st.integers(1, 4))
    kinds = data.draw(st.lists(st.sampled_from(("number", "word")), min_size=count, max_size=count))
    cells = {"number": st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.just(""), "word": CELL}
    rows = data.draw(st.lists(st.tuples(*(cells[kind] for kind in kinds)), min_size=1, max_size=12))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([[f"c{place}" for place in range(count)], *rows])
    path = written(tmp_path_factory.mktemp("csv"), text.getvalue())
    table = read_csv(path, delimiter)
    for place, column in enumerate(table.columns.values()):
        for cell, got in zip((row[place] for row in rows), column.tolist(), strict=True):
            if cell in csv_files.GAPS:
                assert got is None or got != got
            else:
                assert got == (float(cell) if column.dtype.kind == "f" else cell)


def test_a_path_that_cannot_be_one_is_one_sentence():
    with pytest.raises(DataError, match=r"x\\x00\.csv'?: cannot be read \(expected a usable file, got: embedded null"):
        raw_table("predict", "x\0.csv")


def test_chunks_make_no_difference(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False)
    whole = read_csv(path)
    monkeypatch.setattr(csv_files, "ROWS", 7)
    parts = read_csv(path)
    assert whole.columns.keys() == parts.columns.keys()
    for name, values in whole.columns.items():
        assert [*map(repr, values.tolist())] == [*map(repr, parts[name].tolist())]


def _polars(data, polars):
    return polars.DataFrame({name: [None if v != v else v for v in data[name].tolist()] for name in data.columns})


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "csv", "parquet"])
def test_frames_and_files_give_one_table(tmp_path, library):
    data = frame()
    if library == "pandas":
        table = table_of(data)
    elif library == "csv":
        data.to_csv(tmp_path / "t.csv", index=False)
        table = read_csv(tmp_path / "t.csv")
    else:
        polars = pytest.importorskip("polars")
        pyarrow = pytest.importorskip("pyarrow")
        held = _polars(data, polars)
        if library == "parquet":
            held.write_parquet(tmp_path / "t.parquet")
            from nestgraph.data.tables.options import read_table

            table = read_table(tmp_path / "t.parquet")
        else:
            table = table_of(held if library == "polars" else pyarrow.table(held.to_dict(as_series=False)))
    assert list(table.columns) == list(data.columns)
    for name in data.columns:
        expected, got = data[name], table[name]
        assert np.array_equal(gaps_of(got), expected.isna())
        held = ~expected.isna().to_numpy()
        assert got[held].tolist() == expected[held].tolist()


# -- what columns become -----------------------------------------------------------------------------


def test_rows_become_what_pandas_makes_of_them(tmp_path):
    """One-hot columns and standardised numbers, with means of the training rows alone."""
    data = frame()
    data.to_csv(tmp_path / "t.csv", index=False)
    dataset = options(tmp_path / "t.csv", ignore=("price",)).load(3)
    preparation = dataset.preparation
    age, city, rooms = preparation.columns
    assert (age.gaps, city.gaps, rooms.gaps) == (True, True, False)
    everything = preparation.inputs(table_of(data))
    dummies = pd.get_dummies(data["city"], dummy_na=True).to_numpy(np.float32)
    assert np.array_equal(everything[:, 2:6], dummies)
    assert np.array_equal(everything[:, 1], data["age"].isna())
    known = data["age"].notna().to_numpy()
    assert everything[known, 0] == pytest.approx((data["age"][known] - age.mean) / age.deviation, abs=1e-5)
    assert not everything[~known, 0].any()
    train = dataset.train.inputs
    assert train[:, 6].mean() == pytest.approx(0, abs=1e-5)
    assert train[:, 6].std() == pytest.approx(1, abs=1e-5)
    assert preparation.features == (
        "age",
        "age is missing",
        "city = Nice",
        "city = Oslo",
        "city = Rome",
        "city is missing",
        "rooms",
    )
    rows = {row.tobytes() for row in everything}
    splits = dataset.splits.values()
    assert sum(map(len, splits)) == ROWS
    assert {row.tobytes() for split in splits for row in split.inputs} == rows


def test_no_row_but_those_that_train_is_looked_at():
    """A mean or a category out of another split would tell the network of it."""
    data = frame()
    places = split_places("t", np.zeros((ROWS, 1)), 0.2, 0.2, np.random.default_rng(5))
    others = np.concatenate([places.validation, places.test])
    table = table_of(data)
    before = TableReading(target="price").dataset("t", table, 5).preparation
    changed = data.copy()
    changed.loc[others, "age"], changed.loc[others, "city"], changed.loc[others, "price"] = 1e6, "Bonn", -1e5
    assert TableReading(target="price").dataset("t", table_of(changed), 5).preparation == before
    changed.loc[places.train[0], "age"] = 1e6
    assert TableReading(target="price").dataset("t", table_of(changed), 5).preparation != before


def test_targets_come_back_in_their_own_words():
    data = frame()
    table = table_of(data)
    numbers = TableReading(target="price", ignore=("species",)).dataset("t", table, 0).preparation.target
    assert numbers.told(numbers.targets(table))["price"] == pytest.approx(data["price"], rel=1e-5)
    classes = TableReading(target="species", ignore=("price",)).dataset("t", table, 0).preparation.target
    told = classes.told(np.eye(2)[classes.targets(table)] * 9)
    assert told["species"].tolist() == data["species"].tolist()
    assert told["species = cat"] + told["species = dog"] == pytest.approx(np.ones(ROWS))
    single = classes.told((classes.targets(table)[:, None] - 0.5) * 9)
    assert single["species"].tolist() == data["species"].tolist()


def test_every_output_of_numbers_is_told_in_the_unit_of_the_table():
    """Quantiles come quantile by quantile, each with a column a target; logarithms of variances after the means."""
    known = {"names": ("a", "b"), "means": (10.0, 0.0), "deviations": (2.0, 3.0)}
    told = NumberTarget(**known, quantiles=(0.1, 0.6, 0.9)).told(np.arange(6.0)[None])
    expected = {"a": 14, "a at 0.1": 10, "a at 0.9": 18, "b": 9, "b at 0.1": 3, "b at 0.9": 15}
    assert {name: values.tolist() for name, values in told.items()} == {n: [v] for n, v in expected.items()}
    spread = NumberTarget(**known, spread=True).told(np.array([[1.0, 2.0, np.log(4), np.log(9)]]))
    assert {name: values[0] for name, values in spread.items()} == pytest.approx(
        {"a": 12, "a deviation": 4, "b": 6, "b deviation": 9}
    )


def test_rows_that_are_given_back_are_told_by_column():
    data = frame()
    prepared = TableReading().dataset("t", table_of(data), 0, "inputs").preparation
    again = prepared.told(prepared.inputs(table_of(data)))
    assert list(again) == list(data.columns)
    for name in ("age", "rooms", "price"):
        assert again[name] == pytest.approx(data[name].to_numpy(), rel=1e-4, nan_ok=True)
    assert again["city"].tolist() == [None if word != word else word for word in data["city"]]


def test_a_preparation_survives_its_file():
    preparation = TableReading(target="species").dataset("t", table_of(frame()), 0).preparation
    assert PREPARATION.validate_json(preparation.model_dump_json()) == preparation


def test_what_says_nothing_is_dropped_and_told(caplog):
    data = frame().assign(nothing=np.nan, same="x", one=1.0)
    dataset = TableReading(target="species").dataset("t", table_of(data), 0)
    dropped = {each.name for each in dataset.preparation.dropped}
    assert dropped == {"nothing", "same", "one"}
    assert all(f"'{name}' is not read" in caplog.text for name in dropped)


def test_columns_of_codes_are_categories_where_told():
    found = TableReading(target="species", categories=("rooms",)).dataset("t", table_of(frame()), 0).preparation
    kinds = {each.name: type(each) for each in found.columns}
    assert (kinds["rooms"], kinds["age"]) == (CategoryColumn, NumberColumn)


def test_kinds_are_found():
    data = frame().assign(day=pd.Timestamp("2024-02-03"), empty=None, note=[f"n{place}" for place in range(ROWS)])
    kinds = {each.name: each.kind for each in found_in_all(table_of(data), most=30)}
    words = "number category number category number date empty text"
    assert kinds == dict(zip(data.columns, words.split(), strict=True))


# -- splits ------------------------------------------------------------------------------------------


@quick(60)
@given(
    st.integers(5, 80),
    st.floats(0.1, 0.4),
    st.floats(0.1, 0.4),
    st.sampled_from(("stratified", "group", "last")),
    st.integers(0, 2**20),
)
def test_splits_share_no_sample_and_have_their_sizes(count, validation, test, kind, seed):
    rng = np.random.default_rng(seed)
    targets, by = rng.integers(0, 3, count), rng.integers(0, count // 3 + 3, count)
    try:
        splits = split_places("t", targets, validation, test, np.random.default_rng(seed), kind, by)
    except DataError as error:
        if "expected samples in each split" not in str(error):
            raise
        return
    assert sorted(np.concatenate(splits).tolist()) == list(range(count))
    if kind == "group":
        groups = [set(by[places].tolist()) for places in splits]
        assert sum(map(len, groups)) == len(set.union(*groups))
    else:
        assert (len(splits.validation), len(splits.test)) == (round(validation * count), round(test * count))
    if kind == "last":
        assert (
            by[splits.train].max()
            <= by[splits.validation].min()
            <= by[splits.validation].max()
            <= by[splits.test].min()
        )


def test_rows_are_split_by_a_column_that_is_not_read():
    days = [f"2024-{1 + place // 28:02}-{1 + place % 28:02}" for place in range(ROWS)][::-1]
    data = frame().assign(day=days)
    dataset = TableReading(target="price", split="last", by="day").dataset("t", table_of(data), 0)
    assert "day" not in dataset.preparation.features
    expected = dataset.preparation.target.targets(table_of(data[:12]))  # the last days come first here
    assert sorted(dataset.test.targets.ravel().tolist()) == sorted(expected.ravel().tolist())


# -- refusals ----------------------------------------------------------------------------------------

HEAD = "age,species\n"
BAD = {
    "nothing": ("", "expected a first line with the names of the columns, got an empty one"),
    "no rows": (HEAD, "expected rows under the names of the columns, got none"),
    "no names": ("1,2\n3,4\n", "expected names of the columns in the first line, got numbers"),
    "a name twice": ("age,age,species\n1,2,cat\n", "expected each column to have a name of its own, got 'age' twice"),
    "no name": ("age,,species\n1,2,cat\n", "expected a name for each column, got none for column 2"),
    "ragged": (HEAD + "1,cat\n2\n", "line 3: expected 2 cells, got 1: the file is cut"),
    "too many": (HEAD + "1,cat,3\n", "line 2: expected 2 cells, got 3"),
    "torn": (HEAD + '1,"cat\n2,dog\n', "unexpected end of data: a quote may be left open"),
    "not UTF-8": (HEAD.encode() + b"1,k\xe4fer\n", "expected text in UTF-8, got the byte 0xe4: save the file as UTF-8"),
    "a huge field": (HEAD + f"1,{'x' * 200_000}\n", "field larger than field limit"),
    "infinite": (
        HEAD + "1,cat\ninf,dog\n-inf,dog\n",
        "'age': expected finite numbers, got inf in row 2 and 1 more",
    ),
    "no target": (HEAD + "1,\n2,NA\n", "expected rows with 'species', got none of 2"),
    "dates": (HEAD + "2024-01-03,cat\n2023-11-30,dog\n", "got dates or times such as '2024-01-03' in 'age'.*ignore"),
    "only the target": ("species\ncat\ndog\n", "expected a column to learn from, got none beside 'species'"),
    "nothing said": (HEAD + "1,cat\n" * 9 + "1,dog\n" * 9, "expected a column that says something, got none: 'age'"),
    "too few": (HEAD + "1,cat\n2,dog\n", "expected samples in each split, got none"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_are_no_tables_are_refused_in_a_sentence(tmp_path, case):
    text, sentence = BAD[case]
    with pytest.raises(DataError, match=sentence):
        options(written(tmp_path, text)).load(0)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(expected a usable file, got: no such file"):
        options(tmp_path / "none.csv").load(0)


CHOICES = {
    "a near miss": (
        {"target": "Specis"},
        None,
        r"got 'Specis': is 'species' meant\?",
    ),
    "ignored that is not there": ({"target": "species", "ignore": ("nope",)}, None, "got 'nope'"),
    "words as numbers": (
        {"target": "species"},
        "numbers",
        "'species': expected numbers to learn, got '(cat|dog)'",
    ),
    "numbers as classes": ({"target": "price"}, "classes", "expected classes to tell apart, got fractions such as"),
    "no labels": ({"target": ("rooms", "price")}, "labels", "expected labels of 0 or 1, got"),
    "no target": ({}, "numbers", "expected a column to tell, got no target: name one of 'age', 'city', 'rooms'"),
    "a target beside rows": ({"target": "price"}, "inputs", "to be given back, got 'price': leave target out"),
    "several classes": ({"target": ("rooms", "species")}, "classes", "expected one column of classes as target"),
    "shares": ({"target": "price", "validation": 0.6, "test": 0.4}, None, "expected samples to train with"),
    "by with gaps": (
        {"target": "price", "split": "group", "by": "city"},
        None,
        "a value to split each row by, got 6",
    ),
    "text": (
        {"target": "price", "most_categories": 2},
        None,
        "up to 2 categories, got 3 different words in 'city'",
    ),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choices_that_do_not_fit_the_table_are_refused(case):
    chosen, wanted, sentence = CHOICES[case]
    with pytest.raises(DataError, match=sentence):
        TableReading(**chosen).dataset("t", table_of(frame()), 0, wanted)


FRAMES = {
    "pandas' integers with gaps": ([1, 2, None], "Int64", [1, 2, None]),
    "pandas' booleans with gaps": ([True, False, None], "boolean", [1, 0, None]),
    "decimals": ([Decimal("1.5"), Decimal(2), None], object, [1.5, 2, None]),
    "durations in seconds": ([pd.Timedelta("1min"), pd.Timedelta("2s"), pd.NaT], "timedelta64[ns]", [60, 2, None]),
    "gaps alone": ([None, None, None], object, [None, None, None]),
}


@pytest.mark.parametrize("case", FRAMES)
def test_columns_of_frames_are_numbers_where_they_can_be(case):
    given, kind, expected = FRAMES[case]
    values = table_of(pd.DataFrame({7: pd.Series(given, dtype=kind)}))["7"]  # names of pandas may be numbers
    assert [None if value != value else value for value in values.tolist()] == expected


def test_gaps_of_polars_alone_are_a_column_of_gaps():
    polars = pytest.importorskip("polars")
    assert gaps_of(table_of(polars.DataFrame({"a": [None, None]}))["a"]).all()


def test_numbers_with_a_decimal_comma_are_no_categories():
    words = pd.DataFrame({"x": ["1,5", "2,5"] * 30, "y": [1.0, 2.0] * 30})
    with pytest.raises(DataError, match="in 'x', such as '1,5': write numbers with a decimal point"):
        TableReading(target="y").dataset("t", table_of(words), 0)


def test_frames_of_lists_and_names_twice_are_refused():
    with pytest.raises(DataError, match="column 'x': expected numbers or words, got"):
        table_of(pd.DataFrame({"x": [[1], [2]]}))
    with pytest.raises(DataError, match="a name of its own"):
        table_of(pd.DataFrame([[1, 2]], columns=["x", "x"]))


@pytest.mark.parametrize("library", ["narwhals", "pyarrow"])
def test_a_missing_extra_is_told(tmp_path, monkeypatch, library):
    from nestgraph.data.tables import frames

    monkeypatch.setattr(frames, "find_spec", lambda _: None)
    read = {"narwhals": lambda: table_of(frame()), "pyarrow": lambda: frames.read_parquet(tmp_path / "t.parquet")}
    with pytest.raises(DataError, match=r"pip install 'nestgraph\["):
        read[library]()


# -- recipes -----------------------------------------------------------------------------------------


def test_recipes_tell_data_by_name_or_kind():
    reader = TypeAdapter(AnyData)
    assert isinstance(reader.validate_json('{"name": "digits"}'), DataOptions)
    given = {"kind": "csv", "path": "t.csv", "target": ["a", "b"], "ignore": ["c"]}
    found = reader.validate_json(json.dumps(given))
    assert (found.target, found.ignore) == (("a", "b"), ("c",))
    assert reader.validate_json(found.model_dump_json()) == found
    with pytest.raises(ValueError, match=r"expected a kind of 'csv', .*got 'xls'"):
        reader.validate_json('{"kind": "xls", "path": "t.xls"}')


def test_a_table_has_a_shape():
    with pytest.raises(DataError, match="expected columns of one length"):
        Table("t", {"a": np.zeros(2), "b": np.zeros(3)})
