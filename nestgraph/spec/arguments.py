"""The arguments of public verbs, checked against the annotations of their parameters before a verb begins.

So whoever passes a string for a network or NaN for a fraction gets one sentence of the library's, from every verb
alike. What an annotation cannot say, such as that a layer is there, a verb checks itself.
"""

import functools
import inspect
import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from nestgraph.errors import NestgraphError
from nestgraph.spec.limits import MAX_FILE_NAME, MAX_PATH, MAX_REAL, MAX_UNITS, MAX_WHOLE
from nestgraph.spec.wording import quoted

F = TypeVar("F", bound=Callable[..., Any])
Count = Annotated[int, range(MAX_WHOLE)]
AtLeastOne = Annotated[int, range(1, MAX_WHOLE)]
Check = Callable[[Any], Any]
"""Gives an argument in the form that the verb takes, or raises `MismatchError`."""


class MismatchError(Exception):
    """An argument that is not what is expected, in words."""


def checked(error: type[NestgraphError], of: tuple[type[Exception], ...] = ()) -> Callable[[F], F]:
    """Decorate a public verb: arguments that its annotations do not allow raise `error`.

    Args:
        error: the class that the verb's docstring names.
        of: what the verb meets within and tells as its own `error`.
    """

    def decorate(function: F) -> F:
        who = function.__qualname__.removesuffix(".__init__")
        signature = _Signature(function)

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            try:
                args, options = signature.fitted(args, options)
            except MismatchError as problem:
                raise error(f"{who} expected {problem}") from None
            try:
                return function(*args, **options)
            except of as problem:
                raise error(f"{who}: {problem}") from problem

        return cast(F, call)

    return decorate


class _Signature:
    """The parameters of a function, looked at when it is first called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @functools.cached_property
    def _checks(self) -> tuple[list[tuple[str, Check | None]], dict[str, Check | None], Check | None]:
        """Those of the places, those of the names, and that of any other name."""
        parameters = inspect.signature(self._function).parameters.values()
        try:
            hints = get_type_hints(self._function, include_extras=True)
        except (NameError, TypeError):  # names that type checkers alone know
            hints = {one.name: one.annotation for one in parameters}
        given = {one.name: check_of(hints.get(one.name, Any)) for one in parameters}
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        places = [(one.name, given[one.name]) for one in parameters if one.kind in by_place]
        rest = next((given[one.name] for one in parameters if one.kind is inspect.Parameter.VAR_KEYWORD), None)
        return places, given, rest

    def fitted(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments in the form that the function takes; too many or unknown ones are left to Python."""
        places, given, rest = self._checks
        fitting = [_fitted(name, check, value) for (name, check), value in zip(places, args, strict=False)]
        named = {name: _fitted(name, given.get(name, rest), value) for name, value in options.items()}
        return (*fitting, *args[len(places) :]), named


def _fitted(name: str, check: Check | None, value: Any) -> Any:
    if check is None:
        return value
    try:
        return check(value)
    except MismatchError as problem:
        raise MismatchError(f"{name}: {problem}, got {quoted(value)}") from None


# -- from annotations to checks ------------------------------------------------------------------------


