"""Which of two front ends reads a module: torch.fx, which is quick, or torch.export where that leaves something whole.

torch.fx follows what a module does to symbols that have no shape, keeps what it cannot follow as one opaque layer, and
takes hundredths of a second. torch.export runs the module on symbols that have one, which takes seconds, and reads it
whole or not at all. Where both read it, the network counts of which fewer parameters are opaque.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from nestgraph.errors import EditError, InteropError
from nestgraph.graph import Network
from nestgraph.interop.calling import Call
from nestgraph.interop.capturing import UnexportableError, captured
from nestgraph.interop.drafts import plain_text
from nestgraph.interop.modules import MODULES, MOVING_MODULES
from nestgraph.interop.nodes import path_of
from nestgraph.interop.patterns import name_functions
from nestgraph.interop.reading import BATCH, Reading
from nestgraph.interop.tracing import Recorder, UntraceableError, bound, first_line, spread_outputs, traced
from nestgraph.spec import Layer

FX, EXPORT = "torch.fx", "torch.export"


@dataclass(frozen=True)
class Subject:
    """What is imported.

    Attributes:
        module: as `evaluated` gives it.
        given: example inputs, of single precision.
        call: how the module takes them.
        said: what to say of the inputs; empty for nothing.
        axes: for each input the axis at which its units stand; None where its readers say so.
    """

    module: nn.Module
    given: Sequence[Tensor]
    call: Call = field(default_factory=Call)
    said: str = ""
    axes: Sequence[int | None] = ()

    def examples(self, samples: int = BATCH) -> list[Tensor]:
        """So many samples of each example input."""
        return [torch.cat([tensor[:samples], *[tensor[:1]] * samples])[:samples] for tensor in self.given]


def networks(subject: Subject) -> Iterator[tuple[str, Network]]:
    """The networks that the front ends read, which are not compared with the module yet, and their names; best first.

    torch.export is asked only where torch.fx leaves something whole, or whoever asks does not take what it read.

    Raises:
        InteropError: no front end reads the module.
    """
    try:
        traced_one, left = by_tracing(subject)
    except UntraceableError as refusal:
        yield EXPORT, _instead(subject, refusal)
        return
    except InteropError as refusal:
        try:
            exported = by_export(_saying(subject, f"torch.fx cannot tell what it gives: {refusal}"))
        except (UnexportableError, InteropError):
            raise refusal from None
        yield EXPORT, exported
        return
    if not left:
        yield FX, traced_one
    why = f"torch.fx leaves {left} whole" if left else "what torch.fx reads is not what the module gives"
    try:
        exported = by_export(_saying(subject, why))
    except (UnexportableError, InteropError) as reason:
        if left:
            yield FX, _noted(traced_one, f"read by torch.fx, as torch.export cannot: {reason}")
        return
    if not left:
        yield EXPORT, exported
        return
    kept = _noted(traced_one, "read by torch.fx, of which torch.export leaves no fewer parameters opaque")
    found = [(FX, kept), (EXPORT, exported)]
    yield from sorted(found, key=lambda one: _opaque(one[1]))


def read_by(front: str, subject: Subject) -> Network:
    """The network that one of the front ends reads.

    Raises:
        InteropError: it does not.
    """
    if front == FX:
        return by_tracing(subject)[0]
    try:
        return by_export(subject)
    except UnexportableError as reason:
        raise InteropError(f"import_module could not export {type(subject.module).__name__}: {reason}") from reason


def by_tracing(subject: Subject) -> tuple[Network, str]:
    """The network that torch.fx reads, and what of the module it leaves whole though it has parts; empty for none.

    Raises:
        UntraceableError: the module's own forward cannot be traced.
        InteropError: see `import_module`.
    """
    graph, whole = traced(subject.module, len(subject.given), subject.call.names)
    network = _network(subject, graph, whole, subject.call)
    return network, next(iter((*whole, *_composite(graph))), "")


def by_export(subject: Subject) -> Network:
    """The network that torch.export reads.

    Raises:
        UnexportableError: it cannot read the module.
        InteropError: see `import_module`.
    """
    graph, passed = captured(subject.module, subject.examples(BATCH + 1), subject.call)
    computed(subject, functools.partial(subject.call, subject.module))  # so that a state that changes is another later
    return _network(replace(subject, said=_joined(subject.said, *passed)), graph, {}, Call())


def _network(subject: Subject, graph: fx.GraphModule, whole: dict[str, str], call: Call) -> Network:
    """The network of a graph.

    Where what the module has pruned leaves a unit without a path from an input that an opaque layer reads or that is an
    output, units without weights keep theirs, which are 0.
    """
    recorder = Recorder(graph)
    computed(subject, lambda *examples: recorder.run(*examples))
    spread_outputs(graph.graph, recorder.facts)
    name_functions(graph, recorder.facts)

    def read(whole_units: bool) -> Network:
        told = (subject.given, subject.said, whole_units, call.results, subject.axes)
        reading = Reading(graph, recorder.facts, whole, *told)
        return Network.of(reading.structure())

    try:
        return read(False)
    except EditError:
        return read(True)


def computed(subject: Subject, function: Callable[..., object], samples: int = BATCH) -> object:
    """What a function gives for the examples that computes the module.

    Raises:
        InteropError: it does not run on them.
    """
    examples = subject.examples(samples)
    try:
        return function(*(example.clone() for example in examples))
    except InteropError:
        raise
    except Exception as error:
        bound(subject.module, len(subject.given), subject.call.names)
        raise InteropError(
            f"import_module expected inputs that {type(subject.module).__name__} runs on, got "
            f"{[tuple(tensor.shape) for tensor in examples]}: {first_line(error)}"
        ) from error


# -- choosing -----------------------------------------------------------------------------------------


def _instead(subject: Subject, refusal: UntraceableError) -> Network:
    """What torch.export reads of a module that torch.fx refuses.

    Raises:
        InteropError: it refuses it, too.
    """
    try:
        return by_export(_saying(subject, f"torch.fx cannot trace it: {refusal.reason}"))
    except UnexportableError as reason:
        raise InteropError(f"{refusal}; torch.export cannot read it either: {reason}") from refusal


def _saying(subject: Subject, why: str) -> Subject:
    """What is imported, with why torch.export reads it."""
    return replace(subject, said=_joined(subject.said, f"read by torch.export, as {why}"))


def _composite(graph: fx.GraphModule) -> Iterator[str]:
    """The modules of PyTorch's own that torch.fx does not look into, that no kind covers and that have parts."""
    for node in graph.graph.nodes:
        if node.op == "call_module":
            part = graph.get_submodule(str(node.target))
            known = type_before_parametrizations(part) in MODULES or isinstance(part, MOVING_MODULES)
            if not known and any(True for child in part.children() for _ in child.parameters()):
                yield path_of(node)


def _opaque(network: Network) -> tuple[int, int]:
    """How many parameters are in opaque layers, and how many such layers there are."""
    return sum(getattr(body, "parameter_count", None) or 0 for body in network.bodies.values()), len(network.bodies)


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))


def _noted(network: Network, text: str) -> Network:
    """The network with a note on its inputs."""
    noted: dict[str, Layer | None] = {}
    for name in network.input_names:
        layer = network.layer(name)
        noted[name] = layer.model_copy(update={"note": plain_text(_joined(layer.note, text))})
    return Network.of(network.replace(layers=noted))
