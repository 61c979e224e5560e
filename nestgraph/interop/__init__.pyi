from .edge_list import EdgeRow as EdgeRow
from .edge_list import NodeRow as NodeRow
from .edge_list import from_edges as from_edges
from .edge_list import to_edges as to_edges
from .edge_list import to_nodes as to_nodes
from .edge_list import write_edges as write_edges
from .importing import import_module as import_module
from .neat import from_neat as from_neat
from .report import ImportReport as ImportReport
from .report import ReportRow as ReportRow
from .report import import_report as import_report

__all__ = [
    "EdgeRow",
    "ImportReport",
    "NodeRow",
    "ReportRow",
    "from_edges",
    "from_neat",
    "import_module",
    "import_report",
    "to_edges",
    "to_nodes",
    "write_edges",
]