def check_of(annotation: Any) -> Check | None:
    """The check of an annotation; None where it allows anything."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        among = next((one for one in inner[1:] if isinstance(one, range)), None)
        return check_of(inner[0]) if among is None else functools.partial(_among, numbers=among)
    if isinstance(annotation, TypeVar):
        return check_of(annotation.__bound__ or Any)
    if origin in FORMS:
        return FORMS[origin](inner)
    if annotation in LEAVES:
        return LEAVES[annotation]
    kind = origin or annotation
    if not isinstance(kind, type) or kind is object or getattr(kind, "_is_protocol", False):
        return None
    return functools.partial(_instance, kind=kind)


def _of_container(check: Callable[..., Any], inner: tuple[Any, ...]) -> Check:
    return functools.partial(check, checks=tuple(map(check_of, inner)))


def _of_tuple(inner: tuple[Any, ...]) -> Check:
    return functools.partial(_tuple, checks=tuple(map(check_of, inner)), any_number=inner[-1:] == (...,))


def _of_several(inner: tuple[Any, ...]) -> Check:
    """The check of a tuple of arrays where one array would do too: its entries are not put together."""
    check = _of_tuple(inner)

    def several(value: Any) -> Any:
        if not isinstance(value, tuple):
            raise MismatchError("a tuple")
        return check(value)

    return several


def _union(members: tuple[Any, ...]) -> Check | None:
    if any((get_origin(one) or one) is os.PathLike for one in members) or set(members) == {str, Path}:
        rest = [one for one in members if (get_origin(one) or one) not in (str, os.PathLike, Path)]
        checks = [path, *map(check_of, rest)]
    else:
        arrays = any(get_origin(one) is np.ndarray for one in members)
        kept = [one for one in members if not (arrays and get_origin(one) in (Sequence, Iterable, tuple))]
        several = [one for one in members if arrays and get_origin(one) is tuple]
        checks = [*(_of_several(get_args(one)) for one in several), *map(check_of, kept)]
    if any(check is None for check in checks):
        return None
    return functools.partial(_any, checks=cast("list[Check]", checks))


def _any(value: Any, checks: list[Check]) -> Any:
    problems: list[str] = []
    for check in checks:
        try:
            return check(value)
        except MismatchError as problem:
            problems.append(str(problem))
    raise MismatchError(" or ".join(dict.fromkeys(problems)))


def _instance(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise MismatchError(f"an instance of {kind.__name__}")
    return value


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    raise MismatchError(f"one of {', '.join(map(repr, choices))}")


def nothing(value: Any) -> None:
    """None, where nothing else is said."""
    if value is not None:
        raise MismatchError("None")


# -- leaves ------------------------------------------------------------------------------------------


def whole(value: Any) -> int:
    """An integer of 64 bits, signed or not: NumPy's are taken, booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not -(2**63) <= value < 2**64:
        raise MismatchError("an integer of 64 bits")
    return int(cast(int, value))


