from . import edits as edits
from . import policies as policies
from . import seeds as seeds
from . import spec as spec
from .data.datasets import load_dataset as load_dataset
from .data.datasets import load_image_folder as load_image_folder
from .data.own import as_batches as as_batches
from .data.own import dataset as dataset
from .data.own import split as split
from .edits import Editor as Editor
from .edits import diff as diff
from .errors import NestgraphError as NestgraphError
from .graph import Cost as Cost
from .graph import Difference as Difference
from .graph import Network as Network
from .graph import cost as cost
from .graph import difference as difference
from .graph import plain_graph as plain_graph
from .integrations.owners import hand_over as hand_over
from .interop.edge_list import from_edges as from_edges
from .interop.edge_list import to_edges as to_edges
from .interop.edge_list import to_nodes as to_nodes
from .interop.edge_list import write_edges as write_edges
from .interop.export import export as export
from .interop.exporting import exported_program as exported_program
from .interop.imported import Imported as Imported
from .interop.importing import import_module as import_module
from .interop.neat import from_neat as from_neat
from .interop.report import import_report as import_report
from .loop.evidence import gather as gather
from .loop.resuming import resume as resume
from .loop.synthesis import synthesize as synthesize
from .loop.trainer import Trainer as Trainer
from .lowering import Workbench as Workbench
from .lowering import carry_optimizer as carry_optimizer
from .lowering import collect as collect
from .lowering import follow as follow
from .lowering import lower as lower
from .lowering import network_of as network_of
from .lowering.calibrating import calibrate as calibrate
from .lowering.compact import compact as compact
from .lowering.explaining import explain as explain
from .recipes.own_kinds import register as register
from .recipes.recipe import Recipe as Recipe
from .recipes.recipe import load_recipe as load_recipe
from .render import draw as draw
from .render import draw_difference as draw_difference
from .reporting import LiveReport as LiveReport
from .reporting import report as report
from .runs.columns import read_columns as read_columns
from .runs.columns import save_columns as save_columns
from .runs.interruption import Interrupted as Interrupted
from .runs.predicting import predict as predict
from .runs.run import Run as Run
from .snapshot import Limits as Limits
from .snapshot import load as load
from .snapshot import read_journal as read_journal
from .snapshot import replay as replay
from .snapshot import save as save
from .studies.running import run_sweep as run_sweep
from .studies.sweep import load_sweep as load_sweep
from .tasks.custom import task as task

__all__ = [
    "Cost",
    "Difference",
    "Editor",
    "Imported",
    "Interrupted",
    "Limits",
    "LiveReport",
    "NestgraphError",
    "Network",
    "Recipe",
    "Run",
    "Trainer",
    "Workbench",
    "as_batches",
    "calibrate",
    "carry_optimizer",
    "collect",
    "compact",
    "cost",
    "dataset",
    "diff",
    "difference",
    "draw",
    "draw_difference",
    "edits",
    "explain",
    "export",
    "exported_program",
    "follow",
    "from_edges",
    "from_neat",
    "gather",
    "hand_over",
    "import_module",
    "import_report",
    "load",
    "load_dataset",
    "load_image_folder",
    "load_recipe",
    "load_sweep",
    "lower",
    "network_of",
    "plain_graph",
    "policies",
    "predict",
    "read_columns",
    "read_journal",
    "register",
    "replay",
    "report",
    "resume",
    "run_sweep",
    "save",
    "save_columns",
    "seeds",
    "spec",
    "split",
    "synthesize",
    "task",
    "to_edges",
    "to_nodes",
    "write_edges",
]
