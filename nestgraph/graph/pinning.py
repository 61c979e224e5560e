"""Which layers have the units that they have for good: what a body takes and gives, and what a port has a shape for.

A body that works unit by unit takes any: it holds nothing.
"""

from nestgraph.graph.structure import Structure
from nestgraph.spec.layer import Layer


def pinned(structure: Structure) -> frozenset[str]:
    """The layers whose units can neither come nor go: opaque ones, those that they read, outputs in another shape."""
    arguments = (p for p in structure.projections_by_name.values() if not p.weighted and not structure.ties(p))
    opaque = (name for name, layer in structure.layers_by_name.items() if _holds(layer))
    shaped = (port.layer for port in structure.outputs if port.shape is not None)
    return frozenset((*opaque, *shaped, *(argument.source for argument in arguments)))


def why_pinned(structure: Structure, layer: str) -> str:
    """What freezes the units of a layer, to end a message; empty where nothing does."""
    if _holds(structure.layer(layer)):
        return f"{layer!r}, which is opaque ({structure.layer(layer).opaque}) and frozen"
    readers = [p.target for p in structure.outgoing(layer) if not p.weighted and not structure.ties(p)]
    if readers:
        return f"{layer!r}, all of which the opaque layer {readers[0]!r} reads"
    shape = next((port.shape for port in structure.outputs if port.layer == layer and port.shape is not None), None)
    return "" if shape is None else f"{layer!r}, which comes out in the shape {shape}"


def _holds(layer: Layer) -> bool:
    """Whether a body takes and gives these very units."""
    return layer.opaque is not None and not layer.unitwise
