"""Bounds on TOML from strangers, in one pass before the parser, whose work grows with the square of a key's depth.

Depth has four spellings: dotted keys, table headers, arrays and inline tables. A value lies as deep as all of them
around it together. What is no TOML may be counted wrongly, and is left to the parser.
"""

import re

MOST_PARTS = 2**14
"""How many keys, values and parts of keys there may be: a hundred times what recipes have."""

LONGEST_WORD = 256
# Possessive, and content with a string that never ends: linear in time and without a stack for any input.
_QUOTED = re.compile(
    r"""
      \#[^\n]*+
    | \"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5})?+
    | '''(?:[^']++|'(?!''))*+(?:'{3,5})?+
    | "(?:[^"\\\n]++|\\[^\n])*+"?+
    | '[^'\n]*+'?+
    """,
    re.DOTALL | re.VERBOSE,
)
_MARK = re.compile(r"\n\s*+|[\[\]{}=,.]")
_WORD = re.compile(r"[^\s\[\]{}=,.]++")


def check_toml(text: str, deepest: int) -> None:
    """Refuse a text with more depth or more values than a file of options needs.

    Args:
        text: whatever it is.
        deepest: how deep values may be nested.

    Raises:
        ValueError: it has.
    """
    bare = _QUOTED.sub(" ", text)
    depth = _depth(bare)
    if depth > deepest:
        raise ValueError(f"expected values nested at most {deepest} deep, got {depth:,}")
    parts = sum(bare.count(mark) for mark in "=,.[{")
    if parts > MOST_PARTS:
        raise ValueError(f"expected at most {MOST_PARTS:,} keys and values, got {parts:,}")
    word = max(_WORD.findall(bare), key=len, default="")
    if len(word) > LONGEST_WORD:
        raise ValueError(f"expected words of at most {LONGEST_WORD} characters, got {word[:40]}... of {len(word):,}")


def _depth(bare: str) -> int:
    """How deep the deepest value lies; `bare` is the text without its strings and comments."""
    inside = [(0, True)]  # of each open bracket, outermost the table: the level inside, and whether keys stand there
    level, keys = inside[0]
    deepest = dots = heading = 0
    begun = False  # whether anything stands in this line
    for found in _MARK.finditer(bare):
        mark, outside = found[0], len(inside) == 1
        if mark == ".":
            dots += keys
        elif mark == "=":
            level, dots, keys = level + dots + 1, 0, False
        elif mark == "[" and outside and (heading or not begun):
            heading += 1
        elif mark == "]" and heading:
            inside[0] = heading + dots, True
            level, heading = inside[0][0], 0
        elif mark in "[{":
            level, keys = level + (mark == "["), mark == "{"
            inside.append((level, keys))
        elif mark in "]}" and not outside:
            inside.pop()
        elif mark == "," or outside:
            (level, keys), dots = inside[-1], 0
        deepest = max(deepest, level)
        begun = mark[0] != "\n"
    return deepest
