"""Random affine distortion of training images, the augmentation of the MNIST experiments.

Importing this module does not load torch, so that recipes can name a distortion at no cost.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nestgraph.data.share import Lot, Vary
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


def affine_distortion(options: AffineDistortion) -> Vary:
    """Return a function that distorts images (samples, channels, height, width), each in its own way.

    It works on the batch's device, interpolates bilinearly and fills with zeros, the background of every dataset here.
    It draws from torch's global generator, so `torch.manual_seed` decides it. What it draws and gives is what kornia's
    `RandomAffine` does, but for rounding, in a third of the time: places are computed along each axis, then added.
    """
    import torch  # lazy: recipes name distortions without it
    from torch.nn import functional

    @torch.no_grad()
    def distorted(images: "Tensor", lot: Lot | None = None) -> "Tensor":
        lot = lot or Lot(len(images))

        def uniform(limit: float, around: float = 0.0) -> "Tensor":
            return lot.own(torch.rand(lot.size) * (2 * limit) + (around - limit)).to(images)

        height, width = images.shape[2:]
        angle, factor = torch.deg2rad(uniform(options.degrees)), uniform(options.scale, 1.0)
        right, down = (uniform(options.translate) * extent for extent in (width, height))
        along = torch.zeros_like(angle)
        if options.shear:
            along = torch.tan(torch.deg2rad(uniform(options.shear)))
            torch.rand(lot.size)  # a shear of the columns, which is none
        cosine, sine = torch.cos(angle) / factor, torch.sin(angle) / factor
        # what a step along the rows or columns of the result is in the image: without shear, the turn taken back
        rows = torch.stack([cosine - along * sine, -sine], 1)
        columns = torch.stack([sine + along * cosine, cosine], 1)
        unit = images.new_tensor([2 / width, 2 / height])  # the image reaches from -1 to 1
        across = _centred(images, width) - right[:, None]
        below = _centred(images, height) - down[:, None]
        steps = across[:, :, None] * (rows * unit)[:, None], below[:, :, None] * (columns * unit)[:, None]
        # (samples, height, width, 2): added as complex numbers, six times quicker than as pairs
        places = torch.view_as_complex(steps[1])[:, :, None] + torch.view_as_complex(steps[0])[:, None]
        return functional.grid_sample(images, torch.view_as_real(places), align_corners=False)

    return distorted


def _centred(images: "Tensor", extent: int) -> "Tensor":
    """The places of pixels along an axis, from the middle of the image."""
    import torch

    return torch.arange(extent, device=images.device, dtype=images.dtype) - (extent - 1) / 2
