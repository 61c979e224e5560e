"""How notebooks show a network: a slot that the package's face fills, since drawing is a layer above the graph."""

from collections.abc import Callable
from typing import Any

show: Callable[[Any], dict[str, str]] | None = None
