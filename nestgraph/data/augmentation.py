"""What is done to images in colour on their way into a network: random crops, flips and colours, and normalisation.

Importing this module loads neither torch nor kornia, so that recipes can name an augmentation at no cost.
"""

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, NonNegativeInt, model_validator

from nestgraph.data.share import Lot, Vary
from nestgraph.spec.record import Record

if TYPE_CHECKING:
    from torch import Tensor

Strength = Annotated[float, Field(ge=0, le=1)]
STRETCH = (3 / 4, 4 / 3)
"""Between which width to height ratios random crops are drawn (Szegedy et al. 2015)."""


class ImageAugmentation(Record):
    """How training images are varied, each in its own way; by default not at all.

    Attributes:
        crop: a random part of at least this share of the image's area is scaled to the size of the input, in the place
            of its middle. Szegedy et al. 2015 draw from 0.08 on.
        pad: so many black pixels are put around the image, and a part of its size is cut out at a random place. He et
            al. 2015 train on CIFAR-10 with 4.
        flip: every other image is mirrored, left to right.
        brightness: largest relative change of brightness.
        contrast: the same of contrast.
        saturation: the same of saturation.
        hue: largest turn of the hue to either side, as a part of the whole circle.
    """

    crop: Annotated[float, Field(gt=0, le=1)] | None = None
    pad: NonNegativeInt = 0
    flip: bool = False
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0

    @model_validator(mode="after")
    def _check_crop(self) -> Self:
        if self.crop is not None and self.pad:
            raise ValueError("expected crop or pad, got both: each cuts a random part out")
        return self


class Normalisation(Record):
    """Each channel's mean and standard deviation: subtracted and divided by, after any augmentation."""

    mean: Annotated[tuple[float, ...], Field(min_length=1)]
    deviation: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.mean) != len(self.deviation):
            raise ValueError(f"expected a mean and a deviation a channel, got {len(self.mean)}, {len(self.deviation)}")
        return self


def image_augmentation(options: ImageAugmentation, size: tuple[int, int]) -> Vary:
    """Return a function that varies images (samples, 3, height, width) of values from 0 to 1, each on its own.

    It works on the batch's device, gives images of (3, *size), and draws from torch's global generator.
    """
    import torch  # lazy, with kornia, which takes a second or two to import
    from kornia import augmentation as kornia

    crop = kornia.RandomResizedCrop(size, (options.crop or 1.0, 1.0), STRETCH, p=1.0, cropping_mode="resample")
    pad = kornia.RandomCrop(size, padding=options.pad, p=1.0, cropping_mode="slice")
    colours = (options.brightness, options.contrast, options.saturation, options.hue)
    steps: list[Any] = [crop] if options.crop else []
    steps += [pad] if options.pad else []
    steps += [kornia.RandomHorizontalFlip(p=0.5)] if options.flip else []
    steps += [kornia.ColorJitter(*colours, p=1.0)] if any(colours) else []

    @torch.no_grad()
    def augmented(images: "Tensor", lot: Lot | None = None) -> "Tensor":
        images = images if options.crop else middle(images, size)
        for step in steps:
            images = step(images, params=None if lot is None else _drawn(step, images, lot))
        return images

    return augmented


OF_ALL = frozenset({"forward_input_shape", "order"})
"""What kornia draws once for all images."""


def _drawn(step: Any, images: "Tensor", lot: Lot) -> dict[str, Any]:
    """What kornia draws for all images of a lot, cut to those that are here."""
    drawn = step.forward_parameters((lot.size, *images.shape[1:]))
    cut = {name: values if name in OF_ALL else lot.own(values) for name, values in drawn.items()}
    return cut | {"forward_input_shape": drawn["forward_input_shape"].new_tensor(images.shape)}


def middle(images: "Tensor", size: tuple[int, int]) -> "Tensor":
    """The middle part of images, (..., height, width), that is of a size."""
    top, left = ((whole - part) // 2 for whole, part in zip(images.shape[-2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]
