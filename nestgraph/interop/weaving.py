"""Turn what a module computes into layers and projections: linear maps, sums, products and operations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nestgraph.graph.columns import Grid, Links
from nestgraph.interop.drafts import Drafts, Size, spread, ungrouped
from nestgraph.interop.elements import SAMPLE, Arrangement, Elements, Ledger, Refs, in_turn, together
from nestgraph.interop.passing import Wire, read_through
from nestgraph.interop.sharing import Tables
from nestgraph.lowering.operations import UncoveredError
from nestgraph.lowering.tensors import as_array
from nestgraph.spec import Conv, Dense, OneToOne, Operation, Series, Upsampling
from nestgraph.spec.arrays import AnyArray, owned
from nestgraph.spec.extents import MAX_EXTENTS
from nestgraph.spec.windows import swept_size

Held = Callable[[int], bool]
MOST_OPERATIONS = 16


class Weaver:
    """Writes into drafts what each node of a module computes.

    Attributes:
        drafts: the layers and projections so far.
        ledger: where the elements of their outputs are.
        tables: what lookups read.
        held: whether a later node still reads a region as it is now; such a layer gains no operation.
        whole_units: whether a unit all of whose weights are pruned keeps them, as zeros.
        name, label: for the layers of the node at hand.
        half_frozen: whether some of the module's parameters train and some do not, which the network then records;
            a module of which none trains is one for inference, and says nothing.
        said: what to say of the inputs.
    """

    def __init__(
        self, batch: int, held: Held, whole_units: bool = False, half_frozen: bool = False, said: str = ""
    ) -> None:
        self.drafts, self.ledger, self.held, self.whole_units = Drafts(), Ledger(batch), held, whole_units
        self.tables = Tables(self.drafts)
        self.name = self.label = ""
        self.half_frozen, self._said = half_frozen, said

    # -- layers --------------------------------------------------------------------------------------

    def layer(self, units: int, size: Size, bias: AnyArray | None = None, **fields: Any) -> str:
        """A new layer for the node at hand."""
        return self.drafts.add(self.name, units, size, bias, **{"label": self.label} | fields)

    def input(self, features: int, size: Size, classes: int | None = None) -> str:
        """A new input layer, of which is said what there is to say of the inputs."""
        name = self.drafts.add(self.name, features, size, kind="input", features=features, classes=classes)
        if self._said:
            self.drafts.layers[name].note(self._said)
        return name

    def is_frozen(self, *parameters: Any) -> bool:
        """Whether what a layer or projection is made of does not train."""
        given = [p for p in parameters if isinstance(p, nn.Parameter)]
        return self.half_frozen and bool(given) and not any(p.requires_grad for p in given)

    def _frozen_bias(self, bias: Any) -> tuple[str, ...]:
        return ("bias",) if self.is_frozen(bias) else ()

    def is_input(self, layer: str) -> bool:
        """Whether a layer is an input."""
        return self.drafts.layers[layer].record.kind == "input"

    def settle(self, x: Elements) -> None:
        """Let the layers that a tensor is gain no more operations, as it is read again later in the same step."""
        for number in x.regions:
            self.drafts.layers[self.ledger.regions[number].layer].read = True

    def note(self, x: Elements, text: str) -> None:
        """Say of the layers that a tensor is of what is otherwise than in the module."""
        regions: list[int] = np.unique(self.ledger.found((x.index % SAMPLE).flatten().numpy())[0]).tolist()
        for layer in dict.fromkeys(self.ledger.regions[number].layer for number in regions):
            self.drafts.layers[layer].note(text)

    def output(self, layer: str) -> Elements:
        """The elements of a layer's output as it is now."""
        draft = self.drafts.layers[layer]
        return self.ledger.enter(layer, draft.units, draft.output_size)

    def linear(
        self, x: Elements, weight: Tensor, bias: Tensor | None, active: Tensor | None = None, frozen: bool = False
    ) -> Elements:
        """Neurons that each read any of the elements (batch, features) of `x`, by the weights that are active."""
        numbers = self.ledger.sample(x)
        if numbers.ndim != 1:
            return self._linear_at_places(x, weight, bias, active, frozen)
        if len(np.unique(numbers)) < len(numbers):
            raise UncoveredError("a linear map reads an element twice")
        regions, places = self.ledger.found(numbers)
        matrix, kept = as_array(weight), self._active(weight, active)
        name = self.layer(len(matrix), (), _optional(bias), frozen=self._frozen_bias(bias))
        for number in in_turn(regions):
            region, chosen = self.ledger.regions[number], regions == number
            of, width = (np.flatnonzero(chosen), places[chosen]), region.units * region.area
            shape = (len(matrix), region.units, *region.size)
            columns, mask = (spread(entries, *of, width).reshape(shape) for entries in (matrix, kept))
            joined = Grid.of(columns, mask)
            record = Dense(source=region.layer, target=name, frozen=frozen or self.is_frozen(weight))
            self.drafts.join(record, joined)
        if active is None:
            self.tables.follow(name, weight)
        return self.output(name)

    def _linear_at_places(
        self, x: Elements, weight: Tensor, bias: Tensor | None, active: Tensor | None, frozen: bool
    ) -> Elements:
        """Maps that read units, which stand along the last axis, place by place: a convolution by kernels of one."""
        stood = self.ledger.arrangement(x, axes=(x.ndim - 1,))
        axes = len(stood.size)
        kernel = (*weight.shape, *[1] * axes)
        sweep = {"stride": (1,) * axes, "padding": (0,) * axes, "dilation": (1,) * axes}
        kept, holds = None if active is None else active.reshape(kernel), frozen or self.is_frozen(weight)
        return stood.outward(self.convolution(stood.inward(x), weight.reshape(kernel), bias, sweep, 1, kept, holds))

    def _active(self, weight: Tensor, active: Tensor | None) -> AnyArray:
        """Which weights are connections; with `whole_units`, all of a unit that would have none, as zeros."""
        if active is None:
            return owned(np.ones(tuple(weight.shape), bool))
        mask = active.detach().cpu().numpy() != 0
        if self.whole_units:
            mask = mask | ~mask.any(axis=tuple(range(1, mask.ndim)), keepdims=True)
        return mask

    def convolution(
        self,
        x: Elements,
        weight: Tensor,
        bias: Tensor | None,
        sweep: Mapping[str, Any],
        groups: int,
        active: Tensor | None = None,
        frozen: bool = False,
    ) -> Elements:
        """Maps that read the maps of `x` through kernels (out, in / groups, *kernel), as far as active.

        The kernels sweep as the fields of a `Swept` of these names say.
        """
        if x.ndim != weight.ndim or weight.ndim > 2 + MAX_EXTENTS:
            raise UncoveredError("a convolution over something else than (batch, maps, and an axis for each extent)")
        out, kernel, frozen = len(weight), tuple(weight.shape[2:]), frozen or self.is_frozen(weight)
        refs = self.ledger.refs(x)
        single = any(self.ledger.regions[number].size == () for number in refs.known)
        around = (*sweep["padding"], *sweep.get("output_padding", ()))
        if single and groups == 1 and {*kernel} == {1} and not any(around):
            return self._pointwise_convolution(x, weight, bias, active, frozen)
        if single or not refs.distinct or (1 < groups < len(refs.units) and self.ledger.in_order(x) is None):
            x = self.placed(x)
            refs = self.ledger.refs(x)
        size = swept_size(tuple(x.shape[2:]), kernel, **sweep)
        name = self.layer(out, size, _optional(bias), frozen=self._frozen_bias(bias))
        record = {"target": name, "kernel": kernel, "frozen": frozen, **sweep}
        kept = self._active(weight, active)
        if groups == len(refs.units) and groups > 1:
            self._depthwise(refs, as_array(weight)[:, 0], kept[:, 0], record)
        else:
            self._mixing(refs, as_array(weight), kept, groups, record)
            if active is None:
                self.tables.follow(name, weight)
        return self.output(name)

    def _mixing(self, refs: Refs, weight: AnyArray, active: AnyArray, groups: int, record: Mapping[str, Any]) -> None:
        full, reads = ungrouped(weight, groups), ungrouped(active, groups)
        for number in refs.known:
            region = self.ledger.regions[number]
            columns, mask = (spread(entries, *refs.of(number), region.units) for entries in (full, reads))
            self.drafts.join(Conv(source=region.layer, **record), Grid.of(columns, mask))

    def _depthwise(self, refs: Refs, kernels: AnyArray, active: AnyArray, record: Mapping[str, Any]) -> None:
        each = len(kernels) // len(refs.units)
        for number in refs.known:
            channels, units = refs.of(number)
            targets = (channels[:, None] * each + np.arange(each)).reshape(-1)
            links = np.stack([np.repeat(units, each), targets], 1)
            projection = OneToOne(source=self.ledger.regions[number].layer, trained=True, **record)
            self.drafts.join(projection, Links.of(kernels[targets], active[targets], links=links))

    def _pointwise_convolution(
        self, x: Elements, weight: Tensor, bias: Tensor | None, active: Tensor | None, frozen: bool
    ) -> Elements:
        """Over neurons that stand as maps of one place, by kernels of one."""
        flat = Elements(x.index.flatten(1), x.regions)
        kept = None if active is None else active.flatten(1)
        found = self.linear(flat, weight.flatten(1), bias, kept, frozen)
        return Elements(found.index.reshape(*found.shape, *[1] * (weight.ndim - 2)), found.regions)

    # -- one to one ----------------------------------------------------------------------------------

    def placed(
        self,
        x: Elements,
        scale: AnyArray | float = 1,
        bias: AnyArray | None = None,
        trained: bool = False,
        frozen: bool = False,
        stood: Arrangement | None = None,
    ) -> Elements:
        """The units of `x` as a layer of its own, scaled and shifted.

        They stand along the first axis behind the samples, or are arranged as is said. They are scaled by one value,
        and scaled or shifted by (channels,), or by (channels, *size), values of places.
        """
        stood = stood or Arrangement.of(x, 1)
        x = stood.inward(x)
        places, bias = (bias, None) if bias is not None and bias.ndim > 1 else (None, bias)
        name = self._sum([x], bias, ("bias",) if frozen and bias is not None else ())
        if places is not None:
            self.drafts.give_places(name, places, frozen)
        self._link(x, name, scale, trained, frozen=frozen and trained)
        return stood.outward(self.output(name))

    def sum(
        self, terms: Sequence[Elements], scales: Sequence[AnyArray | float], trained: Sequence[bool] | None = None
    ) -> Elements:
        """The sum of tensors of the same units and size, each scaled by one value or (channels,), trained or not.

        What has one unit, or one place along an axis, is added to all. Units that are scaled each stand along the
        first axis behind the samples, others along any.
        """
        alike = all(np.ndim(scale) == 0 for scale in scales)
        axes = () if alike else (1,)
        stood = self.ledger.arrangement(*terms, axes=axes, split=alike)
        if not all(self.ledger.holds(stood.inward(term)) for term in terms):  # maps in a row, beside a series
            terms = [self._lined_up(term) for term in terms]
            stood = self.ledger.arrangement(*terms, axes=axes, split=alike)
        terms = self._spread([stood.inward(term) for term in terms])
        name = self._sum(terms)
        for term, scale, learns in zip(terms, scales, trained or [False] * len(terms), strict=True):
            self._link(term, name, scale, learns)
        return stood.outward(self.output(name))

    def _lined_up(self, x: Elements) -> Elements:
        """A tensor that has the places of maps in a row, as a series of them; any other as it is."""
        stood = self.ledger.arrangement(x)
        if stood.size == stood.places or len(stood.places) != 1:
            return x
        row = self.operated(stood.inward(x), Series())
        return Arrangement(stood.axes, stood.places, stood.places).outward(row)

    def product(self, values: Elements, factors: Elements) -> Elements:
        """Each unit of `values` times its factor: a map, or one value that goes for the whole map."""
        stood = self.ledger.arrangement(values, factors, split=True)
        values, factors = stood.inward(values), stood.inward(factors)
        shape = values.shape
        if factors.ndim == len(shape) and factors.shape[1] == 1:  # one for all units
            factors = Elements(factors.index.expand(-1, shape[1], *factors.shape[2:]), factors.regions)
        if factors.shape not in (shape, (*shape[:2], *[1] * (len(shape) - 2))):
            raise UncoveredError("a product of tensors whose units do not pair up")
        name = self._sum([values])
        self._link(values, name)
        self._link(factors, name, gate=True)
        return stood.outward(self.output(name))

    def _spread(self, terms: Sequence[Elements]) -> Sequence[Elements]:
        """Terms of the shape that all have together."""
        shape = together(*(term.shape for term in terms))
        return [term if term.shape == shape else self._spread_out(term, shape[1:]) for term in terms]

    def _spread_out(self, x: Elements, shape: tuple[int, ...]) -> Elements:
        """(batch, units, *size) of one unit, or one place along some axes, for all that a shape has."""
        x = Elements(x.index.expand(-1, shape[0], *x.shape[2:]), x.regions)
        if self.shape(x) == shape:
            return x
        return self.operated(self.placed(x), Upsampling(mode="nearest", size=shape[1:]))

    def _sum(self, terms: Sequence[Elements], bias: AnyArray | None = None, frozen: Sequence[str] = ()) -> str:
        for term in terms:
            self.ledger.refs(term)
        units, *size = self.shape(terms[0])
        return self.layer(units, tuple(size), bias, frozen=tuple(frozen))

    def _link(
        self,
        x: Elements,
        target: str,
        scale: AnyArray | float = 1,
        trained: bool = False,
        gate: bool = False,
        frozen: bool = False,
    ) -> None:
        refs, by_place = self.ledger.refs(x), np.ndim(scale) > 1
        weights = np.asarray(scale) if by_place else np.broadcast_to(scale, len(refs.units))
        fields: dict[str, Any] = {
            "target": target,
            "trained": trained,
            "gate": gate,
            "frozen": frozen,
            "placed": by_place,
        }
        wires: list[Wire] = []
        for number in refs.known:
            channels, units = refs.of(number)
            columns = Links.of(weights[channels], links=np.stack([units, channels], 1))
            wires.append((OneToOne(source=self.ledger.regions[number].layer, **fields), columns))
        for wire in read_through(self.drafts, self.ledger, wires, self.held):
            self.drafts.join(*wire)

    # -- operations ----------------------------------------------------------------------------------

    def operated(
        self,
        x: Elements,
        operation: Operation,
        columns: Mapping[str, AnyArray] | None = None,
        frozen: Sequence[str] = (),
    ) -> Elements:
        """`x` after an operation that works on each of its units, with the columns that it brings.

        They are (channels,), or (channels, values) where a unit has several, or one value for all. It joins the chain
        of the layer that `x` is, where nothing else reads it as it was before; else of a new one.
        """
        region = self.ledger.in_order(x)
        if region is None or not self._may_gain(x, region.layer, operation):
            x = self.placed(x)
            region = self.ledger.regions[-1]
        brought = (columns or {}).items()
        shapes = {name: (region.units, *np.shape(values)[1:]) for name, values in brought}
        given = {name: np.broadcast_to(values, shapes[name]).copy() for name, values in brought}
        self.drafts.append(region.layer, operation, given, frozen)
        grown = self.output(region.layer)
        single = x.shape[2:].numel() == grown.shape[2:].numel() == 1
        if single and grown.ndim != x.ndim:  # single values keep the axes that they came with
            return Elements(grown.index.view(*grown.shape[:2], *[1] * (x.ndim - 2)), grown.regions)
        return grown

    def pointwise(
        self,
        x: Elements,
        operation: Operation,
        columns: Mapping[str, AnyArray] | None = None,
        frozen: Sequence[str] = (),
    ) -> Elements:
        """`x` after an operation on each element, however they are arranged, with columns of one value for all."""
        try:
            self.ledger.refs(x)
        except UncoveredError:
            return self._rearranged(x, operation, columns, frozen)
        return self.operated(x, operation, columns, frozen)

    def _rearranged(self, x: Elements, operation: Operation, *brought: Any) -> Elements:
        whole = self.ledger.whole_region(x) if x.shape.numel() else None
        if whole is not None:
            grown = self.operated(self.ledger.whole(self.ledger.regions.index(whole)), operation, *brought)
            return Elements(grown.index.view(x.shape), grown.regions)
        regions, places = self.ledger.found(self.ledger.sample(x))
        moved, grown = np.zeros(regions.shape, np.int64), set[int]()
        for number in np.unique(regions).tolist():
            self.operated(self.ledger.whole(number), operation, *brought)
            grown.add(len(self.ledger.regions) - 1)
            moved[regions == number] = self.ledger.regions[-1].start + places[regions == number]
        return self.ledger.batched(torch.from_numpy(moved), grown)

    def size(self, x: Elements) -> Size:
        """The extents of maps.

        Raises:
            UncoveredError: `x` is no (batch, maps, *size).
        """
        if not 3 <= x.ndim <= 2 + MAX_EXTENTS:
            raise UncoveredError("a spatial operation over something else than (batch, maps, and one to three axes)")
        return tuple(x.shape[2:])

    def inward(self, x: Elements) -> tuple[Elements, Callable[[Elements], Elements]]:
        """`x`, whose units stand along its last axis, as (batch, units, *size), and what turns such a tensor back.

        Units may stand along another axis as well, before the last one, as heads do.
        """
        stood = self.ledger.arrangement(x, axes=(x.ndim - 1,), split=True)
        return stood.inward(x), stood.outward

    def shape(self, x: Elements) -> tuple[int, ...]:
        """The axes of `x` but that of samples: (units, *size)."""
        return tuple(x.shape[1:])

    def of_units(self, x: Elements) -> bool:
        """Whether each channel of maps `x` is a unit of a layer."""
        try:
            self.ledger.refs(x)
        except UncoveredError:
            return False
        return 3 <= x.ndim <= 2 + MAX_EXTENTS

    def _may_gain(self, x: Elements, layer: str, operation: Operation) -> bool:
        draft = self.drafts.layers[layer]
        repeated = any(column in draft.record.columns for column in operation.columns)
        settled = draft.read or draft.record.kind == "input" or len(draft.record.operations) >= MOST_OPERATIONS
        return not (repeated or settled or any(map(self.held, x.regions)))


def _optional(tensor: Tensor | None) -> AnyArray | None:
    return None if tensor is None else as_array(tensor)
