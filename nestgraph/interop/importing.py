"""From a PyTorch module to a network with its weights."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nestgraph.errors import InteropError
from nestgraph.graph import Network
from nestgraph.interop.patterns import name_functions
from nestgraph.interop.reading import Reading
from nestgraph.interop.tracing import Recorder, first_line, traced
from nestgraph.interop.values import leaves
from nestgraph.lowering import lower

TOLERANCE = 1e-3


def import_module(module: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> Network:
    """The network that a PyTorch module computes, with copies of the module's weights.

    The module is traced by torch.fx and run on the examples, in evaluation mode; so is the network, and the outputs
    are compared. Linear maps and convolutions become projections; sums, concatenations, products and whatever only
    moves elements become wiring. What no kind covers becomes an opaque layer, which computes as it did and is frozen
    to edits: see `import_report`. Weights that the module uses in several places are copied to each. Layers are named
    after the submodules that they come from; outputs are labelled by their place in what the module returns.

    Args:
        module: the module; it is not changed.
        example_inputs: a tensor for each parameter of `forward` without a default: (batch, features) or (batch,
            channels, height, width).

    Raises:
        InteropError: the module cannot be traced, or its inputs or outputs have a form that a network has not.
    """
    given = [example_inputs] if isinstance(example_inputs, Tensor) else list(example_inputs)
    examples = _examples(given)
    with _evaluating(module), torch.no_grad():
        graph, whole = traced(module, len(examples))
        name_functions(graph)
        recorder = Recorder(graph)
        try:
            expected = module(*(example.clone() for example in examples))
            recorder.run(*(example.clone() for example in examples))
        except Exception as error:
            raise InteropError(
                f"import_module expected inputs that {type(module).__name__} runs on, got "
                f"{[tuple(tensor.shape) for tensor in given]}: {first_line(error)}"
            ) from error
        reading = Reading(graph, recorder.facts, whole, len(examples[0]))
        network = Network.of(reading.drafts().structure())
        _compare(network, reading, examples, expected)
    return network


def _examples(given: Sequence[Any]) -> list[Tensor]:
    """The examples with at least two samples each, since one would not tell which axis holds them.

    Raises:
        InteropError: they are no tensors of as many samples.
    """
    if not given or not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in given):
        kinds = [type(tensor).__name__ for tensor in given]
        raise InteropError(f"import_module expected example inputs: one tensor (batch, ...) or several, got {kinds}")
    if len({len(tensor) for tensor in given}) > 1 or not len(given[0]):
        shapes = [tuple(tensor.shape) for tensor in given]
        raise InteropError(f"import_module expected as many samples in each example input, got {shapes}")
    return [torch.cat([tensor[:2], tensor[:1]])[:2] for tensor in given]


@contextmanager
def _evaluating(module: nn.Module) -> Generator[None]:
    """Evaluation mode for a while; afterwards each submodule is in the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _compare(network: Network, reading: Reading, examples: Sequence[Tensor], expected: Any) -> None:
    """Refuse a network that does not give what the module gave.

    Raises:
        InteropError: it does not.
    """
    inputs = dict(zip(reading.inputs, examples, strict=True))
    given = [inputs[name] for name in network.input_names]
    results = leaves(lower(network).eval()(*given), Tensor)
    by_layer = dict(zip(network.output_names, results, strict=True))
    for layer, wanted in zip(reading.outputs, leaves(expected, Tensor), strict=True):
        got = by_layer[layer].reshape(wanted.shape)
        difference = float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
        if not difference <= TOLERANCE:
            raise InteropError(
                f"import_module expected output {layer!r} of the network to be the module's, got a relative difference "
                f"of {difference:.2g}: the module does something on the way that tracing does not see, such as a hook, "
                "state that changes, or `y *= x` where y has a second name; write that apart, or import the rest"
            )
