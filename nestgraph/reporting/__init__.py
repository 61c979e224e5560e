"""The report: a run as one HTML file that needs no network, replayed from its journal."""

from nestgraph.reporting.live_report import LiveReport
from nestgraph.reporting.page import report

__all__ = ["LiveReport", "report"]
