"""Lower a network to the smallest ordinary PyTorch module that computes it: the form that is deployed."""

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from nestgraph.errors import LoweringError
from nestgraph.graph import Network, Structure
from nestgraph.graph.compaction import compacted
from nestgraph.graph.extents import sample_shape
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.compact_emitters import TERMS
from nestgraph.lowering.costs import known_costs
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import by_unit
from nestgraph.lowering.heads import emit_mixed, emit_scores, is_fused
from nestgraph.lowering.inner import emit_inner, read_units
from nestgraph.lowering.layout import Layout, emit_laid_sample, lay_out, lies_last
from nestgraph.lowering.nodes import KEY
from nestgraph.lowering.operations import emit_operation, steps
from nestgraph.lowering.ports import Nodes, emit_results, emit_samples
from nestgraph.lowering.sparse import EXECUTION, Choice, Execution, choices, emit_chosen, emit_product
from nestgraph.lowering.tensors import as_tensor
from nestgraph.lowering.terms import CompactEmission, by_place, rows_of
from nestgraph.spec import Layer, Mix, Projection
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations import Affine


@checked(LoweringError)
def compact(network: Network, batch: int = 1, layout: Layout = "auto", execution: Execution = "auto") -> fx.GraphModule:
    """A module of ordinary linear maps, convolutions and functions that computes the network in inference.

    Inputs and results are those of `lower`, at any batch size and on any device that it is moved to. Gone are dormant
    connections where whole rows, columns or blocks of them are, units that give a constant or that no output depends
    on, dropout, and batch normalisation where it comes first after weighted projections; what it multiplies and adds is
    in the weights and biases. A concatenation of layers is one, and a skip is an addition. Block masks are grouped
    convolutions. Where few connections live a projection is the product of a sparse matrix; else single connections
    missing from a matrix are zeros in it.

    Values are rounded anew where weights are folded, so outputs agree with `reference` to single precision.
    Parameters have `requires_grad=False`; to train a network use `lower`.

    Args:
        network: what to compute.
        batch: how many samples at a time the module is made for. All sizes give the same outputs; which of several
            forms is quickest depends on it.
        layout: how maps lie in memory meanwhile, as in `lower`; "auto" is made for processors, and takes maxima of
            small windows by slices. "contiguous" is plain: what other compilers read best.
        execution: "auto" computes each projection in the way that is expected to be quicker for so many samples on as
            many threads as torch has now (see `explain` and `calibrate`), "sparse" by a sparse matrix wherever there is
            one, "dense" by none. Networks that take samples of any size have none. What has one needs nestgraph where
            it is unpickled, for the product is an operator of its own (`torch.ops.nestgraph.sparse_product`); a dense
            one needs PyTorch alone.

    Raises:
        LoweringError: the layout or execution is none of these.
    """
    compaction = compacted(network)
    last = lies_last(layout, network, torch.device("cpu"))
    whole, chosen = _whole(network), executed(network, compaction.structure, execution, batch)
    emission = CompactEmission(
        compaction.structure,
        offsets=compaction.offsets,
        batch=batch,
        slices=batch if whole and layout != "contiguous" else 0,
        sparse=frozenset(name for name, choice in chosen.items() if choice.sparse),
    )
    names = {port.layer: f"input{number}" for number, port in enumerate(network.inputs)}
    samples = emit_samples(emission, network, names, fixed=compaction.absolute)
    outputs: Nodes = {}
    laid = set[fx.Node]()
    for name in compaction.structure.layer_names:
        if name in samples:
            outputs[name] = _emit_input(emission, name, samples[name], last)
            laid.add(outputs[name])
        elif name in compaction.offsets or not is_fused(compaction.structure, name):
            total = _emit_sum(emission, name, outputs, next(iter(samples.values())))
            outputs[name] = _emit_operations(emission, compaction.structure.layer(name), total)
        _note_layer(emission.graph, name)
    emit_results(emission, network, outputs)
    if last:
        lay_out(emission, laid)
    module = fx.GraphModule(emission.state, emission.graph, "CompactNetwork")
    module.graph.lint()
    module.meta[EXECUTION] = chosen
    return module.eval().requires_grad_(False)


def executed(
    network: Network, structure: Structure, execution: Execution, batch: int, threads: int | None = None
) -> dict[str, Choice]:
    """How each projection of what is left of a network is computed; see `choices`.

    Args:
        network: the whole.
        structure: what is left of it.
        execution: as in `choices`.
        batch: how many samples at a time.
        threads: how many compute; as many as torch has now unless given.
    """
    known = known_costs(threads or torch.get_num_threads())
    return choices(structure, execution if _whole(network) else "dense", batch, known)


def _whole(network: Network) -> bool:
    """Whether all samples have the declared sizes, for which alone there are matrices and slices."""
    return all(None not in sample_shape(network, port) for port in network.inputs)


def _note_layer(graph: fx.Graph, name: str) -> None:
    """Note in the meta of new nodes which layer they compute, for whoever prints the module."""
    for node in graph.nodes:
        node.meta.setdefault(KEY, {"layer": name, "roles": ()})


def _emit_input(emission: CompactEmission, name: str, sample: fx.Node, last: bool) -> fx.Node:
    layer, units = emission.network.layer(name), emission.network.units(name)
    assert layer.features is not None
    if all(projection.name in emission.sparse for projection in emission.network.outgoing(name)):
        return emit_chosen(emission, sample, f"{emission.layers[name]}_units", units, layer.features)
    chosen = emission.choose(sample, f"{emission.layers[name]}_units", units, layer.features)
    return emit_laid_sample(emission, chosen, len(units)) if last and len(layer.size or ()) == 2 else chosen


