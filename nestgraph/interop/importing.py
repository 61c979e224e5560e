"""From a PyTorch module to a network with its weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nestgraph.errors import EditError, InteropError
from nestgraph.graph import Network
from nestgraph.interop.extents import TOLERANCE, differences, freed
from nestgraph.interop.patterns import name_functions
from nestgraph.interop.reading import BATCH, Reading
from nestgraph.interop.tracing import Recorder, first_line, traced
from nestgraph.lowering.dense import is_dense
from nestgraph.lowering.evaluating import evaluated, single
from nestgraph.spec.arguments import checked

PRECISIONS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@checked(InteropError)
def import_module(module: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> Network:
    """The network that a PyTorch module computes, with copies of the module's weights.

    The module is traced by torch.fx and run on the examples, in evaluation mode; so is the network, and the outputs
    are compared. Linear maps and convolutions become projections; sums, concatenations, products and whatever only
    moves elements become wiring. What no kind covers becomes an opaque layer, which computes as it did and is frozen
    to edits: see `import_report`. Weights that the module uses in several places are copied to each. Layers are named
    after the submodules that they come from; outputs are labelled by their place in what the module returns.

    What goes in and comes out has the module's order and shapes (`Network.inputs`, `Network.outputs`); inputs that
    `forward` does not use and results that it gives twice are among them. The height and width of maps are fixed as the
    examples have them, unless module and network agree at other sizes, too, which is tried; then they are free.

    Args:
        module: the module; it is not changed, and other threads can use it and import it meanwhile.
        example_inputs: a tensor (batch, ...) for each parameter of `forward` without a default. Of axes other than
            (batch, features) and (batch, channels, height, width) the elements become features. Whole numbers, such as
            ids of tokens, tell by their least and largest what the input may hold.

    Raises:
        InteropError: the module cannot be traced, or its inputs or outputs have a form that a network has not.
    """
    given = [example_inputs] if isinstance(example_inputs, Tensor) else list(example_inputs)
    _examples(given)
    said = _precision(module, given)
    module, given = evaluated(module), [single(tensor) for tensor in given]
    examples = _examples(given)
    with torch.no_grad():
        network = read(module, given, said)
        if network.bodies:  # of which an axis may only look like that of the samples
            examples = [torch.cat([example, example[:1]]) for example in examples]
        _compare(network, examples, _computed(module, module, examples))
        return freed(network, module, examples)


def read(module: nn.Module, given: Sequence[Tensor], said: str = "") -> Network:
    """The network of a module in evaluation, which is not compared with it yet.

    Args:
        module: as `evaluated` gives it.
        given: example inputs, of single precision.
        said: what to say of the inputs.

    Raises:
        InteropError: see `import_module`.
    """
    examples = _examples(given)
    graph, whole = traced(module, len(examples))
    name_functions(graph)
    recorder = Recorder(graph)
    _computed(module, recorder.run, examples)
    return _read(lambda whole_units: Reading(graph, recorder.facts, whole, given, said, whole_units))


def _read(reading: Callable[[bool], Reading]) -> Network:
    """The network of a traced module.

    Where what the module has pruned leaves a unit without a path from an input that an opaque layer reads or that is an
    output, units without weights keep theirs, which are 0.
    """
    try:
        return Network.of(reading(False).structure())
    except EditError:
        return Network.of(reading(True).structure())


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


def _computed(module: nn.Module, function: Callable[..., Any], examples: Sequence[Tensor]) -> Any:
    """What a function gives that computes the module.

    Raises:
        InteropError: it does not run on the examples.
    """
    try:
        return function(*(example.clone() for example in examples))
    except Exception as error:
        raise InteropError(
            f"import_module expected inputs that {type(module).__name__} runs on, got "
            f"{[tuple(tensor.shape) for tensor in examples]}: {first_line(error)}"
        ) from error


def _examples(given: Sequence[Any]) -> list[Tensor]:
    """`BATCH` samples of each example.

    Raises:
        InteropError: they are no tensors of as many samples.
    """
    if not given or not all(is_dense(tensor) and tensor.ndim for tensor in given):
        kinds = [type(tensor).__name__ for tensor in given]
        raise InteropError(
            f"import_module expected example inputs: one dense tensor (batch, ...) or several, got {kinds}"
        )
    if len({len(tensor) for tensor in given}) > 1 or not len(given[0]):
        shapes = [tuple(tensor.shape) for tensor in given]
        raise InteropError(f"import_module expected as many samples in each example input, got {shapes}")
    return [torch.cat([tensor[:BATCH], *[tensor[:1]] * BATCH])[:BATCH] for tensor in given]


def _compare(network: Network, examples: Sequence[Tensor], expected: Any) -> None:
    """Refuse a network that does not give what the module gave, position by position.

    Raises:
        InteropError: it does not.
    """
    for port, difference in zip(network.outputs, differences(network, examples, expected), strict=True):
        if not difference <= TOLERANCE:
            raise InteropError(
                f"import_module expected output {port.layer!r} of the network to be the module's, got a relative "
                f"difference of {difference:.2g}: the module does something on the way that tracing does not see, such "
                "as a hook, state that changes, or `y *= x` where y has a second name; write that apart, or import the "
                "rest"
            )
