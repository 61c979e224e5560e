"""Folders of small pictures that tests write: each class has its own hue and direction of stripes, and noise."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("disc", "slope", "zebra")


def picture(label, size, rng):
    """(height, width, 3) bytes."""
    rows, columns = np.mgrid[: size[1], : size[0]] / max(size)
    angle = np.pi * label / len(CLASSES)
    wave = np.sin(8 * np.pi * (np.cos(angle) * rows + np.sin(angle) * columns) + rng.uniform(0, 6))
    colour = 0.5 + 0.1 * np.cos(2 * np.pi * (label / len(CLASSES) + np.arange(3) / 3))
    values = colour * (1 + 0.4 * wave[..., None]) + 0.2 * rng.standard_normal((*wave.shape, 3))
    return (255 * np.clip(values, 0, 1)).astype(np.uint8)


def write_pictures(folder: Path, count=12, size=(32, 32), end=".png", seed=0) -> Path:
    """FOLDER/CLASS/number of each class."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(picture(label, size, rng)).save(folder / name / f"{number:03}{end}")
    return folder
