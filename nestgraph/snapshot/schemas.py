"""JSON Schemas of the files that nestgraph writes, made from the records that read them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from nestgraph.edits import EDIT
from nestgraph.snapshot.disk import PathLike, reported, write_atomically
from nestgraph.snapshot.document import NETWORK
from nestgraph.snapshot.journal import ENTRY

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Described = TypeAdapter[Any] | type[BaseModel]
RECORDS: Mapping[str, Described] = {
    "network.schema.json": NETWORK,
    "edit.schema.json": EDIT,
    "journal-entry.schema.json": ENTRY,
}


def schemas(extra: Mapping[str, Described] | None = None) -> dict[str, dict[str, Any]]:
    """The JSON Schema (draft 2020-12) of each kind of file, by the schema's file name.

    Args:
        extra: records of higher layers, such as recipes, by file name.
    """
    records = {**RECORDS, **(extra or {})}
    return {name: {"$schema": DIALECT, **_schema(record)} for name, record in sorted(records.items())}


def _schema(record: Described) -> dict[str, Any]:
    adapter = record if isinstance(record, TypeAdapter) else TypeAdapter(record)
    return adapter.json_schema()


def write_schemas(folder: PathLike, extra: Mapping[str, Described] | None = None) -> list[Path]:
    """Write the schemas into a folder, which is made where it is missing, and return their paths.

    Raises:
        SnapshotError: a file cannot be written.
    """
    with reported(folder, "written"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, schema in schemas(extra).items():
        paths.append(Path(folder) / name)
        write_atomically(paths[-1], (json.dumps(schema, indent=2, sort_keys=True) + "\n").encode())
    return paths
