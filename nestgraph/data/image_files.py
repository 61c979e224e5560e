"""Image files as a stream of squares: decoded when they are wanted, by several processes, a bounded part remembered.

What a file decodes to depends on nothing but the file and the side, and nothing here draws random numbers: so the
number of processes and the size of the memory change no result.
"""

import os
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nestgraph.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset as TorchDataset

Pixels = NDArray[np.uint8]
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""What is decoded, told by content. Others are left out, as some start programs or read other files."""

MAX_PIXELS = 2**26
"""Of one image: a file of a few kilobytes can hold billions, which would fill the memory."""

CHECKED_AT_ONCE = 64


def decode(path: str, side: int) -> Pixels:
    """The middle square of an image in RGB, its shorter side scaled to `side`: (3, side, side).

    The image is turned as its EXIF or XMP orientation says, so that a picture looks as it does to people. Grey, palette
    and CMYK images are converted, transparent pixels shown on white. Of 16 bits a channel grey is rounded to 8, and of
    colours Pillow keeps the upper 8. Of an animation this is the first frame.

    Raises:
        DataError: the file is no image, cut, or too large; the message says why, without the name of the file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError("no ordinary file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's complaints about metadata; what is too large is refused below
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
                image.draft("RGB", (side, side))  # lets the JPEG decoder halve large images
                _turn(image)
                square = ImageOps.fit(_rgb(image), (side, side), Image.Resampling.BILINEAR)
                return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
    except DataError:
        raise
    except Image.UnidentifiedImageError:
        raise DataError("no image of a known format") from None
    except Exception as error:  # decoders raise errors of every class on a damaged file
        raise DataError(f"{error or type(error).__name__}") from error


def _turn(image: Image.Image) -> None:
    """Turn an image upright; Pillow itself does it with TIFF, and takes the tag out then. Damaged tags say nothing."""
    image.load()
    with suppress(Exception):  # as decoders do, what reads tags raises errors of every class
        ImageOps.exif_transpose(image, in_place=True)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # of which Pillow makes 32 bits
        return _rounded(image).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError(f"pixels of 32 bits (mode {image.mode})")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _rounded(image: Image.Image) -> Image.Image:
    """Grey of 16 bits in 8, where Pillow's own conversion cuts all above 255 off."""
    values = np.asarray(image).astype(np.uint32)
    grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):  # the one value that is transparent
        grey[values == clear] = 255
    return Image.fromarray(grey)


@dataclass(frozen=True)
class _Decoding:
    """What a process that decodes is given: a dataset, in torch's sense, of squares or of reasons why there is none."""

    paths: tuple[str, ...]
    side: int

    def __getitem__(self, place: int) -> Pixels | str:
        try:
            return decode(self.paths[place], self.side)
        except DataError as error:
            return str(error)

    def __len__(self) -> int:
        return len(self.paths)

    def collate(self, found: Sequence[Pixels | str]) -> "tuple[Tensor, list[str]]":
        """The squares of a batch and, for each of its places, what is wrong or nothing."""
        import torch  # lazy: naming a dataset does not pay for it

        blank = np.zeros((3, self.side, self.side), np.uint8)
        squares = [blank if isinstance(each, str) else each for each in found]
        problems = [each if isinstance(each, str) else "" for each in found]
        return torch.from_numpy(np.stack([blank, *squares])[1:]), problems


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files that are decoded to squares of one side.

    Attributes:
        paths: the files; a place is an index into them.
        side: of the squares, pixels.
        workers: processes that decode; 0 decodes in this one.
        memory: bytes of decoded squares to remember. The first ones stay: with every file read once an epoch, none
            is a better choice than another.
    """

    paths: tuple[str, ...]
    side: int
    workers: int = 0
    memory: int = 0
    _kept: dict[int, Pixels] = field(default_factory=dict[int, Pixels], repr=False)

    def stream(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Pixels]:
        """The squares at the places of each batch, (len(batch), 3, side, side), one batch after the other.

        Raises:
            DataError: a file cannot be decoded; the message names it.
        """
        for batch, (found, problems) in zip(batches, self._decoded(batches), strict=True):
            if problems:
                place, problem = next(iter(problems.items()))
                raise DataError(f"{self.paths[place]!r} cannot be read as an image ({problem}): repair or remove it")
            squares = np.empty((len(batch), 3, self.side, self.side), np.uint8)
            for row, place in enumerate(batch.tolist()):
                squares[row] = found[place] if place in found else self._kept[place]
            yield squares

    def problems(self) -> dict[int, str]:
        """Decode every file; what is wrong with those that cannot be, by place."""
        places = np.arange(len(self.paths))
        parts = [places[start : start + CHECKED_AT_ONCE] for start in range(0, len(places), CHECKED_AT_ONCE)]
        return {place: problem for _, problems in self._decoded(parts) for place, problem in problems.items()}

    def part(self, places: NDArray[np.int64]) -> "ImageFiles":
        """The files at some places, with what is remembered of them."""
        chosen: list[int] = places.tolist()
        kept = {new: self._kept[old] for new, old in enumerate(chosen) if old in self._kept}
        return ImageFiles(tuple(self.paths[place] for place in chosen), self.side, self.workers, self.memory, kept)

    def _decoded(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[Mapping[int, Pixels], dict[int, str]]]:
        """For each batch the squares that are not remembered yet, and what is wrong with files, both by place."""
        wanted = [[place for place in batch.tolist() if place not in self._kept] for batch in batches]
        for places, (squares, problems) in zip(wanted, self._loaded(wanted), strict=True):
            wrong = {place: problem for place, problem in zip(places, problems, strict=True) if problem}
            found = {place: square for place, square in zip(places, squares, strict=True) if place not in wrong}
            self._remember(found)
            yield found, wrong

    def _loaded(self, batches: Sequence[list[int]]) -> Iterator[tuple[Pixels, list[str]]]:
        if not any(batches):
            yield from ((np.empty((0, 3, self.side, self.side), np.uint8), list[str]()) for _ in batches)
            return
        import torch  # lazy: see above
        from torch.utils.data import DataLoader

        decoding = _Decoding(self.paths, self.side)
        loader = DataLoader(
            cast("TorchDataset[Pixels]", decoding),  # torch asks for no more than these two methods
            batch_sampler=batches,
            num_workers=min(self.workers, os.cpu_count() or 1),
            collate_fn=decoding.collate,
            generator=torch.Generator(),  # else it draws a number from the global one
        )
        try:
            for squares, problems in loader:
                yield squares.numpy(), problems
        except RuntimeError as error:
            told = str(error).partition("\n")[0]
            raise DataError(f"a process that decodes images broke down ({told}): use fewer workers, or 0") from error

    def _remember(self, found: Mapping[int, Pixels]) -> None:
        room = self.memory // (3 * self.side**2) - len(self._kept)
        for place, square in list(found.items())[: max(0, room)]:
            self._kept[place] = square.copy()  # else the whole batch stays with it
