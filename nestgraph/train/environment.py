"""What the exact numbers of a run depend on beside its recipe and seed, and how two such records differ."""

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from nestgraph.render import engine
from nestgraph.train.data import Dataset, Samples, StreamedSamples

LIBRARIES = (
    *("nestgraph", "torch", "numpy", "networkx", "pydantic", "kornia", "pillow", "scikit-learn", "scipy"),
    *("matplotlib", "graphviz", "pygraphviz"),
)
ABSENT = "nothing"


def environment() -> dict[str, Any]:
    """What bit-identity depends on, of pictures as well: versions, threads, machine."""
    import torch  # lazy: reading run folders does without

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "graphviz": engine.version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def fingerprints(dataset: Dataset) -> dict[str, Any]:
    """How many samples each split has and a SHA-256 of them.

    Of samples in memory it is over every value; of image files over their names, sizes and labels, since reading all of
    them would take as long as an epoch.
    """
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: {"samples": len(part.labels), "sha256": _fingerprint(part)} for name, part in splits.items()}


def _fingerprint(samples: Samples | StreamedSamples) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(samples.labels).data)
    if isinstance(samples, Samples):
        digest.update(str(samples.inputs.shape).encode())
        digest.update(np.ascontiguousarray(samples.inputs).data)
    else:
        root = os.path.commonpath(samples.files.paths)
        for place in samples.places:
            path = samples.files.paths[int(place)]
            digest.update(f"{os.path.relpath(path, root)}\0{os.stat(path).st_size}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def differences(expected: Any, got: Any, place: str = "") -> Iterator[str]:
    """Where two JSON documents differ, in words: `training.threads (expected 1, got 2)`."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        before, after = cast("Mapping[str, Any]", expected), cast("Mapping[str, Any]", got)
        for key in dict.fromkeys((*before, *after)):
            name = f"{place}.{key}" if place else key
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), name)
    elif expected != got:
        yield f"{place} (expected {_brief(expected)}, got {_brief(got)})"


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
