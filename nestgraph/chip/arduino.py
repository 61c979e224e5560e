"""A library for the Arduino tools: a folder with properties, sources and a sketch."""

import os
import re
from pathlib import Path

from nestgraph.chip.text import MARK, Text
from nestgraph.errors import ExportError, SnapshotError
from nestgraph.snapshot.disk import reported, shown
from nestgraph.snapshot.ownership import check_own

NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""What the specification of Arduino libraries allows, but for blanks, which C cannot have in names."""
TAKEN = frozenset(
    re.findall(
        r"\w+",
        """arduino assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg stdbool
        stddef stdint stdio stdlib string tgmath time wchar wctype new print printable stream usbapi wstring binary
        client server udp ipaddress hardwareserial pins_arduino wiring_private""",
    )
)
"""Headers that the folder of a library would stand before."""
PROPERTIES = "library.properties"


def library_paths(place: Path) -> tuple[Path, Path, Path, Path]:
    """Where the source, its header, the sketch and the properties go, for the library of a file NAME.c.

    Raises:
        ExportError: Arduino takes no library of that name.
    """
    stem, folder = place.stem, place.with_suffix("")
    if not NAME.fullmatch(stem) or stem.lower() in TAKEN:
        got = f"{stem[:80]!r}{', which is a header of C or Arduino' if stem.lower() in TAKEN else ''}"
        raise ExportError(
            f"{shown(place)}: expected a name of at most 63 letters, digits and _.- that begins by a letter or "
            f"digit, as Arduino asks of libraries, got {got}: choose another"
        )
    source = folder / "src" / place.name
    return source, source.with_suffix(".h"), folder / "examples" / stem / f"{stem}.ino", folder / PROPERTIES


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that is there and no library of ours.

    Raises:
        SnapshotError: it is, or it is a file or a link.
    """
    with reported(folder, "written"):
        free = not os.path.lexists(folder)
        if free or (not folder.is_symlink() and folder.is_dir() and (overwrite or not any(folder.iterdir()))):
            return
        if not folder.is_symlink() and folder.is_dir() and os.path.lexists(folder / PROPERTIES):
            check_own(folder / PROPERTIES, MARK)
            return
    raise SnapshotError(
        f"{shown(folder)}: expected no folder or a library that an export wrote, got another: choose another name"
        + (", or write into it with --overwrite (overwrite=True)" if folder.is_dir() else "")
    )


def make_folders(folder: Path) -> None:
    """Make the folders of a library, within one that is there.

    Raises:
        SnapshotError: one cannot be made.
    """
    for place in (folder, folder / "src", folder / "examples", folder / "examples" / folder.name):
        with reported(place, "written"):
            place.mkdir(exist_ok=True)


def properties_of(text: Text, digest: str) -> str:
    """What library.properties says: a line for each, of nothing but the name of the file and the digest."""
    rows = {
        "name": text.stem,
        "version": "1.0.0",
        "author": "nestgraph",
        "maintainer": "nestgraph",
        "sentence": f"{MARK.decode()}.",
        "paragraph": f"The function {text.prefix}_run computes one sample. The digest of the network is {digest}.",
        "category": "Data Processing",
        "url": "",
        "architectures": "*",
        "includes": f"{text.stem}.h",
    }
    return "".join(f"{name}={value}\n" for name, value in rows.items())
