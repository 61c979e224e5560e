"""Networks from PyTorch modules, edge lists and genomes, and into the forms that are deployed.

Names are loaded when they are first used (`__init__.pyi` lists them): edge lists and genomes do not need torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType]
