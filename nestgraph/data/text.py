"""Text as windows of characters or bytes, each of which tells the next one, or those that were masked."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nestgraph.data.files import opened
from nestgraph.data.samples import Dataset, Samples
from nestgraph.errors import DataError
from nestgraph.snapshot.disk import shown
from nestgraph.snapshot.places import expanded
from nestgraph.spec.arguments import checked
from nestgraph.spec.facts import UNTOLD, AllWanted
from nestgraph.spec.options import Beside, Options, PathText
from nestgraph.spec.randomness import Seed

MOST_BYTES = 2**26
"""Of a file."""
MOST_TOKENS = 2**26
"""In all windows together."""

Share = Annotated[float, Field(gt=0, lt=0.5)]
Ids = NDArray[np.int64]


class TextReading(Options):
    """How a text becomes windows of tokens with what is to be told of each place.

    The text is cut into three parts that follow each other, to train, to validate and to test, and no window reaches
    over a cut.

    Attributes:
        unit: what a token is: a character, numbered in the order of those that the whole text has, or a byte of 256.
        window: tokens of a sample.
        step: from the beginning of a window to that of the next in the same part; by default `window`.
        learn: `next`, the token after each place, or `masked`, the token at places that were masked.
        masked: share of the places that are masked; such a token reads as one more than there are classes, and other
            places are not told.
        validation: share of the text that decisions are made by.
        test: share of the text that the result is measured on: its end.
    """

    unit: Literal["characters", "bytes"] = "characters"
    window: Annotated[int, Field(ge=1, le=65536)] = 64
    step: Annotated[int, Field(ge=1, le=2**20)] | None = None
    learn: Literal["next", "masked"] = "next"
    masked: Share = 0.15
    validation: Share = 0.1
    test: Share = 0.1

    beside: ClassVar = {"masked": (Beside.of("learn", "masked"),)}

    def dataset(self, name: str, content: str | bytes, seed: int) -> Dataset:
        """The splits of a text; `seed` draws which places are masked.

        Raises:
            DataError: it is too short or too long, or all of one character.
        """
        ids, names = _tokens(self.unit, content)
        if len(np.unique(ids)) < 2:
            raise DataError(f"{name}: expected a text of several {self.unit}, got {content[:20]!r}: give another")
        tested, validated = round(self.test * len(ids)), round(self.validation * len(ids))
        cuts = [len(ids) - tested - validated, len(ids) - tested]
        parts = zip(("train", "validate", "test"), np.split(ids, cuts), strict=True)
        rng = np.random.default_rng(seed)
        splits = [self._samples(f"{name}, to {use}", part, len(names), rng) for use, part in parts]
        return Dataset(name, *splits, classes=len(names), names=names)

    def _samples(self, place: str, ids: Ids, classes: int, rng: np.random.Generator) -> Samples:
        ahead = 1 if self.learn == "next" else 0
        starts = np.arange(0, len(ids) - self.window - ahead + 1, self.step or self.window)
        if not len(starts):
            need = f"at least {self.window + ahead:,} {self.unit}"
            raise DataError(f"{place}: expected {need}, got {len(ids):,}: give more text, or a smaller window")
        if len(starts) * self.window > MOST_TOKENS:
            expected, got = f"at most {MOST_TOKENS:,} tokens in windows", f"{len(starts) * self.window:,}"
            raise DataError(f"{place}: expected {expected}, got {got}: give a larger step, or less text")
        places = starts[:, None] + np.arange(self.window)
        if ahead:
            return Samples(ids[places].astype(np.float32), ids[places + 1])
        count = max(1, round(self.masked * self.window))
        chosen = np.argsort(rng.random(places.shape), axis=1) < count
        inputs = np.where(chosen, classes, ids[places]).astype(np.float32)
        return Samples(inputs, np.where(chosen, ids[places], UNTOLD))


class TextOptions(TextReading):
    """A plain text file, as `TextReading` reads it.

    Attributes:
        path: the file, in UTF-8 unless `unit` is `bytes`. A relative one is looked for from where the program runs.
    """

    kind: Literal["text"]
    path: PathText

    distortion: ClassVar[None] = None
    augmentation: ClassVar[None] = None
    normalisation: ClassVar[None] = None

    @property
    def title(self) -> str:
        """What results call the data."""
        return Path(self.path).name

    @property
    def named(self) -> bool:
        """Whether its name alone tells what it is."""
        return False

    @property
    def story(self) -> str:
        """How its samples are split, in sentences."""
        what = "the next of each" if self.learn == "next" else f"{self.masked:.0%} of them, which are masked"
        cut = f"The last {self.test:.0%} of the text test, the {self.validation:.0%} before them validate."
        return f"Windows of {self.window} {self.unit}, to tell {what}. {cut}"

    def load(self, seed: int, wanted: AllWanted = None) -> Dataset:
        """The splits of one random seed, which draws what is masked alone.

        Args:
            seed: which.
            wanted: nothing else than classes is known of a text.

        Raises:
            DataError: the file cannot be read, is no text, or too short or too long.
        """
        del wanted
        path = expanded(Path(self.path))
        place = shown(path)
        with opened(path) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise DataError(f"{place}: expected a file of at most {MOST_BYTES:,} bytes, got more: cut it")
        if self.unit == "bytes":
            return self.dataset(self.title, content, seed)
        try:
            return self.dataset(self.title, content.decode(), seed)
        except UnicodeDecodeError as error:
            remedy = 'convert it, or read it with unit = "bytes"'
            raise DataError(f"{place}: expected text in UTF-8, got another at byte {error.start:,}: {remedy}") from None


@checked(DataError)
def text_dataset(
    content: str | bytes, reading: TextReading | None = None, seed: Seed = 0, name: str = "text"
) -> Dataset:
    """The splits of a text that is there already, for the task `places`.

    Args:
        content: the text, or bytes where `reading.unit` says so.
        reading: how it becomes windows.
        seed: which places are masked, if any are.
        name: of the data.

    Raises:
        DataError: see `TextReading.dataset`.
    """
    return (reading or TextReading()).dataset(name, content, seed)


def _tokens(unit: str, content: str | bytes) -> tuple[Ids, tuple[str, ...]]:
    """The tokens of a text, and what each is called."""
    if unit == "bytes":
        raw = content.encode() if isinstance(content, str) else content
        return np.frombuffer(raw, np.uint8).astype(np.int64), tuple(f"{each:02x}" for each in range(256))
    if isinstance(content, bytes):
        raise DataError("text_dataset expected characters, got bytes: decode them, or read them with unit='bytes'")
    codes = np.frombuffer(content.encode("utf-32-le", "surrogatepass"), np.uint32)
    known, ids = np.unique(codes, return_inverse=True)
    names = (each if each.isprintable() else repr(each)[1:-1] for each in map(chr, known.tolist()))
    return ids.astype(np.int64), tuple(names)
