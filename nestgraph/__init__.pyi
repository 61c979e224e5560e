from . import edits as edits
from . import policies as policies
from . import seeds as seeds
from . import spec as spec
from .edits import Editor as Editor
from .edits import diff as diff
from .errors import NestgraphError as NestgraphError
from .graph import Cost as Cost
from .graph import Network as Network
from .graph import cost as cost
from .graph import plain_graph as plain_graph
from .lowering import Workbench as Workbench
from .lowering import carry_optimizer as carry_optimizer
from .lowering import collect as collect
from .lowering import lower as lower
from .render import draw as draw
from .snapshot import load as load
from .snapshot import read_journal as read_journal
from .snapshot import replay as replay
from .snapshot import save as save
from .train.data import load_dataset as load_dataset
from .train.data import load_image_folder as load_image_folder
from .train.recipe import Recipe as Recipe
from .train.recipe import load_recipe as load_recipe
from .train.runs import Run as Run
from .train.sweep import load_sweep as load_sweep
from .train.sweep import run_sweep as run_sweep
from .train.synthesis import synthesize as synthesize
from .train.trainer import Trainer as Trainer

__all__ = [
    "Cost",
    "Editor",
    "NestgraphError",
    "Network",
    "Recipe",
    "Run",
    "Trainer",
    "Workbench",
    "carry_optimizer",
    "collect",
    "cost",
    "diff",
    "draw",
    "edits",
    "load",
    "load_dataset",
    "load_image_folder",
    "load_recipe",
    "load_sweep",
    "lower",
    "plain_graph",
    "policies",
    "read_journal",
    "replay",
    "run_sweep",
    "save",
    "seeds",
    "spec",
    "synthesize",
]