def _among(value: Any, numbers: range) -> int:
    """An integer of a range, such as `Annotated[int, range(1, 256)]` allows."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or int(cast(int, value)) not in numbers:
        raise MismatchError(f"a whole number from {numbers.start} to {numbers.stop - 1:,}")
    return int(cast(int, value))


def real(value: Any) -> float:
    """A finite number that a float32 holds, rounded or not."""
    fits = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    number = float(cast(float, value)) if fits and isinstance(value, np.generic) else cast(float, value)
    if not fits or not -MAX_REAL <= number <= MAX_REAL:
        raise MismatchError("a finite number of 32 bits")
    return float(number)


def truth(value: Any) -> bool:
    """A boolean, Python's or NumPy's."""
    if not isinstance(value, bool | np.bool):
        raise MismatchError("True or False")
    return bool(cast(bool, value))


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise MismatchError("a text")
    return value


def path(value: Any) -> Any:
    """A path that the system can be asked for."""
    try:
        given = cast(Any, os.fspath(value))
        encoded = os.fsencode(given) if isinstance(given, str) else b"\0"
    except Exception:  # whatever a stranger's `__fspath__` does
        raise MismatchError("a path") from None
    if b"\0" in encoded:
        raise MismatchError("a path without NUL characters")
    if len(encoded) > MAX_PATH or max(map(len, encoded.split(os.sep.encode()))) > MAX_FILE_NAME:
        raise MismatchError(f"a path of at most {MAX_PATH} bytes, of names of at most {MAX_FILE_NAME}")
    return value if isinstance(value, Path) else given


def folder(value: Any) -> Path:
    """A path, as a `Path`."""
    return Path(path(value))


def numbers(value: Any) -> Any:
    """An array of numbers or booleans, of any shape and strides: what NumPy makes of arrays, lists and tensors."""
    try:
        array = cast(Any, np.asarray(sized(value)))
    except MismatchError:
        raise
    except Exception:  # whatever a stranger's `__array__` or `__getitem__` does
        raise MismatchError("an array of numbers (of a tensor that has gradients, detach() it)") from None
    if array.dtype.kind not in "biuf" and array.size:
        raise MismatchError("an array of numbers")
    return array


LEAVES: Mapping[Any, Check | None] = {
    int: whole,
    float: real,
    bool: truth,
    str: text,
    Path: folder,
    None: nothing,
    type(None): nothing,
    Any: None,
    inspect.Parameter.empty: None,
}


# -- containers --------------------------------------------------------------------------------------


def sized(value: Any) -> Any:
    """`value`, unless making it a list or an array would take more memory than it has itself and a layer may have."""
    try:
        if isinstance(value, np.ndarray):
            array = cast("np.ndarray[Any, Any]", value)
            fits = array.size <= MAX_UNITS or all(array.strides)  # a stride of 0 repeats one number without end
        else:
            held = isinstance(value, list | tuple | str | bytes) or not isinstance(value, Sequence)
            fits = held or len(cast(Sequence[Any], value)) <= MAX_UNITS
    except Exception:  # whatever a stranger's `__len__` does; a range of more than 2**63
        fits = False
    if not fits:
        raise MismatchError(f"at most {MAX_UNITS:,} entries")
    return cast(Any, value)


def _sequence(value: Any, checks: tuple[Check | None, ...], kinds: tuple[type, ...] = (Sequence, np.ndarray)) -> Any:
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping) or not isinstance(value, kinds):
        raise MismatchError("a sequence")
    try:
        entries = list(sized(value))
    except MismatchError:
        raise
    except Exception:  # whatever a stranger's `__iter__` does
        raise MismatchError("a sequence") from None
    check = checks[0]
    return entries if check is None else [_entry(check, entry) for entry in entries]


def _entry(check: Check, entry: Any) -> Any:
    try:
        return check(entry)
    except MismatchError as problem:
        raise MismatchError(f"entries that are {problem} (one is {quoted(entry)})") from None


def _collection(value: Any, checks: tuple[Check | None, ...]) -> Any:
    return _sequence(value, checks, (Sequence, Collection, np.ndarray))


def _mapping(value: Any, checks: tuple[Check | None, ...]) -> Any:
    if not isinstance(value, Mapping):
        raise MismatchError("a mapping")
    try:
        items = list(cast(Mapping[Any, Any], value).items())
    except Exception:  # whatever a stranger's `items` does
        raise MismatchError("a mapping") from None
    key, entry = (check or _as_it_is for check in checks)
    return {_entry(key, name): _entry(entry, given) for name, given in items}


def _as_it_is(value: Any) -> Any:
    return value


def _iterable(value: Any, checks: tuple[Check | None, ...]) -> Any:  # noqa: ARG001  (the verb looks at what it gives)
    try:
        fits = not isinstance(value, str | bytes | bytearray | memoryview) and iter(value) is not None
    except Exception:  # whatever a stranger's `__iter__` does; arrays of no dimension have one that fails
        fits = False
    if not fits:
        raise MismatchError("an iterable")
    return sized(value)


def _of_callable(inner: tuple[Any, ...]) -> Check:
    """The check of a function that is called with so many arguments by position, where its annotation says how many."""
    count = len(cast("list[Any]", inner[0])) if inner and isinstance(inner[0], list) else None

    def check(value: Any) -> Any:
        if not callable(value) or (count is not None and not _takes(value, count)):
            raise MismatchError("a function" if count is None else f"a function of {count} arguments")
        return value

    return check


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments by position, as far as it says what it takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some of Python's own do not
        return True
    try:
        signature.bind(*(None,) * count)
    except TypeError:
        return False
    return True


def _tuple(value: Any, checks: tuple[Check | None, ...], any_number: bool) -> Any:
    entries = _sequence(value, (None,))
    checks = (checks[0],) * len(entries) if any_number else checks
    if len(entries) != len(checks):
        raise MismatchError(f"a tuple of {len(checks)}")
    return tuple(entry if check is None else _entry(check, entry) for check, entry in zip(checks, entries, strict=True))


FORMS: Mapping[Any, Callable[[tuple[Any, ...]], Check | None]] = {
    Literal: lambda inner: functools.partial(_literal, choices=inner),
    Union: _union,
    types.UnionType: _union,
    np.ndarray: lambda _: numbers,  # pyright: ignore[reportUnknownLambdaType]
    tuple: _of_tuple,
    Callable: _of_callable,
    Sequence: functools.partial(_of_container, _sequence),
    Collection: functools.partial(_of_container, _collection),
    Mapping: functools.partial(_of_container, _mapping),
    Iterable: functools.partial(_of_container, _iterable),
}
"""The checks of generic annotations, from what is in their brackets."""
