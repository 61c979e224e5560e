"""Lower a network to a PyTorch module: dense weights times masks, the form that trains."""

from collections.abc import Sequence

import torch
from torch import fx, nn

from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.emitters import PROJECTIONS, emit_joined, folds_bias, linked_targets
from nestgraph.lowering.extents import by_unit
from nestgraph.lowering.heads import emit_mixed, emit_scores, is_fused
from nestgraph.lowering.inner import emit_body, read_units
from nestgraph.lowering.layout import Layout, emit_laid_sample, lay_out, lies_last
from nestgraph.lowering.lowered_network import LoweredNetwork
from nestgraph.lowering.nodes import mark
from nestgraph.lowering.operations import emit_operation, steps
from nestgraph.lowering.origin import KEY, Origin, lowered
from nestgraph.lowering.packing import Place, place
from nestgraph.lowering.parameters import inherit, parameters_of, set_recorded
from nestgraph.lowering.paths import layer_paths, projection_paths
from nestgraph.lowering.ports import Nodes, emit_results, emit_samples
from nestgraph.lowering.proportion import TrainedExecution, trained_choices
from nestgraph.lowering.slots import BODY, slots
from nestgraph.lowering.sparse import EXECUTION
from nestgraph.lowering.sparse_linear import given_pattern
from nestgraph.spec import Mix, OneToOne, Projection
from nestgraph.spec.arguments import checked

PRECISIONS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@checked(LoweringError)
def lower(
    network: Network,
    device: str | torch.device = "cpu",
    masked: bool = True,
    like: tuple[Network, nn.Module] | None = None,
    dtype: torch.dtype | None = None,
    fuse: bool = True,
    layout: Layout = "auto",
    execution: TrainedExecution = "auto",
) -> fx.GraphModule:
    """A module that computes the network and trains in any PyTorch loop.

    Its inputs are full samples, (batch, features) or (batch, channels, *size), one for each port of
    `network.inputs`; its result is that of the one port of `network.outputs`, or a tuple of several. Inputs of another
    size are refused, but for extents that are free (`InputPort.free`) and that nothing behind them holds. It starts in
    training mode, as new modules do. The parameters have the shapes of the network's columns (see `slots`), but for
    convolutions whose mask has blocks, which hold, compute and train the weights of their groups alone, and for what is
    sparse (see `execution`). `layer_nodes` finds the nodes of a layer; `collect` brings the values back. Opaque layers
    are copies of their modules, and train.

    Args:
        network: what to compute.
        device: where the parameters live.
        masked: multiply weights by their masks in the graph, so that pruned connections stay 0 under any optimizer.
            Without, the outputs are the same, and a parameter's gradient has the entries of dormant connections too:
            what growth looks at.
        like: the network before an edit and a module of it that holds its values and is given up: what the edit left
            alone, parameters, masks and bodies, passes to the new module as the same tensors. So lowering again costs
            what the edit changed, and an optimizer that knows a parameter still does; one that takes another's place
            takes over its hooks and whether it trains.
        dtype: of the parameters, buffers and samples: torch.float32, float64, bfloat16 or float16; None for that of the
            module given up, else torch.float32. `collect` rounds to the network's float32.
        fuse: compute heads and what they mix in one call of scaled dot product attention where that gives the same.
            The module then has no node for the sum and output of these heads.
        layout: how maps lie in memory meanwhile, which changes results by rounding at most: "channels_last",
            "contiguous", or "auto" for what is quicker on the device.
        execution: how projections between neurons, or from maps to neurons, are held and trained: "masked" as whole
            matrices, "sparse" as vectors over their live connections, (live,), row by row; "auto" as such where a
            training step is then expected to take at most 0.8 of the time at any size of batches, on a processor in
            float32 and float64 (see `explain`). Convolutions with areas by pair keep their weights, which a sparse
            matrix with an entry for each reading of a connection then shares: "auto" from 64 samples on. A function of
            the network alone, so that runs can be repeated. Without masks all are whole; under autocast sparse
            products are of single precision.

    Raises:
        LoweringError: the device is not there, the dtype, layout or execution is none of these, execution is "sparse"
            where there are no sparse products or masks, the module given up was lowered from another network, or the
            body of an opaque layer is no module.
        StructureError: an opaque layer has no body.
    """
    place, precision = _present(device), _precision(dtype, like)
    if execution == "sparse" and not masked:
        raise LoweringError("lower expected masks where execution='sparse', got masked=False: take 'auto'")
    chosen = trained_choices(network, execution if masked else "masked", place, precision)
    emission = Emission(network, masked, sparse=frozenset(name for name, choice in chosen.items() if choice.sparse))
    if like:
        emission.kept, emission.kept_bodies = _given_up(*like), _given_bodies(network, *like)
    last = lies_last(layout, network, place)
    outputs = _emit_inputs(emission, last)
    laid = set(outputs.values())
    for name in network.layer_names:
        if name not in outputs and not (fuse and is_fused(network, name)):
            total = _emit_sum(emission, name, outputs)
            mark(total, name, "sum")
            outputs[name] = _emit_operations(emission, name, total)
            mark(outputs[name], name, "output")
    emit_results(emission, network, outputs)
    if last:
        lay_out(emission, laid)
    module = LoweredNetwork(emission.rooted(), emission.graph, LoweredNetwork.__name__)
    module.graph.lint()
    module.meta |= {KEY: Origin(network), EXECUTION: chosen}
    set_recorded(network, parameters_of(network, module))
    if like:
        inherit(like, (network, module))
    return module.to(place, precision).train()


