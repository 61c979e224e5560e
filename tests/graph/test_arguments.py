"""Arguments are held to the annotations of their parameters, in one sentence of who, expected and got."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from nestgraph.errors import EditError
from nestgraph.spec import Layer
from nestgraph.spec.arguments import MismatchError, check_of, checked
from nestgraph.spec.arrays import AnyArray

NAN, HUGE = float("nan"), 10**5000
PARAMETER = torch.nn.Parameter(torch.ones(2))
TABLE = [
    (int, [0, -3, np.int8(3), 2**63], [True, 1.0, "1", HUGE, None, np.float32(1), NAN]),
    (float, [0, 0.5, np.float16(1), 3.4e38], [True, NAN, float("inf"), 1e39, HUGE, "1", 1j, None]),
    (bool, [True, np.bool(False)], [0, 1, None, "x", np.array([True, False])]),
    (str, ["", "a"], [b"a", None, 1, ["a"]]),
    (int | None, [None, 3], ["a", 0.5]),
    (Literal["a", "b"], ["a"], ["c", b"a", 1, ["a"]]),
    (Path | str, ["a", Path("a")], ["a\0", b"a", 5, None, "\ud800x\0"]),
    (
        str | os.PathLike[str],
        ["a", Path("a"), "a" * 255, "ab/" * 1365],
        ["a\0", b"a", 5, None, "a" * 256, "b/" + "\u00e9" * 128, "ab/" * 1366, Path("a" * 300)],
    ),
    (
        Sequence[int],
        [[1], (1, 2), range(3), np.arange(3)],
        ["12", b"12", {1}, {1: 2}, 5, [1.5], range(10**12), iter([1])],
    ),
    (Collection[str], [["a"], {"a"}, {"a": 1}.keys()], ["a", b"a", [1], 5]),
    (tuple[int, int], [(1, 2), [1, 2]], [(1,), (1, 2, 3), "12", (1, "a"), None]),
    (tuple[int, ...], [(), [1, 2, 3]], ["1", 1, ["a"]]),
    (Mapping[str, int], [{}, {"a": 1}], [{1: 1}, {"a": "b"}, [("a", 1)], "a", None]),
    (
        Iterable[int],
        [[1], iter([1]), {1}, np.arange(2)],
        ["1", b"1", 1, None, np.array(1), torch.tensor(1), range(10**12)],
    ),
    (Callable[[int], int], [len, print, max], [5, "len", None, isinstance]),
    (Callable[[int, str], int], [isinstance, map, print], [len, Layer]),
    (Callable[..., int], [len, isinstance], [5]),
    (
        AnyArray,
        [[1.0], np.arange(3)[::-1], 5, torch.ones(2), [[1, 2]]],
        ["a", [None], [[1], [1, 2]], PARAMETER, object()],
    ),
    (AnyArray | float, [0.5, [1.0]], ["a", None, [HUGE]]),
    (AnyArray, [np.zeros((0, 3))], [np.broadcast_to(np.float32(1), 2**40), [1j], range(10**12)]),
    (Layer, [Layer(name="a", kind="neurons")], ["a", None, Layer]),
    (Any, [None, 1, object()], []),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row[0])[:40])
def test_what_annotations_allow_and_what_not(row):
    annotation, good, bad = row
    check = check_of(annotation) or (lambda value: value)
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(MismatchError):
            check(value)


def test_a_refusal_says_who_expected_and_got():
    @checked(EditError, of=(KeyError,))
    def verb(layer: str, count: int = 1, **more: float) -> tuple[str, int]:
        if layer == "missing":
            raise KeyError(layer)
        return layer, count + len(more)

    assert verb("a", count=np.int8(2)) == ("a", 2)
    assert type(verb("a", np.int8(2))[1]) is int
    for call, words in (
        (lambda: verb(5), r"verb expected layer: a text, got 5"),
        (lambda: verb("a", HUGE), r"verb expected count: an integer of 64 bits, got an integer of 16,610 bits"),
        (lambda: verb("a", bias=NAN), r"verb expected bias: a finite number of 32 bits, got nan"),
        (lambda: verb("missing"), r"verb: 'missing'"),
    ):
        with pytest.raises(EditError, match=words):
            call()
    with pytest.raises(TypeError, match=r"unexpected|missing"):
        verb()
