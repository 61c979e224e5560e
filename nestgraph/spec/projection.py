"""The records of projections: how the units of one layer feed the units of another."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nestgraph.spec.extents import Extents, Size, along_all, in_words
from nestgraph.spec.record import Extent, Name, Record
from nestgraph.spec.registered import ByKind, Registered


def _default_name(data: dict[str, Any]) -> str:
    return f"{data.get('source', 'source')}_to_{data.get('target', 'target')}"[:64]


def _each(extent: int) -> Callable[[dict[str, Any]], tuple[int, ...]]:
    """What makes a default for each axis of a record's kernel, two where it has none."""
    return lambda data: along_all(extent, data.get("kernel") or (1, 1))


Frozen = Annotated[bool, Field(exclude_if=operator.not_)]


class Projection(Record):
    """How the units of one layer feed those of another.

    Attributes:
        source: the layer that is read.
        target: the layer that reads.
        name: of the projection.
        kind: the tag of the record.
        weighted: whether it has connections, which add to the sum of its target or multiply it.
        couples: whether it joins units one to one, so that they come and go together.
        areas: whether it can be computed at some positions of a map only.
        grouped: whether blocks of its mask are groups, of which all keep as many units.
        names_classes: whether it reads ids of classes rather than numbers.
        matches: whether what it brings to its target is multiplied by what another one of the kind brings.
        mixes: whether, as a gate, it adds up the places of what it multiplies.
    """

    source: Name
    target: Name
    name: Name = Field(default_factory=_default_name, validate_default=True)
    kind: str

    weighted: ClassVar[bool] = True
    couples: ClassVar[bool] = False
    areas: ClassVar[bool] = False
    grouped: ClassVar[bool] = False
    names_classes: ClassVar[bool] = False
    matches: ClassVar[bool] = False
    mixes: ClassVar[bool] = False

    @property
    def ends(self) -> tuple[str, str]:
        """The layers at its ends: its target and its source."""
        return self.target, self.source

    @property
    def joint(self) -> "Projection":
        """The record but for whether its weights train: what its connections mean."""
        return self.model_copy(update={"frozen": False}) if self.held else self

    @property
    def window(self) -> Size | None:
        """The extents of the kernel that sweeps over maps; None where a connection reads one place of its own."""
        return None

    @property
    def learns(self) -> bool:
        """Whether training changes its weights."""
        return True

    @property
    def held(self) -> bool:
        """Whether its weights are a parameter that does not train."""
        return bool(getattr(self, "frozen", False))

    @property
    def gates(self) -> bool:
        """Whether it multiplies what it leads to, rather than adds to it."""
        return False

    @property
    def adds(self) -> bool:
        """Whether it adds to the sum of what it leads to."""
        return self.weighted and not self.gates and not self.matches

    @property
    def listed(self) -> bool:
        """Whether the pairs of units that it joins are listed, rather than all that its layers have."""
        return self.couples or self.matches or self.mixes

    @property
    def scales(self) -> bool:
        """Whether a share of what a unit brings to its target is a share of its weights."""
        return self.weighted and not self.couples

    @property
    def flops(self) -> int:
        """FLOPs of one application of a connection: a multiplication, and an addition where it has a weight."""
        return 2 if self.learns and not self.gates else 1

    @property
    def words(self) -> str:
        """Kind and kernel, such as `conv 3x3, stride 2`; `x` for a gate."""
        return ", ".join([self.kind.replace("_", " "), *(["frozen"] if self.held else [])])


class Dense(Projection):
    """Any unit to any neuron. Weights are (out, in) from neurons, (out, maps, *size) from maps.

    Attributes:
        frozen: as of `Conv`.
    """

    kind: Literal["dense"] = "dense"  # pyright: ignore[reportIncompatibleVariableOverride]
    frozen: Frozen = False


