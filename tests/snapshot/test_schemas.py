"""The JSON Schemas: fresh on the disk, and true of what is written."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from nestgraph.snapshot import JournalEntry, schemas, to_bytes, write_schemas
from nestgraph.snapshot.journal_entry import JournalStep
from tests.laws import quick
from tests.snapshot.test_files import DATA, SMALL
from tests.strategies import edits_for, networks

FOLDER = Path(__file__).parents[2] / "schemas"
REMEDY = "run: python -c \"from nestgraph.snapshot import write_schemas; write_schemas('schemas', overwrite=True)\""
NOTES = {"$schema", "$defs", "title", "description", "default", "discriminator", "contentEncoding"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float)}


def problems(schema, value, root, place="$"):
    """What a schema has against a value: the part of draft 2020-12 that the schemas use; other keywords fail."""
    found = []
    for keyword, rule in schema.items():
        if keyword not in NOTES:
            found += RULES[keyword](rule, value, root, place, schema)
    return found


def _ref(rule, value, root, place, _):
    target = root
    for step in rule.removeprefix("#/").split("/"):
        target = target[step]
    return problems(target, value, root, place)


def _one_of(wanted):
    def check(rule, value, root, place, _):
        fitting = sum(not problems(option, value, root, place) for option in rule)
        return [] if wanted(fitting) else [f"{place}: {fitting} options fit"]

    return check


def _type(rule, value, _root, place, _):
    if rule == "integer":
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, TYPES[rule]) and (rule != "number" or not isinstance(value, bool))
    return [] if fits else [f"{place}: no {rule}"]


def _properties(rule, value, root, place, _):
    pairs = value.items() if isinstance(value, dict) else ()
    return [p for key, part in pairs if key in rule for p in problems(rule[key], part, root, f"{place}.{key}")]


def _patterns(rule, value, root, place, _):
    return [
        problem
        for pattern, schema in rule.items()
        for key, part in (value.items() if isinstance(value, dict) else ())
        if re.search(pattern, key)
        for problem in problems(schema, part, root, f"{place}.{key}")
    ]


def _additional(rule, value, root, place, schema):
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    if not isinstance(value, dict):
        return []
    extra = [key for key in value if key not in known and not any(re.search(p, key) for p in patterns)]
    if rule is False:
        return [f"{place}: unknown {extra}"] if extra else []
    return [p for key in extra for p in problems(rule, value[key], root, f"{place}.{key}")]


def _names(rule, value, root, place, _):
    return [p for key in value for p in problems(rule, key, root, place)] if isinstance(value, dict) else []


def _items(rule, value, root, place, schema):
    rest = value[len(schema.get("prefixItems", ())) :] if isinstance(value, list) else ()
    return [p for entry in rest for p in problems(rule, entry, root, place + "[]")]


def _prefix(rule, value, root, place, _):
    entries = value if isinstance(value, list) else ()
    return [p for part, entry in zip(rule, entries, strict=False) for p in problems(part, entry, root, place)]


def _bound(kind, fits):
    def check(rule, value, _root, place, _):
        applies = isinstance(value, kind) and not isinstance(value, bool)
        return [f"{place}: {rule}"] if applies and not fits(value, rule) else []

    return check


NUMBER = (int, float)
RULES = {
    "$ref": _ref,
    "anyOf": _one_of(lambda fitting: fitting >= 1),
    "oneOf": _one_of(lambda fitting: fitting == 1),
    "type": _type,
    "properties": _properties,
    "patternProperties": _patterns,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "items": _items,
    "prefixItems": _prefix,
    "const": lambda rule, value, _root, place, _: [] if value == rule else [f"{place}: not {rule!r}"],
    "enum": lambda rule, value, _root, place, _: [] if value in rule else [f"{place}: not of {rule}"],
    "required": _bound(dict, lambda value, rule: set(rule) <= value.keys()),
    "pattern": _bound(str, lambda value, rule: re.search(rule, value)),
    "maxLength": _bound(str, lambda value, rule: len(value) <= rule),
    "minLength": _bound(str, lambda value, rule: len(value) >= rule),
    "maxItems": _bound(list, lambda value, rule: len(value) <= rule),
    "maxProperties": _bound(dict, lambda value, rule: len(value) <= rule),
    "minItems": _bound(list, lambda value, rule: len(value) >= rule),
    "minimum": _bound(NUMBER, lambda value, rule: value >= rule),
    "maximum": _bound(NUMBER, lambda value, rule: value <= rule),
    "exclusiveMinimum": _bound(NUMBER, lambda value, rule: value > rule),
    "exclusiveMaximum": _bound(NUMBER, lambda value, rule: value < rule),
}
ALL = schemas()


def fits(name, text):
    return problems(ALL[name], json.loads(text), ALL[name])


def test_files_are_fresh(tmp_path):
    for path in write_schemas(tmp_path):
        assert (FOLDER / path.name).is_file(), REMEDY
        assert (FOLDER / path.name).read_bytes() == path.read_bytes(), REMEDY


@quick(40)
@given(st.data())
def test_what_is_written_fits_its_schema(data):
    network = data.draw(networks())
    assert fits("network.schema.json", to_bytes(network)) == []
    edit = data.draw(edits_for(network))
    assert fits("edit.schema.json", edit.model_dump_json()) == []
    step = JournalStep(sequence=1, action="apply", edit=edit, digest=network.digest)
    assert fits("journal-entry.schema.json", JournalEntry.of(step).model_dump_json()) == []


def test_lines_of_every_action_fit_the_schema_of_journals():
    lines = (Path(__file__).parent / "examples" / "v2-journal.jsonl").read_text().splitlines()
    assert {json.loads(line)["action"] for line in lines} == {"apply", "propose", "outcome", "undo"}
    for line in lines:
        assert fits("journal-entry.schema.json", line) == []
        assert fits("journal-entry.schema.json", line.replace('"version":2', '"version":1'))
        assert fits("journal-entry.schema.json", line.replace('"kind":"', '"kind":"un', 1)) or '"kind"' not in line


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"format": "onnx"},
        {"digest": "0"},
        {"colour": 1},
        {"layers": 1},
        {"layers": [{}]},
        {"projections": None},
    ],
)
def test_schemas_refuse_what_is_wrong(change):
    assert fits("network.schema.json", json.dumps({**json.loads(DATA), **change}))


def test_schemas_refuse_what_is_wrong_inside():
    for name in ("class:", "a b", "1a", "a" * 65):
        document = json.loads(DATA)
        document["layers"][1]["layer"]["name"] = name
        assert fits("network.schema.json", json.dumps(document))
    assert fits("edit.schema.json", '{"kind": "exec"}')
    assert fits("journal-entry.schema.json", json.dumps({"sequence": 0, "action": "undo", "digest": SMALL.digest}))


def test_higher_layers_add_their_records(tmp_path):
    class Recipe(BaseModel):
        density: float

    extra = {"recipe.schema.json": Recipe, "list.schema.json": TypeAdapter(list[int])}
    assert schemas(extra).keys() == ALL.keys() | extra.keys()
    assert all(schema["$schema"].endswith("2020-12/schema") for schema in schemas(extra).values())
    paths = write_schemas(tmp_path / "new", extra)
    assert sorted(path.name for path in paths) == sorted(schemas(extra))
    assert json.loads((tmp_path / "new" / "recipe.schema.json").read_bytes()) == schemas(extra)["recipe.schema.json"]
