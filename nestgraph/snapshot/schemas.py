"""JSON Schemas of the files that nestgraph writes, made from the records that read them."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from nestgraph.edits import EDIT
from nestgraph.snapshot.costs import CALIBRATION
from nestgraph.snapshot.disk import PathLike, reported
from nestgraph.snapshot.document import NETWORK
from nestgraph.snapshot.journal_entry import ENTRY
from nestgraph.snapshot.ownership import write_all_own

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Described = TypeAdapter[Any] | type[BaseModel]
RECORDS: Mapping[str, Described] = {
    "network.schema.json": NETWORK,
    "edit.schema.json": EDIT.adapter,
    "journal-entry.schema.json": ENTRY,
    "costs.schema.json": CALIBRATION,
}


def schemas(extra: Mapping[str, Described] | None = None) -> dict[str, dict[str, Any]]:
    """The JSON Schema (draft 2020-12) of each kind of file, by the schema's file name.

    Args:
        extra: records of higher layers, such as recipes, by file name.
    """
    texts = {name: _schema(record) for name, record in RECORDS.items()}
    texts |= {name: _described(record) for name, record in (extra or {}).items()}  # anew: kinds may have come
    return {name: {"$schema": DIALECT, **json.loads(text)} for name, text in sorted(texts.items())}


@cache
def _schema(record: Described) -> str:
    """Kept, as it is of a record's whole tree, which takes a while."""
    return _described(record)


def _described(record: Described) -> str:
    """As text, so that no caller changes what others get."""
    adapter = record if isinstance(record, TypeAdapter) else TypeAdapter(record)
    return json.dumps(adapter.json_schema())


def write_schemas(
    folder: PathLike, extra: Mapping[str, Described] | None = None, overwrite: bool = False
) -> list[Path]:
    """Write the schemas into a folder, which is made where it is missing, and return their paths.

    Args:
        folder: where to.
        extra: as for `schemas`.
        overwrite: replace files that are no such schemas; an older one of the same title is replaced without it.

    Raises:
        SnapshotError: another file is there, or one cannot be written; none was, then, if another was there.
    """
    with reported(folder, "written"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    files = {
        Path(folder) / name: ((json.dumps(schema, indent=2, sort_keys=True) + "\n").encode(), _mark(schema))
        for name, schema in schemas(extra).items()
    }
    write_all_own(files, overwrite)
    return list(files)


def _mark(schema: Mapping[str, Any]) -> bytes | None:
    """The title of a schema, as it stands near its end."""
    return f'"title": {json.dumps(schema["title"])}'.encode() if "title" in schema else None
