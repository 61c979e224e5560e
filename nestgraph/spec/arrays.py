"""NumPy arrays as fields of records, with a JSON form that is exact, compact and bounded.

One-dimensional arrays of up to `READABLE` entries are plain JSON lists. All others are objects
`{"dtype", "shape", "data"}` whose data is base64 of the little-endian bytes in row-major order; booleans
are packed eight to a byte, first entry in the highest bit.
"""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from nestgraph.spec.arguments import sized

READABLE = 32
MAX_ENTRIES = 2**31
AnyArray = NDArray[Any]


def frozen(values: Any, dtype: DTypeLike) -> AnyArray:
    """Return `values` as a read-only, row-major array of `dtype`; copies only where it must."""
    array = np.ascontiguousarray(values, dtype=dtype)
    if np.shape(values) != array.shape:  # ascontiguousarray turns scalars into vectors
        array = array.reshape(np.shape(values))
    if array.flags.writeable:
        array = array.copy() if array is values or array.base is not None else array
        array.flags.writeable = False
    return array


def owned(array: AnyArray) -> AnyArray:
    """Make an array that nobody else holds read-only, so that `frozen` takes it as it is."""
    array.flags.writeable = False
    return array


def same_bits(one: AnyArray, other: AnyArray) -> bool:
    """Whether two arrays agree in dtype, shape and every bit (0.0 and -0.0 do not)."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one is other or bool(np.array_equal(one.ravel().view(np.uint8), other.ravel().view(np.uint8)))


def encode(array: AnyArray) -> Any:
    """Return the JSON form of `array`."""
    if array.ndim == 1 and array.size <= READABLE:
        if array.dtype == np.float32:
            return [float(str(value)) for value in array]  # the shortest decimal that reads back exactly
        return array.tolist()
    flat = np.packbits(array) if array.dtype == bool else array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "data": base64.b64encode(flat.tobytes()).decode("ascii"),
    }


def decode(value: Any, dtype: np.dtype[Any]) -> AnyArray:
    """Return the array whose JSON form is `value`.

    Raises:
        ValueError: the form, dtype, shape or byte count is wrong, or a value is not finite.
    """
    if isinstance(value, dict):
        return _decode_packed(cast(dict[str, Any], value), dtype)
    if not isinstance(value, list):
        raise ValueError(f"expected a list or an array object, got {type(value).__name__}")
    entries = cast(list[Any], value)
    wanted: tuple[type, ...] = {"b": (bool,), "i": (int,)}.get(dtype.kind, (int, float))
    for entry in entries:
        if not isinstance(entry, wanted) or (dtype.kind != "b" and isinstance(entry, bool)):
            raise ValueError(f"expected entries of type {dtype.name}, got {str(entry)[:40]!r}")
    array = _checked(_array(entries), dtype)
    if dtype.kind == "f" and (lost := next((each for each in entries if each and not np.float32(each)), None)):
        raise ValueError(f"expected values of {dtype.name} that are 0 or large enough not to become 0, got {lost}")
    return array


def _decode_packed(value: dict[str, Any], dtype: np.dtype[Any]) -> AnyArray:
    if set(value) != {"dtype", "shape", "data"} or value["dtype"] != dtype.name:
        raise ValueError(f"expected an array object of dtype {dtype.name} with dtype, shape and data")
    shape, data = value["shape"], value["data"]
    if not isinstance(shape, list) or len(cast(list[Any], shape)) > 8 or not isinstance(data, str):
        raise ValueError("expected shape to be a list of up to 8 integers and data to be base64 text")
    sizes = cast(list[Any], shape)
    if any(type(size) is not int or not 0 <= size < MAX_ENTRIES for size in sizes):
        raise ValueError(f"expected sizes from 0 to {MAX_ENTRIES - 1} in shape, got {str(sizes)[:80]}")
    count = math.prod(sizes)
    expected = -(-count // 8) if dtype.kind == "b" else count * dtype.itemsize
    if len(data) != 4 * -(-expected // 3):
        raise ValueError(f"expected {expected} bytes of data for shape {sizes}, got {len(data) * 3 // 4}")
    raw = from_base64(data)
    if len(raw) != expected:
        raise ValueError(f"expected {expected} bytes of data for shape {sizes}, got {len(raw)}")
    if dtype.kind == "b":
        if count % 8 and raw[-1] & 0xFF >> count % 8:
            raise ValueError(f"expected zeros after the last of {count} bits, got one of them set")
        flat = np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool)
    else:
        flat = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)
    return _checked(flat.reshape(sizes), dtype)


def from_base64(data: str) -> bytes:
    """The bytes that a text says, which has one spelling.

    Raises:
        ValueError: it is no base64 with padding, or an unused bit of it is set.
    """
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"expected base64 data, got {error}") from None
    except ValueError:  # of characters beyond ASCII
        raise ValueError("expected base64 data, got other characters") from None
    if base64.b64encode(raw[len(raw) // 3 * 3 :]).decode() != data[len(raw) // 3 * 4 :]:
        raise ValueError("expected base64 data whose unused bits are 0, got one of them set")
    return raw


def _array(value: Any) -> AnyArray:
    try:
        return np.asarray(sized(value))
    except Exception as error:  # whatever a stranger's `__array__` does; a tensor with gradients raises RuntimeError
        raise ValueError(f"expected an array of numbers, got {type(value).__name__}: {error}") from None


def _checked(array: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """`array` frozen as `dtype`, if that keeps its values: finite floats, integers that JSON can carry."""
    if array.size and array.dtype.kind not in {"b": "b", "i": "iu", "f": "fiu"}[dtype.kind]:
        raise ValueError(f"expected an array of {dtype.name}, got {array.dtype.name}")
    if dtype.kind == "i" and array.size and not -(2**53) < int(array.min()) <= int(array.max()) < 2**53:
        raise ValueError(f"expected integers below 2**53, got {array.min()} to {array.max()}")
    with np.errstate(over="ignore"):
        result = frozen(array, dtype)
    if dtype.kind == "f" and not np.isfinite(result).all():
        raise ValueError(f"expected finite values of {dtype.name}, got NaN, infinity or a number too large")
    return result


def _from_python(value: Any, dtype: np.dtype[Any]) -> AnyArray:
    return _checked(_array(value), dtype)


@dataclass(frozen=True)
class ArrayOf:
    """Annotation that makes a NumPy array of one dtype a pydantic field."""

    dtype: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dtype = np.dtype(self.dtype)
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_plain_validator_function(lambda value: decode(value, dtype)),
            python_schema=core_schema.no_info_plain_validator_function(lambda value: _from_python(value, dtype)),
            serialization=core_schema.plain_serializer_function_ser_schema(encode, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        entry = {"b": "boolean", "i": "integer", "f": "number"}[np.dtype(self.dtype).kind]
        packed = {
            "type": "object",
            "additionalProperties": False,
            "required": ["dtype", "shape", "data"],
            "properties": {
                "dtype": {"const": np.dtype(self.dtype).name},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 8},
                "data": {"type": "string", "contentEncoding": "base64"},
            },
        }
        return {"anyOf": [{"type": "array", "items": {"type": entry}}, packed]}


Floats = Annotated[AnyArray, ArrayOf("float32")]
Integers = Annotated[AnyArray, ArrayOf("int64")]
Booleans = Annotated[AnyArray, ArrayOf("bool")]
