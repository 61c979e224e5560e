"""The generated names of layers and projections in modules: no text of a user's gets there."""

from nestgraph.graph import Structure


def layer_paths(structure: Structure) -> dict[str, str]:
    """The generated name of each layer."""
    return {name: f"layer{number}" for number, name in enumerate(structure.layer_names)}


def projection_paths(structure: Structure) -> dict[str, str]:
    """The generated name of each projection."""
    return {name: f"projection{number}" for number, name in enumerate(structure.projection_names)}
