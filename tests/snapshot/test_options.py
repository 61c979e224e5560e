"""Files that people write: bounded before they are parsed, and all that is wrong with one is said at once."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.snapshot import from_bytes, options, options_json, read_options
from nestgraph.snapshot.strict_json import LONGEST, SHOWN, in_one_sentence, real
from nestgraph.snapshot.toml_bounds import LONGEST_WORD, MOST_PARTS, check_toml
from tests.laws import quick
from tests.recipes.test_recipe import TEXT

KEYS = st.sampled_from(["a", "b-c", "'d.e'", '"f[g"', '"h\\"{"', "1"])
LEAVES = st.sampled_from(["1", "2.5", "-1e3", "true", "'[[['", '"{\\"="', '"""\n[[\n"{"""""', "'''\n'[{'''"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=2)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=1)
    ),
    max_leaves=12,
)
TABLES = st.dictionaries(KEYS, VALUES, min_size=1, max_size=3)


def depth(value):
    """How deep the tables and lists of a parsed document are."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def inline(value, draw):
    """A value on the right of an equals sign, or inside another."""
    if isinstance(value, list):
        space = draw(st.sampled_from(["", " ", " # [[\n", "\n\n"]))
        return "[" + ",".join(space + inline(each, draw) for each in value) + space + "]"
    return "{" + ", ".join(pair(*each, draw) for each in value.items()) + "}" if isinstance(value, dict) else value


def pair(key, value, draw):
    """A key and its value, where tables of one key may be spelled with dots."""
    while isinstance(value, dict) and len(value) == 1 and draw(st.booleans()):
        ((inner, value),) = value.items()
        key = f"{key}{draw(st.sampled_from(['.', ' . ']))}{inner}"
    return f"{key} = {inline(value, draw)}"


def spelled(table, way, draw):
    """The lines of a table, some of the tables in it with headers of their own."""
    headed = [key for key, value in table.items() if isinstance(value, dict) and draw(st.booleans())]
    lines = [pair(key, value, draw) for key, value in table.items() if key not in headed]
    for key in headed:
        lines += [f"[{'.'.join((*way, key))}] # [x", *spelled(table[key], (*way, key), draw)]
    return lines


@quick(80)
@given(st.data())
def test_depth_is_counted_as_the_parser_finds_it_however_it_is_spelled(data):
    text = "\n".join(spelled(data.draw(TABLES), (), data.draw)) + "\n"
    deep = depth(tomllib.loads(text))
    check_toml(text, deep)
    with pytest.raises(ValueError, match=f"nested at most {deep - 1} deep, got {deep}$"):
        check_toml(text, deep - 1)


@pytest.mark.parametrize("table", ["[[a]]\nb = 1", "[[a.b]]\n[[a.b]]\nc.d = [1]", "[[a]]\n[[a.b]]\nc = {d = 1}"])
def test_tables_in_arrays_are_never_counted_deeper_than_they_are(table):
    check_toml(table, depth(tomllib.loads(table)))


MANY = 100_000
HUGE = {
    "dotted": ".".join("a" * MANY) + " = 1",
    "dotted with spaces": " . ".join("a" * MANY) + " = 1",
    "quoted": ".".join(['"a"'] * MANY) + " = 1",
    "inside": f"x = {{{'.'.join('a' * MANY)} = 1}}",
    "header": f"[{'.'.join('a' * MANY)}]",
    "array of tables": f"[[{'.'.join('a' * MANY)}]]",
    "arrays": "a = " + "[" * MANY + "]" * MANY,
    "inline tables": "a = " + "{a=" * MANY + "1" + "}" * MANY,
    "both": "a = " + "[{a=" * MANY + "1" + "}]" * MANY,
    "all of them": "[{0}]\n{0} = {{{0} = [[1]]}}".format(".".join("a" * 11)),
    "keys": "\n".join(f"a{n} = 1" for n in range(MANY)),
    "headers": "\n".join(f"[a{n}]" for n in range(MANY)),
    "values": f"a = [{'1,' * MANY}]",
    "a long number": f"a = {'1_' * MANY}1",
    "a long date": f"a = 1979-05-27T00:00:00.{'0' * MANY}",
}


@pytest.mark.parametrize("kind", HUGE)
def test_what_is_too_deep_or_too_much_never_reaches_the_parser(kind, monkeypatch):
    monkeypatch.setattr(options.tomllib, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(RecipeError, match=r"^r\.toml: expected (values nested at most 32|at most 16,384|words of at)"):
        parse_recipe(HUGE[kind], "r.toml")


def test_what_people_need_is_within_the_bounds():
    check_toml("\n".join(f"a{n} = '{'x' * 300}'" for n in range(MOST_PARTS)), 32)
    check_toml(f"{'a' * LONGEST_WORD} = 1", 1)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    for text, name in ((TEXT, "r.toml"), (parse_recipe(TEXT, "r.toml").model_dump_json(), "r.json")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert parse_recipe(read_options(tmp_path / name), name) == parse_recipe("\ufeff" + text, name)
        assert parse_recipe(text, name) == parse_recipe("\ufeff" + text, name)


@pytest.mark.parametrize("written", ["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[[1979-05-27]]"])
def test_dates_are_no_text_and_no_number(written):
    with pytest.raises(ValueError, match=r"^a.*: expected a number, text or truth value, got the date .*; b: "):
        options_json(f"a = {written}\nb = 00:00:01", "r.toml")


@pytest.mark.parametrize("text", ["1e-400", "-1e-400", "0.0000001e-340", "1_0e-9999"])
@pytest.mark.parametrize("form", ["a = {}", '{{"a": {}}}'])
def test_numbers_that_would_become_0_are_refused(text, form):
    source = "r.toml" if "=" in form else "r.json"
    if not ("_" in text and source == "r.json"):
        with pytest.raises(ValueError, match="large enough not to become 0, got"):
            options_json(form.format(text), source)
    assert [real(zero) for zero in ("0.0", "-0.00e9", "0e-999")] == [0.0] * 3


def test_all_that_is_wrong_with_a_recipe_is_said_with_its_places():
    text = TEXT.replace("seed_epochs = 3", "seed_epochs = -3\ncolour = 1").replace("fraction = 0.1", "fraction = 7.0")
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text.replace("[pruning]", "[pruning]\ntolerance = -1.0").replace('"digits"', '"x"'), "r.toml")
    message = str(caught.value)
    assert [problem.split(": ")[0] for problem in message.removeprefix("r.toml: ").split("; ")] == [
        "data.name",
        "seed_epochs",
        "growth.policies[0].connection_growth.fraction",
        "pruning.tolerance",
        "colour",
    ]


def test_all_that_is_wrong_with_a_network_is_said_with_its_places():
    layers = [{"layer": {"name": "class"}}, 7]
    document = {"format": "x", "version": 2, "digest": "", "sidecar": 1, "layers": layers, "projections": None}
    with pytest.raises(SnapshotError) as caught:
        from_bytes(json.dumps(document).encode())
    for place in ("format", "digest", "sidecar", "layers[0].layer.name", "layers[0].layer.kind", "layers[1]"):
        assert f"{place}: " in str(caught.value)


@given(st.lists(st.text(min_size=1, max_size=400), min_size=1, max_size=3 * SHOWN))
def test_however_many_problems_there_are_the_sentence_is_one_and_short(problems):
    sentence = in_one_sentence(problems)
    assert sentence.isprintable()
    raw = in_one_sentence(["x" * len(problem) for problem in problems])
    shown = raw.partition(" (and")[0].split("; ")
    assert len(shown) <= SHOWN
    assert len(shown) == 1 or sum(map(len, shown)) <= LONGEST
    assert (f" (and {len(problems) - len(shown)} more)" in raw) == (len(problems) > len(shown))
