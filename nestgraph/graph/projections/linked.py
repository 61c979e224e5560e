"""What is common to projections whose pairs are listed: a weight for each link, between units that live."""

from collections.abc import Iterator
from typing import TypeVar

from nestgraph.graph.columns import Links
from nestgraph.graph.projections.meaning import Meaning, P

L = TypeVar("L", bound=Links)


class Linked(Meaning[P, L]):
    """A projection of links."""

    @property
    def inner(self) -> tuple[int, ...]:
        """See `Meaning.inner`: one number, where there is no kernel."""
        return self.record.window or ()

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Meaning.shape`."""
        return (len(self.columns.links), *self.inner)

    def dead(self) -> Iterator[tuple[str, str | tuple[str, int], str]]:
        """Units that are linked but do not live, as faults, one for each end."""
        for end, layer in ((1, self.record.source), (0, self.record.target)):
            ids = self.columns.ids(end)
            dead = ids[self.ends[end].find(ids) < 0]
            if len(dead):
                yield "links", (layer, int(dead.min())), f"is linked by {self.record.name!r} but does not live"
