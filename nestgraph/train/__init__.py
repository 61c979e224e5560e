"""Where data, recipes, runs, the loop and studies were in 0.1: modules are found where they went, with a warning."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

PACKAGES = ("data", "recipes", "runs", "loop", "studies", "integrations", "spec")
RENAMED = {"data": "data.datasets", "runs": "runs.run", "sources": "data.held"}


def _place(name: str) -> str | None:
    """The full name of what was a module here; None if there is none any more."""
    places = [RENAMED[name]] if name in RENAMED else [f"{package}.{name}" for package in PACKAGES]
    return next((f"nestgraph.{place}" for place in places if find_spec(f"nestgraph.{place}")), None)


class _Moved(MetaPathFinder, Loader):
    """Finds the modules of this package where they are now."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  (the protocol's)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        return ModuleSpec(fullname, self) if package == __name__ and _place(name) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is meant in the place of this one."""
        place = _place(module.__name__.rpartition(".")[2]) or ""
        warnings.warn(f"{module.__name__} is {place} now: import it from there", FutureWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(place)


sys.meta_path.append(_Moved())
