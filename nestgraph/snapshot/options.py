"""What people write by hand, in TOML or JSON, brought into JSON that passed the strict checks."""

import json
import tomllib
from pathlib import Path

from nestgraph.snapshot.disk import PathLike, read_bounded, shown
from nestgraph.snapshot.limits import LIMITS
from nestgraph.snapshot.strict_json import check_json

OPTION_BYTES = 2**20
"""What a recipe may have: a thousand times what recipes have."""


def read_options(path: PathLike) -> str:
    """The text of a file of options.

    Raises:
        SnapshotError: it cannot be read or is too large.
        ValueError: it is not UTF-8.
    """
    try:
        return read_bounded(path, OPTION_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown(path)}: cannot be read (expected UTF-8 text, got: {error.reason})") from None


def options_json(text: str, source: PathLike) -> bytes:
    """The JSON of a text in TOML, or in JSON where the name of its `source` says so.

    Raises:
        ValueError: it is neither, ambiguous, too deep or too large, or has integers that JSON does not carry.
    """
    in_json = Path(source).suffix == ".json"
    limits = LIMITS.model_copy(update={"document_bytes": OPTION_BYTES})
    try:
        data = (text if in_json else json.dumps(tomllib.loads(text), default=str)).encode()
        check_json(data, limits, finite=False)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"expected {'JSON' if in_json else 'TOML'}, got a syntax error: {error}") from None
    except RecursionError:
        raise ValueError(f"expected values nested at most {limits.depth} deep, got more") from None
    return data
