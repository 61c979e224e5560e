"""What the exact numbers of a run depend on beside its recipe and seed, and how two such records differ."""

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from nestgraph.data.samples import Dataset, Samples, Split, StreamedSamples
from nestgraph.errors import DataError, SnapshotError
from nestgraph.render import engine
from nestgraph.snapshot import sha256_of
from nestgraph.spec.parts import each_of

LIBRARIES = (
    *("nestgraph", "torch", "numpy", "networkx", "pydantic", "kornia", "pillow", "scikit-learn", "scipy"),
    *("matplotlib", "graphviz", "pygraphviz"),
)
ABSENT = "nothing"
READERS = 8
"""Image files that are read at a time."""


def environment() -> dict[str, Any]:
    """What bit-identity depends on, of pictures as well: versions, threads, machine."""
    import torch  # lazy: reading run folders does without

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "graphviz": engine.version(),
        "libraries": dict(_versions()),
    }


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Of what is installed: what a process has imported stays what it is, and each is looked up in a file."""
    return tuple((name, version(name)) for name in LIBRARIES)


def fingerprints(dataset: Dataset) -> dict[str, Any]:
    """How many samples each split has and a SHA-256 of them.

    Of samples in memory it is over every value; of image files over their names, labels and content, each read once; of
    the user's own batches over all of them, or over the first where a seed draws them.
    """
    return {name: _known(part) for name, part in dataset.splits.items()}


def _known(part: Split) -> dict[str, Any]:
    if isinstance(part, Samples | StreamedSamples):
        return {"samples": len(part), "sha256": _fingerprint(part)}
    return {"samples": getattr(part, "samples", None), "sha256": getattr(part, "sha256", None)}


def _fingerprint(samples: Samples | StreamedSamples) -> str:
    digest = hashlib.sha256()
    for name, told in each_of(samples.targets):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(told).data)
    if isinstance(samples, Samples):
        for array in (*samples.parts, *(() if samples.weights is None else (samples.weights,))):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    else:
        root = os.path.commonpath(samples.files.paths)
        paths = [samples.files.paths[int(place)] for place in samples.places]
        with ThreadPoolExecutor(READERS) as pool:  # a disk answers several at a time, and hashing lets go of the lock
            for path, content in zip(paths, pool.map(_content, paths), strict=True):
                digest.update(f"{os.path.relpath(path, root)}\0{content}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _content(path: str) -> str:
    try:
        return sha256_of(path)
    except SnapshotError as error:
        raise DataError(f"image_folder: {error}") from None


def differences(expected: Any, got: Any, place: str = "") -> Iterator[str]:
    """Where two JSON documents differ, in words: `training.threads (expected 1, got 2)`."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        before, after = cast("Mapping[str, Any]", expected), cast("Mapping[str, Any]", got)
        for key in dict.fromkeys((*before, *after)):
            name = f"{place}.{key}" if place else key
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), name)
    elif expected != got:
        yield f"{_brief(place)} (expected {_brief(expected)}, got {_brief(got)})"


def _brief(value: Any) -> str:
    text = str(value)[:80]
    text = text if text.isprintable() else ascii(text)
    return text if len(text) < 80 else f"{text[:77]}..."
