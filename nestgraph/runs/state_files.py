"""Arrays and a record in one safetensors file that knows whether it is whole: how a run keeps what it goes on from."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nestgraph.errors import SnapshotError
from nestgraph.snapshot import UNLIMITED, read_bounded, read_record, write_atomically
from nestgraph.snapshot.disk import shown
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.wording import foreign, quoted

RecordType = TypeVar("RecordType", bound=BaseModel)
Arrays = Mapping[str, AnyArray]
LARGEST = 2**40


def write_state(path: Path, record: BaseModel, arrays: Arrays) -> None:
    """Write a record and arrays; after a crash the file holds what it held or all of this.

    Raises:
        SnapshotError: the file cannot be written.
    """
    whole = {name: np.require(arrays[name], requirements="C") for name in sorted(arrays)}
    text = record.model_dump_json()
    write_atomically(path, save(whole, {"record": text, "sha256": _checksum(text, whole)}))


def read_state(path: Path, kind: TypeAdapter[RecordType]) -> tuple[RecordType, dict[str, AnyArray]]:
    """The record and the arrays of a file.

    Raises:
        SnapshotError: it is missing, damaged or of another kind.
    """
    data = read_bounded(path, LARGEST)
    try:
        length = int.from_bytes(data[:8], "little")
        arrays: dict[str, AnyArray] = load(data)
        noted = json.loads(data[8 : 8 + length])["__metadata__"]
        text, checksum = noted["record"], noted["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnapshotError(f"{shown(path)}: expected a state of a run, got a damaged file: {foreign(error)}") from None
    if _checksum(text, arrays) != checksum:
        raise SnapshotError(
            f"{shown(path)}: expected content with checksum {quoted(checksum)}, got other: it was altered"
        )
    return read_record(kind, text.encode(), shown(path), UNLIMITED), arrays


def _checksum(text: str, arrays: Arrays) -> str:
    """The SHA-256 of the record and of every array in the order of names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
