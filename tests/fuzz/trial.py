"""One mutated file of each kind, read: it gives a result or an error of ours, in few calls and little memory."""

import contextlib
import hashlib
import json
import random
import resource
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from nestgraph.errors import NestgraphError, RecipeError, SnapshotError
from nestgraph.graph import Network
from nestgraph.recipes.recipe import Recipe, parse_recipe
from nestgraph.snapshot import Limits, from_bytes, load, read_journal
from tests.counting import Calls, counted
from tests.fuzz.mutations import mutated_bytes, mutated_values

EXAMPLES = Path(__file__).parent.parent / "snapshot" / "examples"
SNAPSHOTS = ("v1-chain", "v1-areas", "v2-chain", "v2-areas")
LIMITS = Limits(entries=2**20)
CALLS, MEMORY = 2**16, 2**25
"""What one reading may take beside ten times the file's bytes: calls of functions, and bytes."""


@dataclass(frozen=True)
class Finding:
    """A reading that broke the promise; the seed makes it again."""

    seed: str
    problem: str


@cache
def samples():
    """The bytes of the good files, by kind."""
    recipes = resources.files("nestgraph.recipes").joinpath("packaged")
    tomls = [(recipes / f"{name}.toml").read_bytes() for name in ("digits", "lenet-5")]
    parsed = [parse_recipe(text.decode(), "x.toml").model_dump_json().encode() for text in tomls]
    return {
        "snapshot": [(EXAMPLES / f"{name}.json").read_bytes() for name in SNAPSHOTS],
        "sidecar": [(EXAMPLES / "v2-sidecar.json").read_bytes()],
        "journal": [(EXAMPLES / f"v{version}-journal.jsonl").read_bytes() for version in (1, 2, 2)],
        "recipe.toml": tomls,
        "recipe.json": parsed,
    }


KINDS = ("snapshot", "snapshot", "snapshot", "sidecar", "journal", "journal", "recipe.toml", "recipe.json")


def trial(seed, folder):
    """Read one file mutated as the seed says; what is wrong with how that went, or None."""
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    data = rng.choice(samples()[kind])
    wrong = TRIALS[kind](data, rng, folder)
    return Finding(seed, f"{kind}: {wrong}") if wrong else None


def _mutated(data, rng):
    if rng.random() < 0.5 or data[:1] != b"{":
        return mutated_bytes(data, rng)
    return json.dumps(mutated_values(json.loads(data), rng), ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")


def broken_promise(reader, size, expected, error):
    """How a reading broke the promise; None where it kept it."""
    with contextlib.suppress(OSError):  # else what was held before hides what is held now
        Path("/proc/self/clear_refs").write_text("5")
    before, calls = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Calls()
    try:
        with warnings.catch_warnings(), counted() as calls:
            warnings.simplefilter("ignore", UserWarning)
            given = reader()
        wrong = None if isinstance(given, expected) else f"gave {type(given).__name__}"
    except NestgraphError as refusal:
        message = str(refusal)
        fits = isinstance(refusal, error) and message.isprintable() and len(message) < 1500
        wrong = None if fits else f"{type(refusal).__name__}: {message[:300]!r}"
    except BaseException as foreign:
        wrong = f"{type(foreign).__name__}: {str(foreign)[:300]!r}"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if calls.count > 10 * size + CALLS:
        wrong = f"took {calls.count:,} calls for {size:,} bytes"
    if grown > 10 * size + MEMORY:
        wrong = f"took {grown:,} bytes for {size:,}"
    return wrong


def _snapshot(data, rng, _):
    data = _mutated(data, rng)
    return broken_promise(lambda: from_bytes(data, "net.json", LIMITS), len(data), Network, SnapshotError)


def _sidecar(data, rng, folder):
    digest = json.loads(data)["digest"]
    arrays = (EXAMPLES / f"{digest}.safetensors").read_bytes()
    data, arrays = (_mutated(data, rng), arrays) if rng.random() < 0.3 else (data, mutated_bytes(arrays, rng))
    (folder / "net.json").write_bytes(data)
    (folder / f"{digest}.safetensors").write_bytes(arrays)
    return broken_promise(lambda: load(folder / "net.json", LIMITS), len(data) + len(arrays), Network, SnapshotError)


def _journal(data, rng, folder):
    lines = data.splitlines(keepends=True)
    if rng.random() < 0.5:
        at = rng.randrange(len(lines))
        entry = mutated_values(json.loads(lines[at]), rng)
        if isinstance(entry, dict) and rng.random() < 0.8:
            lines[at] = summed(entry)
        data = b"".join(lines)
    else:
        data = mutated_bytes(data, rng)
    (folder / "journal.jsonl").write_bytes(data)
    return broken_promise(lambda: read_journal(folder / "journal.jsonl", LIMITS), len(data), list, SnapshotError)


def summed(entry):
    """A line whose checksum holds, so that what it says is looked at."""
    entry.pop("checksum", None)
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return text[:-1] + b',"checksum":"' + hashlib.sha256(text).hexdigest().encode() + b'"}\n'


def _recipe_toml(data, rng, _):
    data = mutated_bytes(data, rng)
    return _recipe(data, "recipe.toml")


def _recipe_json(data, rng, _):
    return _recipe(_mutated(data, rng), "recipe.json")


def _recipe(data, source):
    text = data.decode("utf-8", "replace")
    return broken_promise(lambda: parse_recipe(text, source), len(data), Recipe, RecipeError)


TRIALS = {
    "snapshot": _snapshot,
    "sidecar": _sidecar,
    "journal": _journal,
    "recipe.toml": _recipe_toml,
    "recipe.json": _recipe_json,
}