class Conv(Projection):
    """Maps to maps by a kernel: weights (out, in, *kernel), where a kernel has as many extents as the maps.

    Stride, padding and dilation have an extent for each of the kernel's: 1, 0 and 1 unless they are given.

    A grouped convolution is one whose mask is block diagonal: groups need no field, and survive edits.

    Attributes:
        frozen: whether the weights are a parameter that does not train (`requires_grad` is off). It changes no value.
    """

    kind: Literal["conv"] = "conv"  # pyright: ignore[reportIncompatibleVariableOverride]
    kernel: Size
    stride: Size = Field(default_factory=_each(1))
    padding: Extents = Field(default_factory=_each(0))
    dilation: Size = Field(default_factory=_each(1))
    frozen: Frozen = False

    areas: ClassVar[bool] = True
    grouped: ClassVar[bool] = True

    @property
    def window(self) -> Size:
        """See `Projection.window`."""
        return self.kernel

    @model_validator(mode="after")
    def _check_sweep(self) -> Self:
        _check_axes(self)
        return self

    @property
    def words(self) -> str:
        """See `Projection.words`."""
        return ", ".join([_swept("conv", self.kernel, self.stride), *(["frozen"] if self.held else [])])


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


class OneToOne(Projection):
    """Each linked target unit reads one source unit: skips, concatenations, depthwise kernels, gates.

    Weights are (links,), or (links, *kernel) where a kernel is given (depthwise). Without a kernel, maps of one place
    lead to neurons and neurons to such maps, too.

    Attributes:
        trained: False keeps the weights fixed, as an identity skip has them.
        frozen: as of `Conv`; says nothing of weights that are fixed.
        gate: whether the links multiply the sum and bias of their targets rather than add to the sum: u = (sum + bias)
            * product of weight * source over the gates. A unit without a link is not gated. Neurons and maps of one
            place gate maps of any size. All links of a gate are active, as dormant ones would be links of weight 0.
    """

    kind: Literal["one_to_one"] = "one_to_one"  # pyright: ignore[reportIncompatibleVariableOverride]
    kernel: Size | None = None
    stride: Size = Field(default_factory=_each(1))
    padding: Extents = Field(default_factory=_each(0))
    dilation: Size = Field(default_factory=_each(1))
    trained: bool = False
    frozen: Frozen = False
    gate: Annotated[bool, Field(exclude_if=operator.not_)] = False  # left out of older records, so digests stay

    couples: ClassVar[bool] = True

    @property
    def window(self) -> Size | None:
        """See `Projection.window`."""
        return self.kernel

    @property
    def learns(self) -> bool:
        """See `Projection.learns`."""
        return self.trained

    @property
    def gates(self) -> bool:
        """See `Projection.gates`."""
        return self.gate

    @property
    def words(self) -> str:
        """See `Projection.words`."""
        if self.gate:
            return "x"
        state = ["fixed"] if not self.trained else ["frozen"] if self.frozen else []
        return ", ".join([_swept("one to one", self.kernel, self.stride), *state])

    @model_validator(mode="after")
    def _check_sweep(self) -> Self:
        _check_axes(self)
        if self.gate and self.kernel is not None:
            raise ValueError(f"expected a gate without a kernel, got {self.kernel}: gate by a layer of what it gives")
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


def _check_axes(record: Conv | OneToOne) -> None:
    """A kernel moves along each of its axes.

    Raises:
        ValueError: a stride, a padding or a dilation has more or fewer extents.
    """
    if record.kernel is None:
        return
    for name in ("stride", "padding", "dilation"):
        given: tuple[int, ...] = getattr(record, name)
        if len(given) != len(record.kernel):
            raise ValueError(f"expected a {name} with an extent for each of the kernel {record.kernel}, got {given}")


def _swept(kind: str, kernel: Size | None, stride: Size) -> str:
    """A kind with its kernel and stride in words."""
    if kernel is None:
        return kind
    step = str(stride[0]) if len(set(stride)) == 1 else in_words(stride)
    return f"{kind} {in_words(kernel)}" + ("" if set(stride) == {1} else f", stride {step}")


PROJECTIONS: Registered[Projection] = Registered(
    "projection", Annotated[Dense | Conv | Lookup | OneToOne | Argument | Match | Mix, Field(discriminator="kind")]
)
"""All kinds of projections: those of this package, and those that others register by `graph.projections.register`."""
AnyProjection = Annotated[Projection, ByKind(PROJECTIONS)]
"""Any projection, told apart by its `kind`."""
