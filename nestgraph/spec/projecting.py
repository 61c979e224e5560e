"""What every record of a projection answers: where it leads, and what its connections mean and may become."""

from typing import Any, ClassVar

from pydantic import Field

from nestgraph.spec.extents import Size
from nestgraph.spec.record import Name, Record


def _default_name(data: dict[str, Any]) -> str:
    return f"{data.get('source', 'source')}_to_{data.get('target', 'target')}"[:64]


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
        """The record but for whether its weights train and whose they are: what its connections mean."""
        return self.untied.model_copy(update={"frozen": False}) if self.held else self.untied

    @property
    def untied(self) -> "Projection":
        """The record with weights of its own."""
        return self if self.follows is None else self.model_copy(update={"like": None})

    @property
    def follows(self) -> str | None:
        """The name of the lookup whose table it has, turned; None where its weights are its own."""
        return getattr(self, "like", None)

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
    def marks(self) -> tuple[str, ...]:
        """What is special of it, a word each: `frozen` where its weights do not train, `tied` where it follows."""
        return ("frozen",) * self.held + ("tied",) * (self.follows is not None)

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
        return self.weighted and not self.couples and not self.mixes

    @property
    def flops(self) -> int:
        """FLOPs of one application of a connection: a multiplication, and an addition where it has a weight."""
        return 2 if self.learns and not self.gates else 1

    @property
    def words(self) -> str:
        """Kind and kernel, such as `conv 3x3, stride 2`; `x` for a gate."""
        return ", ".join([self.kind.replace("_", " "), *self.marks])
