"""Seeds that are chains of layers: perceptrons and convolutional networks."""

from collections.abc import Mapping, Sequence

from nestgraph.errors import RecordError, StructureError
from nestgraph.graph.network import Network
from nestgraph.seeds.choices import counts_of, image_size, scaled
from nestgraph.seeds.plan import Plan, max_pooling
from nestgraph.spec.arguments import checked
from nestgraph.spec.operations import ActivationFunction
from nestgraph.spec.randomness import Seed


@checked(StructureError, of=(RecordError,))
def mlp(
    widths: Sequence[int] = (784, 300, 100, 10),
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
) -> Network:
    """A perceptron: `widths` counts the inputs, the neurons of each hidden layer, and the outputs.

    Args:
        widths: at least an input and an output width.
        density: the share of possible connections that are active, in (0, 1].
        seed: of the random masks and weights.
        activation: of the hidden layers; leaky ReLU while a network grows (method.md section 3).
        batch_norm: whether hidden layers are normalised.

    Raises:
        StructureError: a choice that makes no network.
    """
    features, *hidden, outputs = counts_of("at least two widths", widths, least=2)
    plan = Plan(features, None, activation, batch_norm)
    last = "input"
    for place, count in enumerate(hidden, 1):
        last = plan.neurons(f"fc{place}", last, count)
    plan.output(last, outputs)
    return plan.network(density, seed)


@checked(StructureError, of=(RecordError,))
def joint_mlp(
    inputs: Sequence[int],
    hidden: Sequence[int],
    outputs: Mapping[str, int] | Sequence[int],
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
) -> Network:
    """A perceptron with several inputs or outputs: all inputs feed the first hidden layer, the last one all outputs.

    Args:
        inputs: the width of each input.
        hidden: the neurons of each hidden layer between them; without any, each input feeds each output.
        outputs: the width of each output, by the name of its layer or in order.
        density: the share of possible connections that are active, in (0, 1].
        seed: of the random masks and weights.
        activation: of the hidden layers.
        batch_norm: whether hidden layers are normalised.

    Raises:
        StructureError: a choice that makes no network.
    """
    reads, counts = counts_of("the width of an input", inputs, least=1), counts_of("widths of hidden layers", hidden)
    named = outputs if isinstance(outputs, Mapping) else _numbered("output", outputs)
    gives = counts_of("the width of an output", list(named.values()), least=1)
    first, *others = _numbered("input", reads).items()
    plan = Plan(first[1], None, activation, batch_norm, first[0])
    last = [first[0], *(plan.input(*other) for other in others)]
    for place, count in enumerate(counts, 1):
        last = [plan.neurons(f"fc{place}", last, count)]
    for name, count in zip(named, gives, strict=True):
        plan.output(last, count, name)
    return plan.network(density, seed)


def _numbered(name: str, counts: Sequence[int]) -> dict[str, int]:
    """Layers by name: one alone has no number."""
    if len(counts) == 1:
        return {name: counts[0]}
    return {f"{name}{place}": count for place, count in enumerate(counts, 1)}


@checked(StructureError, of=(RecordError,))
def lenet_300_100(width: float = 1.0, density: float = 1.0, seed: Seed = 0, batch_norm: bool = True) -> Network:
    """LeNet-300-100 for 784 pixels (LeCun et al. 1998), its hidden widths times `width`; see `mlp`."""
    return mlp((784, *scaled((300, 100), width), 10), density, seed, batch_norm=batch_norm)


@checked(StructureError, of=(RecordError,))
def lenet_5(width: float = 1.0, density: float = 1.0, seed: Seed = 0, batch_norm: bool = True) -> Network:
    """LeNet-5 in Caffe's form for 28 x 28 pixels, its 20 and 50 maps and 500 neurons times `width`; see `mlp`.

    Convolutions of 5 x 5, each with a maximum pooling of 2 x 2.
    """
    first, second, neurons = scaled((20, 50, 500), width)
    plan = Plan(1, (28, 28), "leaky_relu", batch_norm)
    halved = (*plan.hidden, max_pooling(2, 2))
    last = plan.maps("conv1", "input", first, 5, operations=halved)
    last = plan.maps("conv2", last, second, 5, operations=halved)
    plan.output(plan.neurons("fc1", last, neurons), 10)
    return plan.network(density, seed)


@checked(StructureError, of=(RecordError,))
def cnn(
    maps: Sequence[int] = (16, 32),
    neurons: Sequence[int] = (64,),
    density: float = 1.0,
    seed: Seed = 0,
    activation: ActivationFunction = "leaky_relu",
    batch_norm: bool = True,
    *,
    channels: int = 1,
    size: int | Sequence[int] = 28,
    classes: int = 10,
    kernel: int = 3,
) -> Network:
    """Convolutions, then neurons, for images of any size.

    Each convolution is padded so that an odd kernel keeps the size, and is followed by a maximum pooling of 2 x 2
    for as long as maps are large enough to be halved.

    Args:
        maps: the feature maps of each convolution; there may be none.
        neurons: the neurons of each hidden layer after them; there may be none.
        density: the share of possible connections that are active, in (0, 1].
        seed: of the random masks and weights.
        activation: of the hidden layers.
        batch_norm: whether hidden layers are normalised.
        channels: of an image.
        size: (height, width) of an image, or one number for both.
        classes: how many outputs.
        kernel: extent of the square kernels.

    Raises:
        StructureError: a choice that makes no network.
    """
    maps, neurons = counts_of("numbers of maps", maps), counts_of("numbers of neurons", neurons)
    channels, classes, kernel = counts_of("channels, classes and a kernel", (channels, classes, kernel))
    plan = Plan(channels, image_size(size), activation, batch_norm)
    last = "input"
    for place, count in enumerate(maps, 1):
        last = _halving(plan, f"conv{place}", last, count, kernel)
    for place, count in enumerate(neurons, 1):
        last = plan.neurons(f"fc{place}", last, count)
    plan.output(last, classes)
    return plan.network(density, seed)


def _halving(plan: Plan, name: str, source: str, count: int, kernel: int) -> str:
    padding = (kernel - 1) // 2
    room = min(plan.size(source)) + 2 * padding - kernel + 1
    pooling = (max_pooling(2, 2),) if room >= 2 else ()
    return plan.maps(name, source, count, kernel, padding=padding, operations=(*plan.hidden, *pooling))
