"""Names for what recipe functions add."""

from collections.abc import Collection
from itertools import count

from nestgraph.graph.structure import Structure


def free_name(structure: Structure, stem: str, taken: Collection[str] = ()) -> str:
    """A name for a projection that none has yet, nor is taken: the stem, or the stem with a number."""
    endings = (f"_{n}" if n else "" for n in count())
    names = (stem[: 64 - len(end)] + end for end in endings)
    return next(name for name in names if not structure.has_projection(name) and name not in taken)
