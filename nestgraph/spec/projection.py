"""The records of projections: how the units of one layer feed the units of another."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, Strict, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import MAX_EXTENTS, Extents, Size, along_all, in_words
from nestgraph.spec.projecting import Projection
from nestgraph.spec.record import Extent, Name, absent
from nestgraph.spec.registered import ByKind, Registered
from nestgraph.spec.windows import spread_windows, swept_size, windows_of


def _each(extent: int) -> Callable[[dict[str, Any]], tuple[int, ...]]:
    """What makes a default for each axis of a record's kernel, two where it has none."""
    return lambda data: along_all(extent, data.get("kernel") or (1, 1))


Frozen = Annotated[bool, Field(exclude_if=operator.not_)]
Like = Annotated[Name | None, Field(exclude_if=absent)]
More = Annotated[
    tuple[Extent, ...],
    Field(max_length=MAX_EXTENTS, exclude_if=operator.not_),
    Strict(False),
    AfterValidator(lambda extents: extents if any(extents) else ()),
]
"""Places for each axis; none where they are 0 along all."""


class Dense(Projection):
    """Any unit to any neuron. Weights are (out, in) from neurons, (out, maps, *size) from maps.

    Attributes:
        frozen: as of `Conv`.
        like: the name of a lookup whose table it has, turned: each unit that it leads to weighs what a class stands
            for. Both are one parameter (Press and Wolf 2017, arXiv:1608.05859); None where its weights are its own.
    """

    kind: Literal["dense"] = "dense"  # pyright: ignore[reportIncompatibleVariableOverride]
    frozen: Frozen = False
    like: Like = None


class Swept(Projection):
    """What a kernel reads that sweeps over maps; it has as many extents as they have.

    Attributes:
        kernel: its extents; None where a connection reads one number.
        stride: the places from one position of the kernel to the next: 1 unless they are given.
        padding: the places of 0 around what is read: 0 unless they are given.
        dilation: the places from one entry of the kernel to the next: 1 unless they are given.
        transposed: whether reading is the other way round (Zeiler et al. 2010): each place that is read gives a kernel
            of places, which starts `stride` places behind that of the place before; what overlaps adds up, and
            `padding` places are cut off all around.
        output_padding: how many places more a transposed sweep gives at the end of each axis; none where it is empty.
    """

    kernel: Size | None = None
    stride: Size = Field(default_factory=_each(1))
    padding: Extents = Field(default_factory=_each(0))
    dilation: Size = Field(default_factory=_each(1))
    transposed: Annotated[bool, Field(exclude_if=operator.not_)] = False  # left out of older records: digests stay
    output_padding: More = ()

    @property
    def window(self) -> Size | None:
        """See `Projection.window`."""
        return self.kernel

    @property
    def marks(self) -> tuple[str, ...]:
        """See `Projection.marks`."""
        return (*["transposed"] * self.transposed, *super().marks)

    def swept_size(self, size: Size) -> Size:
        """The size of what the kernel gives of maps of a size; its extents may be below 1.

        Raises:
            StructureError: the kernel has more or fewer extents than the maps.
        """
        sweep = (self.window or (), self.stride, self.padding, self.dilation)
        return swept_size(size, *sweep, self.transposed, self.output_padding)

    def windows(self, x: AnyArray) -> AnyArray:
        """(batch, maps, *positions, *kernel): what each entry of the kernel multiplies for each place that it gives."""
        sweep = (self.window or (), self.stride, self.padding, self.dilation)
        if not self.transposed:
            return windows_of(x, *sweep)
        return spread_windows(x, *sweep, self.output_padding or along_all(0, self.stride))

    def _swept(self, kind: str) -> str:
        """A kind with kernel and stride in words."""
        if self.kernel is None:
            return kind
        step = str(self.stride[0]) if len(set(self.stride)) == 1 else in_words(self.stride)
        words = f"{'transposed ' * self.transposed}{kind} {in_words(self.kernel)}"
        return words + ("" if set(self.stride) == {1} else f", stride {step}")

    @model_validator(mode="after")
    def _check_axes(self) -> Self:
        if self.kernel is None:
            if self.transposed:
                raise ValueError("expected a kernel where a sweep is transposed, got none")
            return self
        for name in ("stride", "padding", "dilation"):
            given: tuple[int, ...] = getattr(self, name)
            if len(given) != len(self.kernel):
                raise ValueError(f"expected a {name} with an extent for each of the kernel {self.kernel}, got {given}")
        steps = [max(step) for step in zip(self.stride, self.dilation, strict=True)]
        more = self.output_padding
        if more and not (self.transposed and len(more) == len(steps) and all(map(operator.lt, more, steps))):
            raise ValueError(
                f"expected an output_padding of a transposed kernel alone, along each axis less than the stride or the "
                f"dilation ({in_words(tuple(steps))}), got {more}"
            )
        return self


class Conv(Swept):
    """Maps to maps by a kernel: weights (out, in, *kernel), where a kernel has as many extents as the maps.

    A grouped convolution is one whose mask is block diagonal: groups need no field, and survive edits.

    Attributes:
        frozen: whether the weights are a parameter that does not train (`requires_grad` is off). It changes no value.
        like: as of `Dense`; of kernels of one place.
    """

    kind: Literal["conv"] = "conv"  # pyright: ignore[reportIncompatibleVariableOverride]
    kernel: Size  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    frozen: Frozen = False
    like: Like = None

    areas: ClassVar[bool] = True
    grouped: ClassVar[bool] = True

    @property
    def words(self) -> str:
        """See `Projection.words`."""
        return ", ".join([self._swept("conv"), *super(Swept, self).marks])