def _given_up(network: Network, module: nn.Module) -> dict[Place, torch.Tensor]:
    """The tensors of a module's parameters, statistics and masks, by the place of the column that each holds."""
    part = lowered(network, module)
    paths, buffers, found = projection_paths(network), dict(part.named_buffers()), dict[Place, torch.Tensor]()
    for slot in (slot for slot in slots(network) if not slot.is_body):
        column, tensor = slot.values(network), slot.tensor(part)
        packing = None if tensor.shape == column.shape else slot.packing
        found[place(column, packing)] = tensor
        if slot.is_weight:
            path, known = paths[slot.owner], network.connection_columns(slot.owner).mask
            if (mask := buffers.get(f"{path}.mask")) is not None:
                found[place(known, packing)] = mask
            found |= given_pattern(known, part.get_submodule(path))
    return found


def _given_bodies(network: Network, before: Network, module: nn.Module) -> dict[str, nn.Module]:
    """The modules of opaque layers in a module that is given up, by layer, where the network has the same bodies."""
    part, paths = lowered(before, module), layer_paths(before)
    same = (name for name, body in network.bodies.items() if before.bodies.get(name) is body)
    return {name: part.get_submodule(f"{paths[name]}.{BODY}") for name in same}


def _present(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LoweringError(
            f"lower expected a device that is there, got {str(device)[:40]!r} ({reason}): device='cpu' always is"
        ) from error


def _precision(dtype: torch.dtype | None, like: tuple[Network, nn.Module] | None) -> torch.dtype:
    """The type of the numbers that a module computes with.

    Raises:
        LoweringError: it does not compute with such numbers.
    """
    held = like[1].parameters() if like else ()
    kind = next((p.dtype for p in held if p.dtype in PRECISIONS), torch.float32) if dtype is None else dtype
    if kind not in PRECISIONS:
        known = ", ".join(map(str, PRECISIONS))
        raise LoweringError(f"lower expected a dtype among {known}, got {kind}: others hold no gradients of weights")
    return kind


def _emit_inputs(emission: Emission, last: bool) -> Nodes:
    """Read all samples, then choose the features that live, and lay them out if channels are to lie last."""
    network = emission.network
    outputs: Nodes = {}
    for name, sample in emit_samples(emission, network, emission.layers).items():
        layer = network.layer(name)
        features = layer.features
        assert features is not None
        units = f"{emission.layers[name]}.units"
        outputs[name] = emission.select(sample, units, network.units(name), features)
        if last and len(layer.size or ()) == 2:
            outputs[name] = emit_laid_sample(emission, outputs[name], len(network.units(name)))
        mark(outputs[name], name, "output")
    return outputs


def _emit_sum(emission: Emission, name: str, outputs: Nodes) -> fx.Node:
    """Emit the sum over a layer's incoming projections plus its bias, times its gates, or what its body gives."""
    network, layer = emission.network, emission.network.layer(name)
    if layer.opaque is not None:
        return emit_body(emission, name, read_units(emission, name, outputs))
    incoming = [p for p in network.summed(name) if network.connection_columns(p.name).weight.size]
    gates = [p for p in network.gates(name) if network.connection_columns(p.name).weight.size]
    bias = _emit_bias(emission, name) if layer.bias else None
    carrier = next((projection for projection in incoming if folds_bias(emission, projection)), None)
    terms = [
        _emit_term(emission, group, outputs, bias if carrier in group else None)
        for group in _joined(emission, incoming)
    ]
    if bias is not None and carrier is None:
        size = summed_size(network, name)
        terms.append(bias if size is None else emission.call(torch.reshape, bias, by_unit(size)))
    if layer.places:
        values = network.unit_columns(name).values["places"]
        terms.append(emission.keep(f"{emission.layers[name]}.places", emission.parameter(values)))
    if (scores := emit_scores(emission, name, outputs)) is not None:
        terms.insert(0, scores)
    total = terms[0]
    for term in terms[1:]:
        total = emission.call(torch.add, total, term)
    for gate in gates:
        total = _emit_gate(emission, gate, total, outputs)
    if total in outputs.values():  # a plain skip: a node of its own keeps the layer's gradient apart
        total = emission.graph.call_method("view_as", (total, total))
    return total


def _emit_gate(emission: Emission, gate: Projection, total: fx.Node, outputs: Nodes) -> fx.Node:
    """Emit what becomes of a sum by a gate."""
    if isinstance(gate, Mix):
        return emit_mixed(emission, gate, total, outputs)
    return emission.call(torch.mul, total, PROJECTIONS[gate.kind](emission, gate, outputs[gate.source], None))


def _emit_term(emission: Emission, group: Sequence[Projection], outputs: Nodes, bias: fx.Node | None) -> fx.Node:
    """Emit what a group of projections adds to their target's sum."""
    links = [projection for projection in group if isinstance(projection, OneToOne)]
    if len(links) > 1:
        return emit_joined(emission, links, [outputs[projection.source] for projection in links])
    return PROJECTIONS[group[0].kind](emission, group[0], outputs[group[0].source], bias)


def _joined(emission: Emission, incoming: Sequence[Projection]) -> list[list[Projection]]:
    """Projections one by one, and those together that link different targets, as a concatenation does."""
    groups, taken = list[list[Projection]](), list[set[int]]()
    for projection in incoming:
        own = set(linked_targets(emission, projection).tolist()) if isinstance(projection, OneToOne) else set[int]()
        place = next((n for n, each in enumerate(taken) if own and each and not each & own), len(groups))
        if place == len(groups):
            groups.append([])
            taken.append(set())
        groups[place].append(projection)
        taken[place] |= own
    return groups


def _emit_bias(emission: Emission, name: str) -> fx.Node:
    values = emission.network.unit_columns(name).values["bias"]
    return emission.keep(f"{emission.layers[name]}.bias", emission.parameter(values))


def _emit_operations(emission: Emission, name: str, x: fx.Node) -> fx.Node:
    layer = emission.network.layer(name)
    for number, (stage, operation) in enumerate(steps(layer)):
        path = f"{emission.layers[name]}.operation{number}"
        x = emit_operation(emission, stage, operation, path, x)
    return x
