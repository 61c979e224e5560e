"""The chains that NeST compresses on ImageNet: AlexNet and VGG-16, at reference widths or as NeST's seeds."""

from collections.abc import Sequence
from itertools import accumulate

from nestgraph.errors import RecordError, StructureError
from nestgraph.graph.network import Network
from nestgraph.seeds.choices import counts_of, image_size, scaled
from nestgraph.seeds.plan import Plan, max_pooling
from nestgraph.spec.arguments import checked
from nestgraph.spec.operations import ActivationFunction
from nestgraph.spec.randomness import Seed

ALEXNET = (96, 256, 384, 384, 256, 4096, 4096)
"""Maps of five convolutions and neurons of two hidden layers (Krizhevsky et al. 2012)."""

NEST_ALEXNET = (60, 140, 240, 210, 160, 3200, 1600)
"""NeST's seed of AlexNet, at a density of 0.3 and with one group (method.md section 6)."""

VGG_16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512, 4096, 4096)
"""Maps of thirteen convolutions and neurons of two hidden layers (Simonyan, Zisserman 2015, configuration D)."""

NEST_VGG_16 = (48, 48, 96, 96, 192, 192, 192, 384, 384, 384, 384, 384, 384, 4096, 4096)
"""NeST's seed of VGG-16, at a density of 0.3: three quarters of the maps (method.md section 6)."""

VGG_BLOCKS = (2, 2, 3, 3, 3)  # convolutions before each pooling


@checked(StructureError, of=(RecordError,))
def alexnet(
    width: float = 1.0,
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
    *,
    widths: Sequence[int] = ALEXNET,
    classes: int = 1000,
    size: int | Sequence[int] = 224,
    groups: int = 2,
) -> Network:
    """AlexNet for colour images, with batch normalisation in the place of local response normalisation.

    `alexnet(density=0.3, widths=NEST_ALEXNET, groups=1)` is NeST's seed.

    Args:
        width: factor of all hidden widths.
        density: the share of possible connections (of those within groups) that are active, in (0, 1].
        seed: of the random masks and weights.
        activation: of the hidden layers.
        batch_norm: whether hidden layers are normalised.
        widths: maps of the five convolutions and neurons of the two hidden layers.
        classes: how many outputs.
        size: (height, width) of an image, or one number for both. The first convolution pads the edge by 2 pixels
            unless its strides end there, as they do at Caffe's 227.
        groups: blocks of connections in the second, fourth and fifth convolution; with 2, as published, there are
            61 million weights.

    Raises:
        StructureError: a choice that makes no network.
    """
    *maps, fc6, fc7 = scaled(counts_of("7 widths", widths, 7, 7), width)
    classes, groups = counts_of("classes and groups", (classes, groups))
    height, wide = image_size(size)
    plan = Plan(3, (height, wide), activation, batch_norm)
    pooled = (*plan.hidden, max_pooling(3, 2))
    edge = 0 if (height - 11) % 4 == (wide - 11) % 4 == 0 else 2
    last = plan.maps("conv1", "input", maps[0], 11, stride=4, padding=edge, operations=pooled)
    last = plan.maps("conv2", last, maps[1], 5, padding=2, groups=groups, operations=pooled)
    last = plan.maps("conv3", last, maps[2], 3, padding=1, operations=plan.hidden)
    last = plan.maps("conv4", last, maps[3], 3, padding=1, groups=groups, operations=plan.hidden)
    last = plan.maps("conv5", last, maps[4], 3, padding=1, groups=groups, operations=pooled)
    plan.output(plan.neurons("fc7", plan.neurons("fc6", last, fc6), fc7), classes)
    return plan.network(density, seed)


@checked(StructureError, of=(RecordError,))
def vgg16(
    width: float = 1.0,
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
    *,
    widths: Sequence[int] = VGG_16,
    classes: int = 1000,
    size: int | Sequence[int] = 224,
) -> Network:
    """VGG-16 for colour images of at least 32 x 32 pixels, 138 million weights; see `alexnet`.

    `vgg16(density=0.3, widths=NEST_VGG_16)` is NeST's seed.

    Raises:
        StructureError: a choice that makes no network.
    """
    *maps, fc6, fc7 = scaled(counts_of("15 widths", widths, 15, 15), width)
    (classes,) = counts_of("classes", (classes,))
    plan = Plan(3, image_size(size), activation, batch_norm)
    last, ends = "input", tuple(accumulate(VGG_BLOCKS))
    for block, (convolutions, end) in enumerate(zip(VGG_BLOCKS, ends, strict=True), 1):
        for place, count in enumerate(maps[end - convolutions : end], 1):
            pooling = (max_pooling(2, 2),) if place == convolutions else ()
            operations = (*plan.hidden, *pooling)
            last = plan.maps(f"conv{block}_{place}", last, count, 3, padding=1, operations=operations)
    plan.output(plan.neurons("fc7", plan.neurons("fc6", last, fc6), fc7), classes)
    return plan.network(density, seed)
