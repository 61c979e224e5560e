"""Which layers an opaque layer freezes: its body takes and gives as many units as it did when it was made."""

from nestgraph.graph.structure import Structure
from nestgraph.spec.projection import Argument


def pinned(structure: Structure) -> frozenset[str]:
    """The layers whose units can neither come nor go: opaque ones, and those that they read."""
    arguments = (p for p in structure.projections_by_name.values() if isinstance(p, Argument))
    opaque = (name for name, layer in structure.layers_by_name.items() if layer.opaque is not None)
    return frozenset((*opaque, *(argument.source for argument in arguments)))


def why_pinned(structure: Structure, layer: str) -> str:
    """What freezes the units of a layer, to end a message; empty where nothing does."""
    if structure.layer(layer).opaque is not None:
        return f"{layer!r}, which is opaque ({structure.layer(layer).opaque}) and frozen"
    readers = [p.target for p in structure.outgoing(layer) if isinstance(p, Argument)]
    return f"{layer!r}, all of which the opaque layer {readers[0]!r} reads" if readers else ""
