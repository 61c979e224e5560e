"""Seeds whose layers are joined one to one: residual sums and concatenations."""

from collections.abc import Sequence

from nestgraph.errors import RecordError, StructureError
from nestgraph.graph.network import Network
from nestgraph.seeds.choices import counts_of, image_size, scaled
from nestgraph.seeds.plan import Plan, average_pooling, max_pooling
from nestgraph.spec.arguments import checked
from nestgraph.spec.operations import ActivationFunction
from nestgraph.spec.randomness import Seed

RESNET = (64, 128, 256, 512)
"""Maps of the four stages of ResNet-18 (He et al. 2016)."""

SMALL = 64
"""Images of fewer pixels a side are not made smaller before the first stage."""


@checked(StructureError, of=(RecordError,))
def resnet18(
    width: float = 1.0,
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
    *,
    classes: int = 1000,
    size: int | Sequence[int] = 224,
) -> Network:
    """ResNet-18 for colour images, its maps times `width`; see `resnet`."""
    return resnet(
        scaled(RESNET, width), (2, 2, 2, 2), density, seed, activation, batch_norm, classes=classes, size=size
    )


@checked(StructureError, of=(RecordError,))
def resnet(
    maps: Sequence[int] = RESNET,
    blocks: Sequence[int] = (2, 2, 2, 2),
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
    *,
    channels: int = 3,
    classes: int = 1000,
    size: int | Sequence[int] = 224,
) -> Network:
    """A residual network of basic blocks (He et al. 2016).

    A block is two convolutions of 3 x 3 and a layer of sums, which reads the second and the block's input one to
    one; where maps get smaller or change in number, a strided convolution of 1 x 1 stands between.

    Args:
        maps: the feature maps of each stage; each stage but the first halves the size.
        blocks: of each stage.
        density: the share of possible connections that are active, in (0, 1]; one-to-one connections all are.
        seed: of the random masks and weights.
        activation: of the hidden layers.
        batch_norm: whether convolutions are normalised.
        channels: of an image.
        classes: how many outputs.
        size: (height, width) of an image, or one number for both. From 64 pixels on, a convolution of 7 x 7 and a
            pooling, both with stride 2, come first; below, a convolution of 3 x 3 (as for CIFAR).

    Raises:
        StructureError: a choice that makes no network.
    """
    maps = counts_of("the maps of at least one stage", maps, 1)
    blocks = counts_of(f"the blocks of {len(maps)} stages", blocks, len(maps), len(maps))
    channels, classes = counts_of("channels and classes", (channels, classes))
    plan = Plan(channels, image_size(size), activation, batch_norm)
    last, wide = _stem(plan, maps[0]), maps[0]
    for stage, (count, depth) in enumerate(zip(maps, blocks, strict=True), 1):
        for place in range(1, depth + 1):
            stride = 2 if stage > 1 and place == 1 else 1
            final = stage == len(maps) and place == depth
            last = _block(plan, f"block{stage}_{place}", last, count, stride, count != wide or stride > 1, final)
            wide = count
    plan.output(last, classes)
    return plan.network(density, seed)


def _stem(plan: Plan, count: int) -> str:
    if min(plan.size("input")) < SMALL:
        return plan.maps("stem", "input", count, 3, padding=1, operations=plan.hidden)
    operations = (*plan.hidden, max_pooling(3, 2, 1))
    return plan.maps("stem", "input", count, 7, stride=2, padding=3, operations=operations)


def _block(plan: Plan, name: str, source: str, count: int, stride: int, projected: bool, final: bool) -> str:
    first = plan.maps(f"{name}_conv1", source, count, 3, stride, 1, operations=plan.hidden)
    second = plan.maps(f"{name}_conv2", first, count, 3, 1, 1, operations=plan.normalisation)
    if projected:
        source = plan.maps(f"{name}_skip", source, count, 1, stride, operations=plan.normalisation)
    pooling = (average_pooling(plan.size(second)),) if final else ()
    return plan.total(name, (second, source), (*plan.hidden[-1:], *pooling))


@checked(StructureError, of=(RecordError,))
def densenet(
    growth: int = 12,
    layers: Sequence[int] = (12, 12, 12),
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
    *,
    channels: int = 3,
    classes: int = 10,
    size: int | Sequence[int] = 32,
) -> Network:
    """A network of dense blocks, in which each convolution reads the concatenation of all before it.

    Source: Huang et al. 2017, without bottlenecks; the defaults are its 40 layers for CIFAR. A concatenation is a
    layer of its own, normalised and activated, that reads each part one to one.

    Args:
        growth: maps that each convolution adds.
        layers: convolutions of each block. A convolution of 1 x 1 and an average pooling of 2 x 2 lead from block
            to block.
        density: the share of possible connections that are active, in (0, 1]; one-to-one connections all are.
        seed: of the random masks and weights.
        activation: of the hidden layers.
        batch_norm: whether concatenations are normalised.
        channels: of an image.
        classes: how many outputs.
        size: (height, width) of an image, or one number for both.

    Raises:
        StructureError: a choice that makes no network.
    """
    growth, channels, classes = counts_of("a growth, channels and classes", (growth, channels, classes))
    layers = counts_of("the layers of at least one block", layers, 1)
    plan = Plan(channels, image_size(size), activation, batch_norm)
    last = plan.maps("stem", "input", 16, 3, padding=1)
    for block, depth in enumerate(layers, 1):
        if block > 1:
            halved = average_pooling((2, 2))
            last = plan.maps(f"halving{block}", last, plan.width(last), 1, operations=(halved,))
        last = _dense_block(plan, f"block{block}", last, growth, depth, final=block == len(layers))
    plan.output(last, classes)
    return plan.network(density, seed)


def _dense_block(plan: Plan, name: str, source: str, growth: int, depth: int, final: bool) -> str:
    parts = [source]
    for place in range(1, depth + 1):
        joined = plan.concatenation(f"{name}_joined{place}", parts, plan.hidden)
        parts.append(plan.maps(f"{name}_conv{place}", joined, growth, 3, padding=1))
    pooling = (average_pooling(plan.size(source)),) if final else ()
    return plan.concatenation(name, parts, (*plan.hidden, *pooling))
