"""ONNX models that keep int8: weights with a scale for each unit, numbers between layers with those of the C file.

A model has pairs of `QuantizeLinear` and `DequantizeLinear` where a C file of int8 has whole numbers; engines take them
together with what stands between them.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from nestgraph.chip.bounds import bounds
from nestgraph.chip.integers import MOST, Integers
from nestgraph.chip.program import Program
from nestgraph.chip.quantising import Quantised, quantised
from nestgraph.chip.samples import affordable, expected, random_samples, real_samples
from nestgraph.chip.scales import HIGH, Scale
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.sums import Sum
from nestgraph.chip.terms import Segment, Swept, Term
from nestgraph.chip.trying import BESIDE
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.graph.reference import Inputs
from nestgraph.interop.agreement import Runner, example_inputs
from nestgraph.lowering.nodes import KEY
from nestgraph.spec.arrays import AnyArray

Weights = Mapping[str, tuple[int, int]]
"""By operation that takes weights, where in its inputs they stand, and the axis of what it gives."""
WEIGHTED: Weights = {"Conv": (1, 0), "Gemm": (1, 0), "MatMul": (1, 1)}
ALIKE = frozenset({"Flatten", "Reshape", "Gather", "Transpose", "MaxPool", "Slice", "Squeeze", "Unsqueeze", "Identity"})
"""Operations that pass numbers on as they are."""
UNKNOWN = 250
"""Random samples by which scales are found where none are given."""
HALF = 0.5001
"""Of a scale, how far a number may be from what stands for it."""


@dataclass(frozen=True, eq=False)
class Int8:
    """How a model keeps int8.

    Attributes:
        program: what the C file does.
        form: by which scales.
        samples: by port, those by which these were found.
    """

    program: Program
    form: Quantised
    samples: list[AnyArray]

    @property
    def scales(self) -> dict[str, Scale]:
        """By layer, the scale of its numbers, where others read them."""
        found = {port.layer: value for port, value in self.program.inputs if value.classes is None}
        found |= {step.layer: step.target for step in self.program.steps if step.target.classes is None}
        scales = self.form.scales
        return {layer: scales[value.name] for layer, value in found.items() if value.name in scales}

    @property
    def bounds(self) -> list[float]:
        """By port, how far an output can be from the network's, where numbers stay within those of the samples.

        Beside the C file's there are none within a layer, and each weight is at most half a step of its row off.
        """
        apart = {
            step.target.name: _apart(step, self.form.integers[step.target.name])
            for step in self.program.steps
            if isinstance(step, Sum)
        }
        return bounds(self.program, replace(self.form, integers={**self.form.integers, **apart}))


def int8_of(network: Network, what: str, inputs: Inputs | None) -> Int8:
    """How a model of a network keeps int8, by the scales that its C file has.

    Args:
        network: the network.
        what: how messages begin.
        inputs: samples by which scales are found; random ones without.

    Raises:
        ExportError: a layer is of a kind that C is not known for, whose scales are not known either, or the samples are
            none of the network's.
    """
    program = scheduled(network)
    known = random_samples(program, UNKNOWN) if inputs is None else real_samples(network, what, inputs)
    return Int8(program, quantised(program, known, what), known)


def check_int8(network: Network, what: str, kept: Int8, run: Runner) -> float:
    """Compare a model with the network on samples by which scales were found: each output within its bound.

    Returns:
        The largest difference, relative to the largest output of its port.

    Raises:
        ExportError: an output is further off, or the network gives nothing finite.
    """
    samples = affordable(network, kept.samples)
    exact, found = expected(network, samples), list[float]()
    if not all(np.isfinite(values).all() for values in exact):
        raise ExportError(f"{what}: expected samples for which the network gives finite values: give others as inputs")
    for place, (values, got, bound) in enumerate(zip(exact, run(typed(network, samples)), kept.bounds, strict=True)):
        apart = float(np.abs(got - values).max())
        if not apart <= bound * BESIDE:
            raise ExportError(
                f"{what}: expected output {place} within {bound:.2g} of the network's, as int8 is, got a difference of "
                f"{apart:.2g}: nothing was written; this engine may cut sums of int8 on this processor: export C"
            )
        found.append(apart / max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny)))
    return max(found)


def typed(network: Network, samples: Sequence[AnyArray]) -> list[AnyArray]:
    """Samples by position in the types that a model takes."""
    return [each.astype(like.dtype) for each, like in zip(samples, example_inputs(network, 1), strict=True)]


def _apart(step: Sum, integers: Integers) -> Integers:
    """The sum with each weight half a step of its row off, and each bias half of what one is worth."""
    terms = tuple(_off(term) for term in step.terms)
    shifted = replace(step, terms=terms, bias=step.bias + HALF * integers.units)
    return replace(integers, real=shifted, multipliers=None)


def _off(term: Term) -> Term:
    if not isinstance(term, Swept):
        return term
    rows: list[tuple[Segment, ...]] = []
    for row in term.rows:
        step = max((float(np.abs(part.weights).max(initial=0)) for part in row), default=0.0) / HIGH
        rows.append(tuple(Segment(part.area, part.offsets, part.weights + HALF * step) for part in row))
    return replace(term, rows=tuple(rows))


# -- numbers between layers --------------------------------------------------------------------------------


def held(module: fx.GraphModule, kept: Int8) -> fx.GraphModule:
    """A compact module in which what a layer gives to others is rounded to its int8; it can be exported, not run."""
    found = copy.deepcopy(module)
    for place, (node, scale) in enumerate(_given(found.graph, kept.scales)):
        found.register_buffer(f"scale{place}", torch.tensor(scale.step, dtype=torch.float32))
        found.register_buffer(f"zero{place}", torch.tensor(scale.zero, dtype=torch.int8))
        readers = [user for user in node.users if _layer(user) != _layer(node)]
        with found.graph.inserting_after(node):
            worth = found.graph.get_attr(f"scale{place}")
        with found.graph.inserting_after(worth):
            zero = found.graph.get_attr(f"zero{place}")
        with found.graph.inserting_after(zero):
            rounded = found.graph.call_function(_rounded, (node, worth, zero))
        for reader in readers:
            reader.replace_input_with(node, rounded)
    found.recompile()
    return found


def _rounded(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    symbolic: Any = torch.onnx.ops.symbolic
    whole = symbolic("QuantizeLinear", (x, scale, zero), dtype=torch.int8, shape=x.shape)
    return cast(Tensor, symbolic("DequantizeLinear", (whole, scale, zero), dtype=torch.float32, shape=x.shape))


def _layer(node: fx.Node) -> str | None:
    return node.meta.get(KEY, {"layer": None})["layer"]


def _given(graph: fx.Graph, scales: Mapping[str, Scale]) -> list[tuple[fx.Node, Scale]]:
    """The nodes of layers that others read, and their scales; what else they read are shapes."""
    found: list[tuple[fx.Node, Scale]] = []
    for node in graph.nodes:
        layer = _layer(node)
        if layer in scales and any(_layer(user) != layer for user in node.users) and node.op != "get_attr":
            found.append((node, scales[cast(str, layer)]))
    return found


# -- weights -----------------------------------------------------------------------------------------------


def keep_weights(model: Any) -> None:
    """Hold the weights of a model's sums as int8, with a scale for each unit, and their biases as int32.

    These are worth what a step of a weight times one of what is read is, so that engines add them up as they are.
    """
    import onnx

    graph, helper = model.graph, onnx.numpy_helper
    known = {each.name: helper.to_array(each) for each in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    nodes: list[Any] = []
    for number, node in enumerate(graph.node):
        rows = _rows(node, known)
        if rows is not None:
            name = f"int8.{number}"
            axis, scale = rows
            place = WEIGHTED[node.op_type][0]
            weights = known[node.input[place]]
            whole = _near(weights / _along(scale, axis, weights.ndim), HIGH, np.int8)
            nodes.append(_dequantised(graph, f"{name}.weight", whole, scale, axis))
            bias = _bias(node, known, _worth(node.input[0], made, known), scale)
            node.input[place] = f"{name}.weight"
            if bias is not None:
                nodes.append(_dequantised(graph, f"{name}.bias", bias[0], bias[1], 0))
                node.input[2] = f"{name}.bias"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    left = [each for each in graph.initializer if each.name in read]
    del graph.initializer[:]
    graph.initializer.extend(left)


def _rows(node: Any, known: Mapping[str, AnyArray]) -> tuple[int, AnyArray] | None:
    """The axis of what a node's weights give, and (rows,) float32 the scale of each; None where it has none."""
    place, axis = WEIGHTED.get(node.op_type, (0, 0))
    options = {each.name: each.i for each in node.attribute}
    if node.op_type not in WEIGHTED or len(node.input) <= place or node.input[place] not in known:
        return None
    weights = known[node.input[place]]
    if node.op_type == "Gemm":
        axis = 0 if options.get("transB") else 1
    if weights.ndim < 2 or (node.op_type == "MatMul" and weights.ndim != 2) or weights.dtype != np.float32:
        return None
    others = tuple(each for each in range(weights.ndim) if each != axis)
    largest = np.abs(weights.astype(np.float64)).max(axis=others, initial=0)
    return axis, np.where(largest > 0, largest / HIGH, 1.0).astype(np.float32)


