"""Arrays as short texts, for the lines of journals: places of connections, and weights of a few of them.

Both are base64 of bytes, at any length, and each array has one spelling.
"""

import base64
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from nestgraph.spec.arrays import AnyArray, from_base64, frozen
from nestgraph.spec.limits import MAX_WHOLE

LONGEST = 8
"""Bytes of a place, of 7 bits each: more than any integer of a file needs."""

LOW, MORE = 0x7F, 0x80
SINGLE = np.dtype("<f4")


def ascending(places: AnyArray) -> bool:
    """Whether an array is one of places: integers of at least 0, each larger than the one before."""
    return places.ndim == 1 and (not len(places) or (int(places[0]) >= 0 and bool((np.diff(places) > 0).all())))


def write_places(places: AnyArray) -> str:
    """Ascending places as the steps between them, in bytes of 7 bits, the lowest first; the last of each is below 128.

    >>> write_places(np.array([0, 1, 300]))
    'AACqAg=='
    """
    steps = np.diff(places, prepend=-1) - 1
    sizes = np.ones(len(steps), np.int64)
    for k in range(1, LONGEST):
        sizes += steps >> (7 * k) > 0
    ends = np.cumsum(sizes)
    data = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for k in range(int(np.max(sizes, initial=0))):
        chosen = sizes > k
        more = np.where(sizes[chosen] > k + 1, MORE, 0)
        data[(ends - sizes)[chosen] + k] = (steps[chosen] >> (7 * k)) & LOW | more
    return base64.b64encode(data.tobytes()).decode("ascii")


def read_places(text: Any) -> AnyArray:
    """(places,) int64: what `write_places` wrote.

    Raises:
        ValueError: it did not write this.
    """
    data = np.frombuffer(_bytes(text), np.uint8)
    (ends,) = np.nonzero(data < MORE)
    sizes = np.diff(ends, prepend=-1)
    if not len(ends) or ends[-1] != len(data) - 1 or sizes.max() > LONGEST:
        raise ValueError(f"expected places of up to {LONGEST} bytes each, got one that does not end")
    if (data[ends[sizes > 1]] == 0).any():
        raise ValueError("expected each place in as few bytes as it needs, got one with more")
    steps, begin = np.zeros(len(ends), np.int64), ends - sizes + 1
    for k in range(int(sizes.max())):
        chosen = sizes > k
        steps[chosen] |= (data[begin[chosen] + k] & LOW).astype(np.int64) << (7 * k)
    if steps.sum(dtype=np.float64) + len(steps) > MAX_WHOLE:  # as floats, which do not overflow
        raise ValueError("expected places below 2**53, got a larger one")
    return frozen(np.cumsum(steps + 1) - 1, np.int64)


def _write_singles(values: AnyArray) -> str:
    return base64.b64encode(values.astype(SINGLE, copy=False).tobytes()).decode("ascii")


def _read_singles(text: Any) -> AnyArray:
    """(values,) float32, finite."""
    data = _bytes(text)
    if len(data) % SINGLE.itemsize:
        raise ValueError(f"expected numbers of {SINGLE.itemsize} bytes each, got {len(data)} bytes")
    values = frozen(np.frombuffer(data, SINGLE), np.float32)
    if not np.isfinite(values).all():
        raise ValueError("expected finite values of float32, got NaN or infinity")
    return values


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or not text:
        raise ValueError("expected base64 text of at least one number (where there is none the field is absent)")
    return from_base64(text)


@dataclass(frozen=True)
class _Text:
    """Annotation that makes an array a pydantic field whose JSON form is a text.

    Attributes:
        dtype: of the array.
        blank: whether an empty text is an array of nothing, where an absent field is something else.
    """

    dtype: str
    blank: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dtype = np.dtype(self.dtype)
        read, write = (read_places, write_places) if dtype.kind == "i" else (_read_singles, _write_singles)

        def read_text(text: Any) -> AnyArray:
            return frozen(np.zeros(0, dtype), dtype) if self.blank and text == "" else read(text)

        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_plain_validator_function(read_text),
            python_schema=core_schema.no_info_plain_validator_function(lambda value: frozen(value, dtype)),
            serialization=core_schema.plain_serializer_function_ser_schema(write, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "contentEncoding": "base64", "minLength": 0 if self.blank else 4}


Places = Annotated[AnyArray, _Text("int64")]
PlacesOrNone = Annotated[AnyArray, _Text("int64", blank=True)]
Singles = Annotated[AnyArray, _Text("float32")]


def no_places() -> AnyArray:
    """No places."""
    return frozen(np.zeros(0, np.int64), np.int64)


def no_values() -> AnyArray:
    """No values."""
    return frozen(np.zeros(0, np.float32), np.float32)


def empty(array: AnyArray) -> bool:
    """Whether there is nothing to write."""
    return not len(array)
