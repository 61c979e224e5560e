"""From every past version of a network's document to the next one, on parsed JSON that nobody checked yet.

A step leaves alone what it does not know: the schema of the present version then says what is wrong with it.

Version 1 had no sidecars. A projection had `mask`, an array of the shape of its weights, and `area` in its shape.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

Table = dict[str, Any]


def migrate(document: Any) -> Any:
    """The document in the form of the present version; the same object where it has it already, or no known form."""
    for version, step in sorted(STEPS.items()):
        if not isinstance(document, dict):
            break
        table = cast(Table, document)
        document = step(table) if type(table.get("version")) is int and table["version"] == version else table
    return document


def _from_1(document: Table) -> Table:
    projections = document.get("projections")
    if not isinstance(projections, list) or "sidecar" in document:
        return document
    flat = [_flattened(projection) for projection in cast(list[Any], projections)]
    return {**document, "version": 2, "sidecar": False, "projections": flat}


def _flattened(projection: Any) -> Any:
    """A projection with its mask and area as rows beside their shapes."""
    if not isinstance(projection, dict):
        return projection
    table = {key: value for key, value in cast(Table, projection).items() if value is not None}
    if not {"shape", "live", "area_shape"}.isdisjoint(table):
        return table
    if "mask" in table:
        table["shape"], table["live"] = _row(table.pop("mask"))
    if "area" in table:
        table["area_shape"], table["area"] = _row(table["area"])
    return table


def _row(array: Any) -> tuple[Any, Any]:
    """The shape of a stored array, and the array in one row."""
    if isinstance(array, list):
        return [len(cast(list[Any], array))], cast(Any, array)
    table = cast(Table, array) if isinstance(array, dict) else {}
    sizes = cast(list[Any], table["shape"]) if isinstance(table.get("shape"), list) else []
    if len(sizes) > 8 or not all(type(size) is int for size in sizes):
        sizes = []
    return sizes, {**table, "shape": [math.prod(sizes)]} if table else cast(Any, array)


STEPS: Mapping[int, Callable[[Table], Table]] = {1: _from_1}
"""The step from each past version."""
