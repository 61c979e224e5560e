"""The command line: one verb each over the package's public face."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C ends it in silence while it is loaded, too."""
    try:
        from nestgraph.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()
