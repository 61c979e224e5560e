"""The command line: one verb each over the package's public face."""

from nestgraph.cli.app import main

__all__ = ["main"]
