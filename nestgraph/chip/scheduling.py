"""From a network to a program: dead units gone, normalisation folded, every layer a few steps."""

import math
from collections.abc import Sequence

import numpy as np

from nestgraph.chip.flows import Flow, Frame, frame_of, framed_size
from nestgraph.chip.moves import Applied, Taken, Turned
from nestgraph.chip.operating import At, pointwise, steps_of, window_of
from nestgraph.chip.pointwise import Pointwise
from nestgraph.chip.program import Program, Step, Value
from nestgraph.chip.summing import Reading, gate_of, met, mixed, term_of
from nestgraph.chip.sums import Sum
from nestgraph.chip.terms import Gate, Term
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.graph.compaction import compacted
from nestgraph.graph.extents import outside
from nestgraph.graph.heads import mixing, summed_size
from nestgraph.spec import Conv, Dense, InputPort, Mix, OneToOne, Operation, OutputPort, Projection
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Swept


def scheduled(network: Network) -> Program:
    """The steps that compute a network for one sample.

    Samples of inputs whose extents are free have the declared size.

    Raises:
        ExportError: a layer is of a kind that C is not known for, which the message names.
    """
    return _Schedule(network).program()


class _Schedule:
    def __init__(self, network: Network) -> None:
        self.network, left = network, compacted(network)
        self.structure, self.offsets = left.structure, left.offsets
        self.steps = list[Step]()
        self.flows = dict[str, Flow]()
        self._framed = dict[tuple[str, bytes], Flow]()
        self._names = set[str]()

    def program(self) -> Program:
        inputs = tuple((port, self._input(port)) for port in self.network.inputs)
        for name in self.structure.layer_names:
            if self.structure.layer(name).kind != "input":
                self._layer(name)
        outputs = tuple((port, self._output(port)) for port in self.network.outputs)
        return Program(inputs, outputs, tuple(self.steps))

    def _fresh(self, layer: str, shape: tuple[int, ...], classes: int | None = None) -> Value:
        """A value of a name of its own."""
        name = next(name for n in range(len(self._names) + 1) if (name := f"{layer}.{n}") not in self._names)
        self._names.add(name)
        return Value(name, shape, classes)

    # -- what goes in and comes out --------------------------------------------------------------------

    def _input(self, port: InputPort) -> Value:
        """What a port brings, and its layer's flow."""
        layer = self.network.layer(port.layer)
        own = (layer.features or 0, *(layer.size or ()))
        given = outside(port, own) if port.shape is None else port.shape
        value = self._fresh(port.layer, given, layer.classes)
        if self.structure.has_layer(port.layer):
            held = self._turned(port.layer, value, own, port.axis, True)
            self.flows[port.layer] = Flow(held, own[1:], self.structure.units(port.layer))
        return value

    def _output(self, port: OutputPort) -> Value:
        """What a port takes, by a step of its own where units stand on another axis."""
        flow = self.flows[port.layer]
        return self._turned(port.layer, flow.value, (len(flow.rows), *flow.size), port.axis, False)

    def _turned(self, layer: str, value: Value, own: tuple[int, ...], axis: int, inward: bool) -> Value:
        """A value whose units stand first, or where a port has them: itself where that is the same order."""
        moved = math.prod(own[1:axis])
        if own[0] == 1 or moved == 1:
            return value
        lengths = (moved, own[0]) if inward else (own[0], moved)
        target = self._fresh(layer, own, value.classes)
        self.steps.append(Turned(layer, target, value, (*lengths, math.prod(own[axis:]))))
        return target

    # -- layers ----------------------------------------------------------------------------------------

    def _layer(self, name: str) -> None:
        structure, layer = self.structure, self.structure.layer(name)
        if layer.opaque is not None:
            raise ExportError(
                f"layer {name!r}: expected layers of kinds that C is known for, got an opaque one ({layer.opaque}): "
                "export it as ONNX or Python"
            )
        columns = structure.unit_columns(name)
        terms: list[Term] = [term_of(self._reading(projection)) for projection in structure.summed(name)]
        compared = met(structure, name, self.flows)
        terms += [] if compared is None else [compared]
        bias, offset = columns.values["bias"].astype(np.float64), self.offsets.get(name)
        offsets = None if offset is None else offset.reshape(len(offset), -1).astype(np.float64)
        gates = structure.gates(name)
        size = summed_size(structure, name) or ()
        if (mix := mixing(structure, name)) is not None:
            at = gates.index(mix)
            before = tuple(gate_of(self._reading(gate)) for gate in gates[:at])
            value = self._fresh(name, (len(columns), *size))
            self.steps.append(Sum(name, value, size, bias, offsets, tuple(terms), before, None, ()))
            terms, bias, offsets = [mixed(structure, mix, self.flows[mix.source], value)], np.zeros(len(bias)), None
            gates, size = gates[at + 1 :], layer.size or ()
        factors = tuple(gate_of(self._reading(gate)) for gate in gates if not isinstance(gate, Mix))
        self._summed(name, size, bias, offsets, terms, factors)

    def _summed(
        self,
        name: str,
        size: tuple[int, ...],
        bias: AnyArray,
        offsets: AnyArray | None,
        terms: list[Term],
        gates: tuple[Gate, ...],
    ) -> None:
        """The sum of a layer with what can be done to each number of it at once, then the rest of its operations."""
        layer, units = self.structure.layer(name), self.structure.unit_columns(name)
        columns = {column: array.astype(np.float64) for column, array in units.values.items()}
        functions, window, rest = list[Pointwise](), None, list(layer.operations)
        while rest:
            found = pointwise(layer, rest[0], columns)
            if found is None:
                within = window_of(rest[0], size) if window is None else None
                if within is None or not all(function.rises for function in functions):
                    break
                window = within
            else:
                functions.append(found)
            rest = rest[1:]
        given = size if window is None else window.size
        frame = () if rest or not given else self._frame(name)
        target = self._fresh(name, (len(units), *framed_size(given, frame)))
        self.steps.append(Sum(name, target, size, bias, offsets, tuple(terms), gates, window, tuple(functions), frame))
        at = At(layer, units.ids, columns, target, given, lambda shape: self._fresh(name, (len(units), *shape)))
        self._operate(at, rest)
        self.flows[name] = Flow(at.value, at.size, np.arange(len(units)), frame)

    def _operate(self, at: At, operations: Sequence[Operation]) -> None:
        """The steps of operations; functions of each number that follow each other are one."""
        waiting = list[Pointwise]()
        for operation in operations:
            found = pointwise(at.layer, operation, at.columns)
            if found is not None:
                waiting.append(found)
                continue
            self._apply(at, waiting)
            waiting = []
            self.steps += steps_of(operation, at)
        self._apply(at, waiting)

    def _apply(self, at: At, functions: list[Pointwise]) -> None:
        if functions:
            step = Applied(at.layer.name, at.fresh(at.size), at.value, tuple(functions))
            self.steps.append(step)
            at.value = step.target

    def _reading(self, projection: Projection) -> Reading:
        return Reading(self.structure, projection, self.flows[projection.source], self._take)

    def _frame(self, name: str) -> Frame:
        """The zeros around a layer's maps that its readers read, where all of them can read maps with zeros around."""
        readers = self.structure.outgoing(name)
        if self.structure.layer(name).output or not all(_reads_framed(reader) for reader in readers):
            return ()
        return frame_of([reader for reader in readers if isinstance(reader, Swept) and reader.kernel is not None])

    def _take(self, flow: Flow, places: tuple[AnyArray, ...]) -> Flow:
        """Maps of which places are taken, once for all that read them so."""
        key = flow.value.name, b"".join(each.tobytes() + b"|" for each in places)
        if key not in self._framed:
            layer = flow.value.name.rpartition(".")[0]
            size = tuple(map(len, places))
            value = self._fresh(layer, (flow.value.count // math.prod(flow.size), *size))
            self.steps.append(Taken(layer, value, flow.value, flow.size, places, 0.0))
            self._framed[key] = Flow(value, size, flow.rows)
        return self._framed[key]


def _reads_framed(reader: Projection) -> bool:
    """Whether a projection can read maps with zeros around."""
    return isinstance(reader, Dense | Conv) or (isinstance(reader, OneToOne) and not reader.placed)
