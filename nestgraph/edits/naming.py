"""Names for what recipe functions add."""

from itertools import count

from nestgraph.graph.structure import Structure


def free_name(structure: Structure, stem: str) -> str:
    """A name for a projection that none has yet: the stem, or the stem with a number."""
    endings = (f"_{n}" if n else "" for n in count())
    return next(name for end in endings if not structure.has_projection(name := stem[: 64 - len(end)] + end))
