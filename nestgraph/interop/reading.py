"""One pass over a traced module: each node becomes layers, a rearrangement of elements, or an opaque layer."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.utils.parametrize import type_before_parametrizations

from nestgraph.errors import InteropError, NestgraphError
from nestgraph.graph import Structure
from nestgraph.graph.extents import outside
from nestgraph.interop.bodies import Bodies
from nestgraph.interop.constants import trained
from nestgraph.interop.drafts import plain_text
from nestgraph.interop.elements import Elements
from nestgraph.interop.joining import joined
from nestgraph.interop.mask_calls import holds_a_mask, told
from nestgraph.interop.masks import Mask
from nestgraph.interop.modules import MODULES, MOVING_MODULES, read_call
from nestgraph.interop.nodes import called, last_uses, name_and_label, operation, path_of, written_by
from nestgraph.interop.opaque import excerpt
from nestgraph.interop.picking import Picking
from nestgraph.interop.standing import classes_of, units_axis
from nestgraph.interop.tracing import COMPUTED, NOTES, PATH, TensorFact
from nestgraph.interop.values import Foreign, contains, leaves, moved, regions_of, same_type, written
from nestgraph.interop.vocabulary import BROADCASTING, CASTS, FUNCTIONS, JOINS, LIKENED, MOVES, SHAPED
from nestgraph.interop.weaving import Weaver
from nestgraph.interop.wrappers import computes_weights
from nestgraph.lowering.operations import UncoveredError
from nestgraph.spec import InputPort, Interface, OutputPort
from nestgraph.spec.extents import MAX_EXTENTS

BATCH = 2
"""Samples in what is traced: one would not tell which axis holds them."""


class Reading:
    """The pass, and what it has found so far.

    Args:
        module: the traced module.
        facts: what each node gave on the examples (see `Recorder`).
        whole: why which submodules were not traced into.
        given: example inputs, a tensor for each; it was run on `BATCH` samples of them.
        said: what to say of the inputs.
        whole_units: whether a unit all of whose weights the module has pruned keeps them, as zeros.
        results: those that count of what the module returns.
        axes: at which axis of each input its units stand; None where its readers say so.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        facts: Mapping[fx.Node, Any],
        whole: Mapping[str, str],
        given: Sequence[Tensor],
        said: str = "",
        whole_units: bool = False,
        results: Callable[[Any], Any] = lambda returned: returned,
        axes: Sequence[int | None] = (),
    ) -> None:
        self._axes = axes
        self._module, self._facts, self._whole = module, facts, whole
        self._results = results
        half_frozen = len({parameter.requires_grad for parameter in module.parameters()}) == 2
        self._given, self._weaver = given, Weaver(BATCH, self._held, whole_units, half_frozen, said)
        self._picking, self._bodies = Picking(self._weaver), Bodies(self._weaver, BATCH)
        self._values: dict[fx.Node, Any] = {}
        self._dying: frozenset[fx.Node] = frozenset()
        self._unwoven: set[fx.Node] = set()
        self._sources: dict[fx.Node, Elements] = {}
        self._parameters: dict[fx.Node, frozenset[int]] = {}
        self._sized: set[fx.Node] = set()
        self._owners: dict[int, str] = {}
        self._inputs: list[InputPort] = []
        self._outputs: list[OutputPort] = []

    def structure(self) -> Structure:
        """Read all nodes into a structure whose interface is the module's.

        Raises:
            InteropError: an input or output has a form that a network has not.
        """
        last = last_uses(self._module.graph)
        for node in self._module.graph.nodes:
            self._dying = last.get(node, frozenset())
            try:
                self._pass(node)
            except UncoveredError as reason:
                raise InteropError(
                    f"import_module expected (batch, ...) throughout, got a tensor that {node.name!r} reads and no "
                    f"layer can hold: {reason}; keep the first axis for samples, in `view` by x.size(0)"
                ) from reason
            self._let_go(node)
        return self._weaver.drafts.structure(Interface(inputs=tuple(self._inputs), outputs=tuple(self._outputs)))

    def _pass(self, node: fx.Node) -> None:
        if node.op == "output":
            returned = map_arg(node.args[0], self._values.__getitem__)
            self._end(self._results(returned), self._results(self._facts[node]), "output")
        else:
            self._values[node] = self._value(node)

    def _let_go(self, node: fx.Node) -> None:
        """Forget what is read at a node for the last time; what an excerpt may begin from is kept aside."""
        value = self._values.get(node)
        if not isinstance(value, Elements) or not self._weaver.ledger.seems_apart(value):
            self._unwoven.add(node)
        for near in self._dying:
            value = self._values.pop(near, None)
            if isinstance(value, Elements) and any(user in self._unwoven for user in near.users):
                self._sources[near] = value

    def _held(self, region: int) -> bool:
        return region in regions_of([value for node, value in self._values.items() if node not in self._dying])

    # -- nodes ---------------------------------------------------------------------------------------

    def _value(self, node: fx.Node) -> Any:
        self._weaver.name, self._weaver.label = name_and_label(node)
        if node.op == "placeholder":
            return self._input(node)
        if node.op == "get_attr":
            held = operator.attrgetter(str(node.target))(self._module)
            self._parameters[node] = frozenset((id(held),) if isinstance(held, nn.Parameter) else ())
            return held
        args, kwargs = cast(Any, map_arg((node.args, node.kwargs), self._values.__getitem__))
        fact = self._facts[node]
        if operation(node) in SHAPED or (operation(node) in LIKENED and not contains(args[:1], Elements, Foreign)):
            return self._constant(node, *cast(Any, map_arg((node.args, node.kwargs), self._shape_of)))
        if not contains((args, kwargs), Elements, Foreign):
            return self._constant(node, args, kwargs)
        if not contains(fact, TensorFact):
            self._sized.add(node)
            return fact
        self._weaver.drafts.begin()
        self._weaver.tables.begin()
        try:
            result = self._read(node, args, {name: value for name, value in kwargs.items() if name != "out"})
        except (UncoveredError, NestgraphError, TypeError, RuntimeError) as reason:
            self._weaver.drafts.take_back()  # of a step that no kind covers to its end
            result = self._opaque(node, (str(reason).strip() or type(reason).__name__).splitlines()[0])
        else:
            self._note(node, result)
        for x in leaves(result, Elements):
            for said in node.meta.get(NOTES, ()):
                self._weaver.note(x, said)
        target = written_by(self._module, node)
        return written(self._values.get(target), result) if isinstance(target, fx.Node) else result

    def _constant(self, node: fx.Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What a node gives that no element goes into."""
        if operation(node) in SHAPED | LIKENED or any(near in self._sized for near in node.all_input_nodes):
            self._sized.add(node)
        with torch.no_grad():
            constant = called(self._module, node)(*args, **kwargs)
        self._parameters[node] = self._parameters_of(node) if isinstance(constant, Tensor) else frozenset()
        return trained(self._module, node, constant, args, kwargs)

    def _input(self, node: fx.Node) -> Elements | Mask:
        example = self._given[len(self._inputs)]
        shape = tuple(example.shape[1:])
        classes = None if example.is_floating_point() else classes_of(self._module, node)
        if classes is not None and len(shape) <= MAX_EXTENTS:
            return self._ids(shape, classes)
        if shape and not example.is_floating_point() and holds_a_mask(self._module, node):
            return Mask.of(self._map((1,) * (2 - len(shape)) + shape[-2:], shape, (0, 1)))
        axis = self._input_axis(node, shape)
        own = (math.prod(shape),) if axis is None else (shape[axis - 1], *shape[: axis - 1], *shape[axis:])
        if not math.prod(own):
            raise InteropError(f"import_module expected inputs with elements, got shape {shape} for {node.name!r}")
        layer = self._weaver.input(own[0], own[1:])
        whole = None if example.is_floating_point() else (int(example.min()), int(example.max()))
        other = shape if axis is None else None
        self._inputs.append(InputPort(layer=layer, axis=axis or 1, shape=other, integers=whole))
        elements = self._weaver.output(layer)
        if axis is None:
            return Elements(elements.index.view(-1, *shape), elements.regions)
        return elements.turned(1, axis)

    def _ids(self, shape: tuple[int, ...], classes: int) -> Elements:
        """An input of ids that an embedding reads, each at a place."""
        return self._map(shape, shape, (0, classes - 1), classes)

    def _map(
        self, size: tuple[int, ...], shape: tuple[int, ...], integers: tuple[int, int], classes: int | None = None
    ) -> Elements:
        """An input of one feature, which has a shape outside."""
        layer = self._weaver.input(1, size, classes)
        self._inputs.append(InputPort(layer=layer, shape=shape, integers=integers))
        elements = self._weaver.output(layer)
        return Elements(elements.index.view(-1, *shape), elements.regions)

    def _input_axis(self, node: fx.Node, shape: tuple[int, ...]) -> int | None:
        """The axis of an input at which its units stand; None where each number is a unit.

        Raises:
            InteropError: its readers do not agree.
        """
        place = len(self._inputs)
        if place < len(self._axes) and self._axes[place] is not None:
            return self._axes[place]
        said = self._units_axes(node, shape)
        if len(said) > 1:
            raise InteropError(
                f"import_module expected readers of input {node.name!r}, of shape (batch, {str(shape)[1:-1]}), that "
                f"agree at which axis its units stand, got readers along the axes {sorted(said)}: give axes="
            )
        return next(iter(said), None)

    def _units_axes(self, node: fx.Node, shape: tuple[int, ...]) -> frozenset[int]:
        """The axes at which units may stand in what a node gives: of single values and of images the first."""
        if len(shape) == 1:
            return frozenset((1,))
        said = units_axis(self._module, self._facts, node) if 1 < len(shape) <= 1 + MAX_EXTENTS else frozenset[int]()
        return frozenset((1,)) if len(shape) == 3 and (not said or 1 in said) else said

    def _read(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for foreign in leaves((args, kwargs), Foreign):
            foreign.check()
        if node.op == "call_module":
            return self._read_module(node, args, kwargs)
        name, function = operation(node), called(self._module, node)
        if contains((args, kwargs), Mask) and name != "scaled_dot_product_attention":
            return told(self._weaver, name, function, args, kwargs)
        if name in CASTS:
            return same_type(args[0], self._facts[node])
        if name in JOINS:
            return joined(self._weaver, name, function, args, kwargs)
        if name in MOVES:
            return moved(function, args, kwargs)
        if name not in FUNCTIONS:
            raise UncoveredError(f"{name} has no kind")
        if name in BROADCASTING and any(near in self._sized for near in node.all_input_nodes):
            args, kwargs = cast(Any, map_arg((node.args, node.kwargs), self._folded))
            kwargs = {name: value for name, value in kwargs.items() if name != "out"}
        args, kwargs = self._picking.read((args, kwargs))
        return FUNCTIONS[name](self._weaver, *args, **kwargs)

    def _shape_of(self, near: fx.Node) -> Any:
        """A constant, or a tensor of zeros in the place of what a node gave, which tells its shape and type."""
        value, fact = self._values[near], self._facts.get(near)
        made = isinstance(value, Elements | Foreign)
        return torch.zeros(fact.shape, dtype=fact.dtype) if made and isinstance(fact, TensorFact) else value

    def _folded(self, near: fx.Node) -> Any:
        """The value of a node; of what only the number of samples told, such as a mask, that of one where all agree."""
        value = self._values[near]
        if near not in self._sized or not isinstance(value, Tensor) or not value.ndim or len(value) != BATCH:
            return value
        if not torch.equal(value[:1].expand_as(value), value):
            return value
        return nn.Parameter(value[:1].detach(), value.requires_grad) if isinstance(value, nn.Parameter) else value[:1]

    def _read_module(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module, path = self._module.get_submodule(str(node.target)), path_of(node)
        if isinstance(module, MOVING_MODULES):
            return moved(module, args, kwargs)
        if (kind := type_before_parametrizations(module)) not in MODULES:
            raise UncoveredError(self._whole.get(path, f"{kind.__name__} has no kind"))
        args, kwargs = self._picking.read((args, kwargs))
        return read_call(module, self._weaver, args, kwargs)

    # -- what is otherwise than in the module --------------------------------------------------------------

    def _parameters_of(self, node: fx.Node) -> frozenset[int]:
        """The parameters, by identity, that a node reads: its module's and those that its constants are made from."""
        near = (self._parameters.get(source, frozenset[int]()) for source in node.all_input_nodes)
        own = self._module.get_submodule(str(node.target)).parameters() if node.op == "call_module" else ()
        return frozenset(map(id, own)).union(*near)

    def _note(self, node: fx.Node, result: Any) -> None:
        """Say of what a node gave what differs in training."""
        for x in leaves(result, Elements):
            self._note_sharing(node, x, () if self._weaver.tables.followed else self._parameters_of(node))
            if node.op == "call_module" and computes_weights(self._module.get_submodule(str(node.target))):
                self._weaver.note(x, COMPUTED)

    def _note_sharing(self, node: fx.Node, x: Elements, parameters: Iterable[int]) -> None:
        place = path_of(node) if PATH in node.meta else node.name
        owners = [self._owners.setdefault(parameter, node.name) for parameter in parameters]
        shared = sorted({owner for owner in owners if owner != node.name})
        if shared:
            named = next((path_of(near) for near in self._module.graph.nodes if near.name == shared[0]), shared[0])
            what = "which is called twice" if named == place else f"weights shared with {named}"
            self._weaver.note(x, f"{place}: {what}; they are copies here and train apart".replace(";", ","))

    # -- opaque layers -------------------------------------------------------------------------------

    def _opaque(self, node: fx.Node, reason: str) -> Any:
        """The result of a node as an opaque layer; `Foreign` where no layer can hold it."""
        fact = self._facts[node]
        floats = isinstance(fact, TensorFact) and fact.dtype == torch.float32
        if not floats or not fact.shape or fact.shape[0] != BATCH:
            return Foreign(regions_of([self._values.get(near) for near in node.all_input_nodes]), reason)
        known = self._sources | {near: x for near, x in self._values.items() if isinstance(x, Elements)}
        inputs, inner = excerpt(
            self._module, node, lambda near: near in known and self._weaver.ledger.apart(known[near])
        )
        tensors = [(known[near], self._facts[near].dtype) for near in inputs]
        said = self._units_axes(node, tuple(fact.shape[1:]))
        result = self._bodies.layer(inner, tensors, fact.shape[1:], reason, min(said, default=None))
        self._note_sharing(node, result, map(id, inner.parameters()))
        return result

    # -- outputs -------------------------------------------------------------------------------------

    def _end(self, value: Any, fact: Any, place: str) -> None:
        """Make what the module returns the outputs of the network."""
        if isinstance(value, Mapping):
            for key, inner in cast("Mapping[Any, Any]", value).items():
                self._end(inner, fact[key], f"{place} {key}")
        elif isinstance(value, (list, tuple)):
            for number, inner in enumerate(cast("list[Any]", value)):
                self._end(inner, fact[number], f"{place} {number}")
        elif isinstance(value, Elements):
            self._weaver.name, self._weaver.label = plain_text(place), ""
            self._outputs.append(self._output(value, plain_text(place)))
        elif value is not None:
            got = f"{fact.dtype} of shape {fact.shape}" if isinstance(fact, TensorFact) else type(fact).__name__
            raise InteropError(
                f"import_module expected outputs (batch, ...) of float32 that depend on the inputs, got {got} as "
                f"{place}: return the tensor before that step, and take the step outside of the network"
            )

    def _output(self, x: Elements, place: str) -> OutputPort:
        """The port of what the module returns at a place."""
        x = self._picking.tensor(x)
        layer, axis = self._output_layer(x)
        shape = tuple(x.shape[1:])
        self._weaver.drafts.mark_output(layer, place)
        draft = self._weaver.drafts.layers[layer]
        port = OutputPort(layer=layer, axis=axis, label="" if place in ("output", draft.record.label) else place)
        plain = outside(port, (draft.units, *draft.output_size)) == shape
        return port if plain else port.model_copy(update={"shape": shape})

    def _output_layer(self, x: Elements) -> tuple[str, int]:
        """The layer that a tensor is, or a new one, and the axis of the tensor along which its units stand."""
        ledger = self._weaver.ledger
        stood = ledger.arrangement(x)
        turned, axis = stood.inward(x), stood.port
        region = ledger.in_order(turned)
        if region is not None and turned.ndim == 2 + len(region.size) and not self._weaver.is_input(region.layer):
            return region.layer, axis
        if x.ndim not in (2, 4) and not (ledger.holds(turned) and ledger.whole_region(x) is None):
            whole = ledger.whole_region(x)
            flat = Elements(x.index.reshape(len(x.index), -1), x.regions)
            return self._output_layer(flat) if whole is None or self._weaver.is_input(whole.layer) else (whole.layer, 1)
        try:
            found = self._weaver.placed(turned)
        except UncoveredError as reason:
            shape, axis = tuple(x.shape[1:]), 1
            found = self._bodies.layer(nn.Identity(), [(x, torch.float32)], shape, str(reason), 1)
        return ledger.regions[max(found.regions)].layer, axis
