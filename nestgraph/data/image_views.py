"""What is done to images before a network sees them; other samples are seen as they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestgraph.data.augmentation import ImageAugmentation, Normalisation, image_augmentation, middle
from nestgraph.data.distortion import AffineDistortion, affine_distortion
from nestgraph.data.samples import Dataset
from nestgraph.data.share import Vary

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Views:
    """What is done to the inputs of a dataset.

    Attributes:
        vary: those to train with, one after the other.
        see: all, in the end.
    """

    vary: tuple[Vary, ...]
    see: "Callable[[Tensor], Tensor]"


def image_views(dataset: Dataset, distortion: AffineDistortion | None, augmentation: ImageAugmentation | None) -> Views:
    """The views of a dataset's images, with its own normalisation."""
    image, known = dataset.facts.image, dataset.normalisation
    size = image[1:] if image else None
    distort = [] if distortion is None else [affine_distortion(distortion)]
    augment = [] if augmentation is None else [image_augmentation(augmentation, size or (1, 1))]

    def see(images: "Tensor") -> "Tensor":
        images = middle(images, size) if size else images
        return images if known is None else _normalised(images, known)

    return Views((*distort, *augment), see)


def _normalised(images: "Tensor", known: Normalisation) -> "Tensor":
    mean, deviation = (images.new_tensor(each).reshape(-1, 1, 1) for each in (known.mean, known.deviation))
    return (images - mean) / deviation
