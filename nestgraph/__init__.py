"""nestgraph: neural networks as graphs that grow and shrink to fit their data.

Names are loaded when they are first used (`__init__.pyi` lists them), so that importing the package costs nothing
and only what trains imports torch.
"""

from typing import Any

import lazy_loader

from nestgraph import display

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType]


def _show(network: Any) -> dict[str, str]:
    from nestgraph.render import mimebundle

    return mimebundle(network)


display.show = _show
