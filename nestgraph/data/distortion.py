"""Random affine distortion of training images, the augmentation of the MNIST experiments.

Importing this module loads neither torch nor kornia, so that recipes can name a distortion at no cost.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nestgraph.spec.record import Record

if TYPE_CHECKING:
    from torch import Tensor


class AffineDistortion(Record):
    """How far each image is turned, moved, scaled and sheared, drawn uniformly and independently.

    Attributes:
        degrees: largest rotation to either side, degrees.
        translate: largest shift along each axis, as a part of the image's width or height.
        scale: largest relative change of size: 0.08 draws factors from 0.92 to 1.08.
        shear: largest shear along the rows to either side, degrees.
    """

    degrees: Annotated[float, Field(ge=0, le=180)] = 8.0
    translate: Annotated[float, Field(ge=0, le=1)] = 0.04
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.08
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0


def distortion_words(options: AffineDistortion | None) -> str:
    """How training images are distorted, in a sentence."""
    if options is None:
        return "Training images are plain, not distorted."
    limits = {
        f"turned by up to {options.degrees:g} degrees": options.degrees,
        f"moved by up to {100 * options.translate:g}% of their size": options.translate,
        f"scaled by up to {100 * options.scale:g}%": options.scale,
        f"sheared by up to {options.shear:g} degrees": options.shear,
    }
    how = ", ".join(words for words, limit in limits.items() if limit)
    return f"Training images are affine-distorted, anew in each epoch ({how}); all others are plain."


def affine_distortion(options: AffineDistortion) -> "Callable[[Tensor], Tensor]":
    """Return a function that distorts a batch (samples, channels, height, width), each image in its own way.

    It works on the batch's device, interpolates bilinearly and fills with zeros, the background of every dataset here.
    It draws from torch's global generator, so `torch.manual_seed` decides it.
    """
    import torch  # lazy, with kornia, which takes a second or two to import
    from kornia.augmentation import RandomAffine

    distort = RandomAffine(
        degrees=options.degrees,
        translate=(options.translate, options.translate),
        scale=(1 - options.scale, 1 + options.scale),
        shear=options.shear or None,
        p=1.0,
    )

    @torch.no_grad()
    def distorted(images: "Tensor") -> "Tensor":
        return distort(images)

    return distorted
