"""Run pygraphviz's bundled Graphviz as a process of its own: DOT on standard input, a picture on standard output.

A process keeps the library's messages out of the user's terminal and its crashes out of the user's training run.
It imports nothing of nestgraph, so that it starts at once.
"""

import sys
from importlib import import_module
from typing import Any


def main(picture_format: str) -> None:
    """Read DOT text, lay it out with `dot` and write the picture."""
    pygraphviz: Any = import_module("pygraphviz")
    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
    sys.stdout.buffer.write(graph.draw(format=picture_format, prog="dot"))


if __name__ == "__main__":
    main(sys.argv[1])