def _bias(
    node: Any, known: Mapping[str, AnyArray], worth: float | None, scale: AnyArray
) -> tuple[AnyArray, AnyArray] | None:
    """A bias as int32, and what one is worth in each row; None where there is none, or no number for what is read."""
    if node.op_type == "MatMul" or len(node.input) < 3 or node.input[2] not in known or worth is None:
        return None
    bias, units = known[node.input[2]], (scale * np.float32(worth)).astype(np.float32)
    if bias.shape != units.shape or (np.abs(bias) >= MOST * units.astype(np.float64)).any():
        return None
    return _near(bias / units.astype(np.float64), MOST, np.int32), units


def _worth(name: str, made: Mapping[str, Any], known: Mapping[str, AnyArray]) -> float | None:
    """What a step of a value is worth that is one of int8, or of such numbers as they are."""
    while (node := made.get(name)) is not None and node.op_type in ALIKE:
        name = node.input[0]
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return float(known[node.input[1]])


def _near(numbers: AnyArray, most: int, kind: Any) -> AnyArray:
    return np.clip(np.floor(np.asarray(numbers, np.float64) + 0.5), -most, most).astype(kind)


def _along(scale: AnyArray, axis: int, axes: int) -> AnyArray:
    return scale.astype(np.float64).reshape([-1 if each == axis else 1 for each in range(axes)])


def _dequantised(graph: Any, name: str, whole: AnyArray, scale: AnyArray, axis: int) -> Any:
    """A node that makes numbers of whole ones, which the graph holds from now on."""
    import onnx

    parts = {f"{name}.whole": whole, f"{name}.scale": scale, f"{name}.zero": np.zeros(len(scale), whole.dtype)}
    graph.initializer.extend(onnx.numpy_helper.from_array(array, part) for part, array in parts.items())
    return onnx.helper.make_node("DequantizeLinear", list(parts), [name], axis=axis)
