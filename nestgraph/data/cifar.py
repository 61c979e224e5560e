"""CIFAR-10 in its binary format (Krizhevsky 2009): six files of records, each a label and 32 x 32 pixels in RGB."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestgraph.errors import DataError

IMAGE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
RECORDS = 10_000
"""Of each file."""

CLASSES = 10
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def present(folder: Path) -> bool:
    """Whether all six files lie in a folder."""
    return all((folder / name).is_file() for name in (*TRAIN, TEST))


def read_cifar10(folder: Path) -> tuple[Images, Labels, Images, Labels]:
    """The training images (samples, 3, 32, 32) and labels (samples,), in the order of the files, and those for testing.

    Raises:
        DataError: a file is missing, of another size, or has labels that there are not.
    """
    missing = [name for name in (*TRAIN, TEST) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"cifar10: expected {', '.join((*TRAIN, TEST))} in {folder}, lacks {', '.join(missing)}. They come in "
            "cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html: unpack it there"
        )
    parts = [_records(folder / name) for name in TRAIN]
    test, test_labels = _records(folder / TEST)
    return np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts]), test, test_labels


def _records(path: Path) -> tuple[Images, Labels]:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == RECORDS * RECORD else b""
    except OSError as error:
        raise DataError(f"cifar10: cannot read {path}: {error.strerror}") from error
    if len(data) != RECORDS * RECORD:
        raise DataError(
            f"cifar10: expected {path} to hold {RECORDS} records of {RECORD} bytes, got {size} bytes: it is cut, or "
            "not of the binary version"
        )
    records = np.frombuffer(data, np.uint8).reshape(RECORDS, RECORD)
    labels = records[:, 0]
    wrong = np.flatnonzero(labels >= CLASSES)
    if len(wrong):
        got = f"{labels[wrong[0]]} in record {wrong[0]}"
        raise DataError(f"cifar10: expected {path} to have labels below {CLASSES}, got {got}")
    return records[:, 1:].reshape(RECORDS, *IMAGE), labels
