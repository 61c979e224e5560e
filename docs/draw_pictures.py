"""Draw the pictures of the README and of docs/ from run folders: `python docs/draw_pictures.py RUN...`.

A run folder is what `nestgraph synthesize lenet-5 --out RUN` leaves, with seed.json, grown.json and final.json.
"""

import sys
from pathlib import Path

import nestgraph as ng
from nestgraph.render import area_maps, draw_difference, input_heat_map

PICTURES = Path(__file__).with_name("pictures")
STAGES = ("seed", "grown", "final")


def draw_run(folder: Path) -> None:
    """Every stage by layers and by neurons at fixed places, what pruning changed, the inputs and areas."""
    run = ng.Run.read(folder)
    stages = {stage: run.stage(stage) for stage in STAGES}
    base = PICTURES / run.recipe.name
    versions = tuple(stages.values())
    for stage, network in stages.items():
        ng.draw(network, f"{base}-{stage}-layers.svg", "layers", overwrite=True)
        ng.draw(network, f"{base}-{stage}-neurons.svg", "neurons", among=versions, overwrite=True)
    for view in ("layers", "neurons", "matrix", "inputs"):
        draw_difference(stages["grown"], stages["final"], f"{base}-pruned-{view}.svg", view, overwrite=True)
    input_heat_map(stages, f"{base}-inputs.svg", overwrite=True)
    if any(stages["final"].connection_columns(name).area is not None for name in stages["final"].projection_names):
        area_maps(stages["final"], f"{base}-areas.svg", overwrite=True)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        draw_run(Path(argument))