def _emit_sum(emission: CompactEmission, name: str, outputs: Nodes, sample: fx.Node) -> fx.Node:
    """Emit the sum over a layer's projections, times its gates: rows that different ones feed are put side by side."""
    network = emission.network
    if network.layer(name).opaque is not None:
        return emit_inner(emission, name, read_units(emission, name, outputs))
    bias = emission.network.unit_columns(name).values["bias"].copy()
    parts: dict[bytes, tuple[AnyArray, fx.Node]] = {}
    for projection, rows in _rows(emission, name):
        node = _emit_term(emission, projection, outputs[projection.source], rows, bias)
        known = parts.get(rows.tobytes())
        parts[rows.tobytes()] = rows, node if known is None else emission.call(torch.add, known[1], node)
    if (scores := emit_scores(emission, name, outputs)) is not None:
        every = np.arange(len(bias))
        summed = [] if not parts else [_joined(emission, name, list(parts.values()))]
        parts = {b"": (every, scores if not summed else emission.call(torch.add, scores, summed[0]))}
    total = _joined(emission, name, list(parts.values())) if parts else _zeros(emission, name, sample)
    if bias.any():
        total = emission.call(
            torch.add, total, emission.keep(f"{emission.layers[name]}_bias", by_place(emission, name, bias))
        )
    if name in emission.offsets:
        offset = emission.keep(f"{emission.layers[name]}_offset", as_tensor(emission.offsets[name]))
        total = emission.call(torch.add, total, offset)
    for gate in network.gates(name):
        if isinstance(gate, Mix):
            total = emit_mixed(emission, gate, total, outputs)
            continue
        factors = _emit_term(emission, gate, outputs[gate.source], np.arange(len(bias)), np.zeros(len(bias)))
        total = emission.call(torch.mul, total, factors)
    return total


def _rows(emission: Emission, name: str) -> list[tuple[Projection, AnyArray]]:
    """The rows that each projection into a layer is to give: those of two are the same or apart, and together all."""
    incoming, count = emission.network.summed(name), len(emission.network.units(name))
    rows = [rows_of(emission, projection) for projection in incoming]
    parts = {part.tobytes(): part for part in rows}
    together = np.concatenate([*parts.values(), np.array([], np.int64)])
    if not np.array_equal(np.sort(together), np.arange(count)):
        rows = [np.arange(count)] * len(rows)
    return list(zip(incoming, rows, strict=True))


def _emit_term(
    emission: CompactEmission, projection: Projection, source: fx.Node, rows: AnyArray, bias: AnyArray
) -> fx.Node:
    """Emit what a projection adds to rows, with their bias where it can take it; of that, `bias` keeps nothing."""
    own = rows_of(emission, projection) if projection.couples else rows
    offered = bias[rows] if len(own) == len(rows) and bias[rows].any() else None
    emit = emit_product if projection.name in emission.sparse else TERMS[projection.kind]
    term = emit(emission, projection, source, own, offered)
    if term.biased:
        bias[rows] = 0
    if len(own) == len(rows):
        return term.node
    axes_behind = len(summed_size(emission.network, projection.target) or ())
    padded = emission.call(functional.pad, term.node, (0, 0) * axes_behind + (0, 1), value=float(projection.gates))
    places = np.full(len(rows), len(own))
    places[own] = np.arange(len(own))
    return emission.choose(padded, f"{emission.projections[projection.name]}_targets", places, len(own) + 1)


def _joined(emission: CompactEmission, name: str, parts: list[tuple[AnyArray, fx.Node]]) -> fx.Node:
    if len(parts) == 1:
        return parts[0][1]
    parts = sorted(parts, key=lambda part: int(part[0][0]))
    together = emission.call(torch.cat, [node for _, node in parts], 1)
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return emission.choose(together, f"{emission.layers[name]}_order", order, len(order))


def _zeros(emission: Emission, name: str, sample: fx.Node) -> fx.Node:
    """The sum of an output layer that no projection feeds, as all its connections are 0."""
    shape = (len(emission.network.units(name)), *(emission.network.layer(name).size or ()))
    batch = emission.graph.call_method("size", (sample, 0))
    return emission.graph.call_method("new_zeros", (sample, (batch, *shape)))


def _emit_operations(emission: Emission, layer: Layer, x: fx.Node) -> fx.Node:
    path, values = emission.layers[layer.name], emission.network.unit_columns(layer.name).values
    doubles = {name: array.astype(np.float64) for name, array in values.items()}
    for number, (stage, operation) in enumerate(steps(layer)):
        if (affine := operation.affine(doubles)) is not None:
            x = _emit_affine(emission, stage, affine, x)
        else:
            x = emit_operation(emission, stage, operation, f"{path}_operation{number}", x)
    return x


def _emit_affine(emission: Emission, layer: Layer, affine: Affine, x: fx.Node) -> fx.Node:
    """A normalisation that nothing before it can take over: one multiplication and addition for each value."""
    path, shape = emission.layers[layer.name], by_unit(layer.size)
    shift = affine.shift - affine.centre * affine.scale
    factor = emission.keep(f"{path}_scale", as_tensor(affine.scale.reshape(shape)))
    return emission.call(torch.addcmul, emission.keep(f"{path}_shift", as_tensor(shift.reshape(shape))), x, factor)
