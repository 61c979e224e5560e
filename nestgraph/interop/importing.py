"""From a PyTorch module to a network with its weights."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nestgraph.errors import InteropError
from nestgraph.graph import Network
from nestgraph.interop.calling import Examples, Outputs, call_of
from nestgraph.interop.extents import TOLERANCE, differences, freed
from nestgraph.interop.front_ends import EXPORT, Subject, computed, networks
from nestgraph.interop.reading import BATCH
from nestgraph.interop.work import Work
from nestgraph.interop.wrappers import check_readable, unwrapped
from nestgraph.lowering.dense import is_dense
from nestgraph.lowering.evaluating import evaluated, single
from nestgraph.spec.arguments import checked
from nestgraph.spec.extents import MAX_EXTENTS

PRECISIONS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@checked(InteropError)
def import_module(
    module: nn.Module,
    example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    outputs: Outputs = None,
    axes: Sequence[int | None] = (),
) -> Network:
    """The network that a PyTorch module computes, with copies of the module's weights.

    The module is traced by torch.fx and run on the examples, in evaluation mode; so is the network, and the outputs
    are compared. Where torch.fx leaves a part whole or refuses, torch.export reads the module, too, and what leaves
    fewer parameters opaque counts (`import_report` says which). Linear maps and convolutions become projections; sums,
    concatenations, products and whatever only moves elements become wiring. What no kind covers becomes an opaque
    layer, which computes as it did and is frozen to edits: see `import_report`. Weights that the module uses in several
    places are copied to each. Layers are named after the submodules that they come from; outputs are labelled by their
    place in what the module returns.

    What goes in and comes out has the module's order and shapes (`Network.inputs`, `Network.outputs`); inputs that
    `forward` does not use and results that it gives twice are among them. The extents of maps are fixed as the
    examples have them, unless module and network agree at other sizes, too, which is tried; then they are free. Whether
    an input is maps (batch, units, *size) or tokens (batch, *size, units) is asked of what reads it.

    Args:
        module: the module; it is not changed, and other threads can use it and import it meanwhile. Of what
            `torch.compile`, `DataParallel`, `DistributedDataParallel` and averages of weights put around it the module
            inside is read.
        example_inputs: a tensor (batch, ...) for each parameter of `forward` without a default, in their order or by
            their names. Where no reader says which axis holds units, each number of a sample is a feature, but for
            images (batch, channels, height, width). Whole numbers, such as ids of tokens, tell by their least and
            largest what the input may hold.
        outputs: the results that the network gives: names or places in what the module returns, with dots before those
            of inner ones. Without, all of them; of a `ModelOutput` those that are tensors.
        axes: for each input the axis at which its units stand, from 1 up, or None; for those whose readers disagree.

    Raises:
        InteropError: the module cannot be read, or its inputs or outputs have a form that a network has not.
    """
    return imported(module, example_inputs, outputs, axes)[0]


def imported(
    module: nn.Module, examples: Examples, outputs: Outputs = None, axes: Sequence[int | None] = ()
) -> tuple[Network, str, Subject]:
    """The network of a module, the front end that read it, and what it read (see `import_module`).

    Raises:
        InteropError: see `import_module`.
    """
    check_readable(module)
    call, given = call_of(unwrapped(module), examples, outputs)
    _check_examples(given)
    _check_axes(axes, given)
    said = _precision(module, given)
    first: InteropError | None = None
    with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode have no versions
        subject = Subject(evaluated(module, unwrapped), [single(tensor) for tensor in given], call, said, axes)
        run = functools.cache(functools.partial(_run, subject))
        run(BATCH)  # of a module that does not run on its examples PyTorch says why
        for front, network in networks(subject):
            try:
                return _held_to(subject, front, network, run), front, subject
            except InteropError as problem:
                first = first or problem
    raise first or AssertionError("a network for each module that is not refused")


def _run(subject: Subject, samples: int) -> tuple[Any, Work]:
    """What the module gives for so many samples, and what took long of it.

    Raises:
        InteropError: it does not run on them.
    """
    with Work() as work:
        return computed(subject, functools.partial(subject.call, subject.module), samples), work


def _held_to(subject: Subject, front: str, network: Network, run: Callable[[int], tuple[Any, Work]]) -> Network:
    """The network of a module, held to what the module gives.

    Raises:
        InteropError: it gives something else.
    """
    # an axis of bodies, and what was a constant of the batch, may only look like that of the samples
    samples = BATCH + (front == EXPORT or bool(network.bodies))
    examples = subject.examples(samples)
    _compare(network, examples, *run(samples))
    return freed(network, functools.partial(subject.call, subject.module), examples)


def _precision(module: nn.Module, given: Sequence[Tensor]) -> str:
    """What to say of a module that computes in another precision; empty where it computes in float32.

    Raises:
        InteropError: it computes with other numbers, or is an exported program.
    """
    if any(kind.__module__.startswith("torch.export") for kind in type(module).__mro__):
        raise InteropError(
            "import_module expected a module as it was written, got one that torch.export made, whose operations and "
            "batch size are fixed: import the module that it was made from"
        )
    tensors = [*module.parameters(), *module.buffers(), *given]
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()}
    strange = [kind for kind in kinds if kind not in PRECISIONS]
    packed = [str(t.layout) for t in tensors if t.is_quantized or t.layout != torch.strided]
    if strange or packed:
        got = packed[0] if packed else str(strange[0])
        raise InteropError(
            f"import_module expected dense tensors of floating point numbers, got {got} in {type(module).__name__}: "
            "import the module before it was quantised, packed or made complex"
        )
    others = sorted(str(kind).removeprefix("torch.") for kind in kinds - {torch.float32})
    return f"of {' and '.join(others)} in the module, of float32 here" if others else ""


def _check_examples(given: Sequence[Any]) -> None:
    """Refuse what are no tensors of as many samples.

    Raises:
        InteropError: they are not.
    """
    if not given or not all(is_dense(tensor) and tensor.ndim for tensor in given):
        kinds = [type(tensor).__name__ for tensor in given]
        raise InteropError(
            f"import_module expected example inputs: one dense tensor (batch, ...) or several, got {kinds}"
        )
    if len({len(tensor) for tensor in given}) > 1 or not len(given[0]):
        shapes = [tuple(tensor.shape) for tensor in given]
        raise InteropError(f"import_module expected as many samples in each example input, got {shapes}")


def _check_axes(axes: Sequence[int | None], given: Sequence[Tensor]) -> None:
    """Refuse axes that the examples do not have, or at which a network cannot have units.

    Raises:
        InteropError: there are such.
    """
    pairs = zip(axes, given, strict=False)
    fit = all(axis is None or (1 <= axis < x.ndim and x.ndim <= MAX_EXTENTS + 2) for axis, x in pairs)
    if len(axes) > len(given) or not fit:
        shapes = [tuple(tensor.shape) for tensor in given]
        raise InteropError(
            f"import_module expected axes of inputs of up to {MAX_EXTENTS + 2} axes, from 1 up, got {list(axes)} for "
            f"inputs of {shapes}"
        )


def _compare(network: Network, examples: Sequence[Tensor], expected: Any, work: Work) -> None:
    """Refuse a network that does not give what the module gave, position by position.

    Raises:
        InteropError: it does not.
    """
    for port, difference in zip(network.outputs, differences(network, examples, expected, work), strict=True):
        if not difference <= TOLERANCE:
            raise InteropError(
                f"import_module expected output {port.layer!r} of the network to be the module's, got a relative "
                f"difference of {difference:.2g}: the module does something on the way that tracing does not see, such "
                "as a hook, state that changes, or `y *= x` where y has a second name; write that apart, or import the "
                "rest. Where a mask hides all that a token could see, as padding before the words does, pad behind "
                "them in the example"
            )
