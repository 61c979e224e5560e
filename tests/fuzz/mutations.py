"""What a mutated file is made of: bytes changed, moved and repeated, or values exchanged in a parsed document."""

from copy import deepcopy

PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\n", b"\xff", b"\xef\xbb\xbf", b"\xc0\xaf", b"\\u0000"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0.0", b"0", b"-1", b"9" * 40, b"1e-400", b"[" * 40),
    *(b"\xed\xa0\x80", b"\\ud800", b"=", b"[[", b"#", b"'''", b"inf", b"nan", b"1979-05-27", b"."),
]
VALUES = [
    *(None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 10**30, 0.5, -0.0, 1e308, "", "0", "a", "class", "a" * 300),
    *("\u202e", "\x1b[2J", "</script>", "../../x", "__import__('os')", "NaN", [], {}, [[]], [0] * 40, [0.5], [True]),
    *({"dtype": "float32", "shape": [2**40], "data": ""}, {"dtype": "bool", "shape": [8], "data": "/w=="}),
    *({"kind": "dense"}, {"kind": "exec"}, {"": {}}, [2**31 - 1] * 8, [0, 2**31 - 1, 2**31 - 1], [-1], ["x"]),
]
KEYS = ("kind", "name", "x", "__class__", "shape", "ids", "version", "sidecar")


def mutated_bytes(data, rng):
    """One to four changes of bytes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        end = min(len(data), at + rng.choice((0, 1, 1, 2, 8, 64)))
        match rng.randrange(6):
            case 0:
                data[at:end] = rng.choice(PIECES)
            case 1:
                data[at:end] = rng.randbytes(end - at)
            case 2:
                data[at:at] = data[at:end] * rng.choice((1, 2, 50))
            case 3:
                del data[at:end]
            case 4 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case _:
                start = rng.randint(0, len(data))
                data[at:end] = data[start : start + rng.choice((1, 4, 32))]
    if rng.random() < 0.05:
        del data[rng.randint(0, len(data)) :]
    return bytes(data)


def mutated_values(document, rng):
    """One to three values of a parsed document exchanged, removed, repeated or renamed; the document is changed."""
    for _ in range(rng.randint(1, 3)):
        place, key = rng.choice(_places(document))
        match rng.randrange(5):
            case 0 | 1:
                place[key] = deepcopy(rng.choice(VALUES))
            case 2:
                other, name = rng.choice(_places(document))
                place[key] = deepcopy(other[name])
            case 3:
                del place[key]
            case 4 if isinstance(place, dict):
                place[rng.choice(("kind", "name", "x", "__class__", "shape", "ids", "version", key + "_"))] = deepcopy(
                    place[key]
                )
            case _:
                place.insert(key, deepcopy(place[key])) if isinstance(place, list) else place.pop(key)
        if not _places(document):
            break
    return document


def _places(value):
    """Every (container, key) inside a document."""
    found = []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(inner):
        found.append((value, key))
        found += _places(part)
    return found
