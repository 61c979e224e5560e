"""What came of the actions of a run, as its journal holds it: the fold of `loop/decide.py` over it is where a run is.

They are here and not in `loop`, since a line of a journal is read where no loop is known.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, Strict

from nestgraph.spec.metrics import Scores
from nestgraph.spec.record import Record, Text, absent


class Proposed(Record):
    """How many edits there are to try, which are applied, and what they do in words."""

    kind: Literal["proposed"] = "proposed"
    edits: NonNegativeInt
    title: Text


class Trained(Record):
    """The network after training: loss and metrics on the validation split, and its size.

    `share` is what it takes of the budget of its recipe, where that has one.
    """

    kind: Literal["trained"] = "trained"
    loss: float
    scores: Scores
    connections: NonNegativeInt
    share: Annotated[float, Field(ge=0)] | None = Field(default=None, exclude_if=absent)


class Broke(Record):
    """Training broke down: a number that is not finite, or a loss beyond the limit."""

    kind: Literal["broke"] = "broke"


class Over(Record):
    """The time of the run is over, where a step is to be chosen."""

    kind: Literal["over"] = "over"


class Damaged(Record):
    """The loss on a few training batches right after what each policy alone would do."""

    kind: Literal["damaged"] = "damaged"
    losses: Annotated[tuple[float, ...], Field(max_length=1024), Strict(False)]


Outcome = Annotated[Proposed | Trained | Broke | Damaged | Over, Field(discriminator="kind")]
"""Any outcome, told apart by its `kind`."""