class Lookup(Projection):
    """Ids of classes to units, each of which has a value for each class: an embedding.

    Weights are (out, 1, classes), so a dormant one is a class that a unit knows nothing of. Maps of ids lead to maps,
    single ids to neurons.

    Attributes:
        frozen: as of `Conv`.
    """

    kind: Literal["lookup"] = "lookup"  # pyright: ignore[reportIncompatibleVariableOverride]
    frozen: Frozen = False

    names_classes: ClassVar[bool] = True


class OneToOne(Swept):
    """Each linked target unit reads one source unit: skips, concatenations, depthwise kernels, gates.

    Weights are (links,), or (links, *kernel) where a kernel is given (depthwise), or (links, *size) where each place of
    a map has its own. Without a kernel, maps of one place lead to neurons and neurons to such maps, too.

    Rotary positions (Su et al. 2021, arXiv:2104.09864) are two of these: a unit reads its own by the cosine of each
    place and the other one of its pair by the sine, so the links tie the two.

    Attributes:
        trained: False keeps the weights fixed, as an identity skip has them.
        frozen: as of `Conv`; says nothing of weights that are fixed.
        placed: whether a link has a weight for each place of the maps that it joins, which are of one size.
        gate: whether the links multiply the sum and bias of their targets rather than add to the sum: u = (sum + bias)
            * product of weight * source over the gates. A unit without a link is not gated. Neurons and maps of one
            place gate maps of any size. All links of a gate are active, as dormant ones would be links of weight 0.
    """

    kind: Literal["one_to_one"] = "one_to_one"  # pyright: ignore[reportIncompatibleVariableOverride]
    trained: bool = False
    frozen: Frozen = False
    placed: Annotated[bool, Field(exclude_if=operator.not_)] = False  # left out of older records, so digests stay
    gate: Annotated[bool, Field(exclude_if=operator.not_)] = False

    couples: ClassVar[bool] = True

    @property
    def learns(self) -> bool:
        """See `Projection.learns`."""
        return self.trained

    @property
    def gates(self) -> bool:
        """See `Projection.gates`."""
        return self.gate

    @property
    def flops(self) -> int:
        """See `Projection.flops`."""
        return 2 if self.placed else super().flops

    @property
    def words(self) -> str:
        """See `Projection.words`."""
        if self.gate:
            return "x"
        state = ["by place"] if self.placed else []
        state += ["fixed"] if not self.trained else ["frozen"] if self.frozen else []
        return ", ".join([self._swept("one to one"), *state])

    @model_validator(mode="after")
    def _check_gate(self) -> Self:
        if self.gate and self.kernel is not None:
            raise ValueError(f"expected a gate without a kernel, got {self.kernel}: gate by a layer of what it gives")
        if self.placed and (self.gate or self.kernel is not None):
            got = "a gate" if self.gate else f"a kernel {self.kernel}"
            raise ValueError(f"expected weights by place of links that add and have no kernel, got {got}")
        return self


class Argument(Projection):
    """The body of an opaque layer reads all of another layer, as its argument number `place`, from 0 up.

    It has no connections: its weights and mask have shape (0,). Each unit of the source is joined to each of the
    target.
    """

    kind: Literal["argument"] = "argument"  # pyright: ignore[reportIncompatibleVariableOverride]
    place: Extent

    weighted: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """See `Projection.words`."""
        return f"argument {self.place}"


class Match(Projection):
    """One side of how alike two layers are: heads of attention (Vaswani et al. 2017) compare queries with keys.

    The target is a layer of heads, maps of (rows, columns). A link leads from a unit to a *slot* of a head, and u of a
    head is the sum over its slots of weight * query[row] * weight' * key[column]: of what both sides bring there. What
    stands at a slot on one side alone brings nothing. The places of a source of any size are the rows, or the columns.

    Weights are (links,) and fixed: the scale is that of the query links, and so stays when a head gets another width.
    A unit may lead to several heads, as a key does where queries are grouped (Ainslie et al. 2023).

    Attributes:
        side: `query` or `key`.
    """

    kind: Literal["match"] = "match"  # pyright: ignore[reportIncompatibleVariableOverride]
    side: Literal["query", "key"]

    matches: ClassVar[bool] = True

    @property
    def learns(self) -> bool:
        """See `Projection.learns`."""
        return False

    @property
    def flops(self) -> int:
        """See `Projection.flops`."""
        return 2

    @property
    def scales(self) -> bool:
        """See `Projection.scales`: that of queries, as a product has one scale."""
        return self.side == "query"

    @property
    def words(self) -> str:
        """See `Projection.words`."""
        return self.side


class Mix(Projection):
    """Heads of attention mix the places of what a layer sums up: u[unit] = head @ (sum + bias)[unit].

    The source is a layer of heads, maps of (rows, columns); the sum has a place for each column and u one for each row.
    Each unit of the target is linked to one head. Weights are (links,) and fixed.
    """

    kind: Literal["mix"] = "mix"  # pyright: ignore[reportIncompatibleVariableOverride]

    mixes: ClassVar[bool] = True

    @property
    def learns(self) -> bool:
        """See `Projection.learns`."""
        return False

    @property
    def gates(self) -> bool:
        """See `Projection.gates`."""
        return True

    @property
    def flops(self) -> int:
        """See `Projection.flops`."""
        return 2


PROJECTIONS: Registered[Projection] = Registered(
    "projection", Annotated[Dense | Conv | Lookup | OneToOne | Argument | Match | Mix, Field(discriminator="kind")]
)
"""All kinds of projections: those of this package, and those that others register by `graph.projections.register`."""
AnyProjection = Annotated[Projection, ByKind(PROJECTIONS)]
"""Any projection, told apart by its `kind`."""
