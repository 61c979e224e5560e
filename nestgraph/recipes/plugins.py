"""Policies and tasks of a user's own file, for one call of a verb. This runs the file, which the command line names."""

import sys
from collections.abc import Iterator, Sequence
from importlib import util
from importlib.machinery import SourceFileLoader
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import cast

from nestgraph.errors import RecipeError
from nestgraph.policies import Policy
from nestgraph.recipes.own_kinds import register
from nestgraph.snapshot.disk import open_regular, reported, shown
from nestgraph.spec.wording import foreign
from nestgraph.tasks.task import Task


def load_plugins(files: Sequence[Path] | None) -> None:
    """Run Python files and register the policies and tasks that they define.

    Raises:
        RecipeError: one is no Python file, fails, or defines neither; or a kind is not its own.
        SnapshotError: one cannot be read.
    """
    for number, path in enumerate(files or ()):
        own = list(_own(_module(path, f"nestgraph_plugin_{number}")))
        if not own:
            expected = "classes of policies or tasks, each with a field such as kind: Literal['mine'] = 'mine'"
            raise RecipeError(f"{shown(path)}: expected {expected}, got none")
        for each in own:
            register(each)


class _Unkept(SourceFileLoader):
    """Keeps no bytecode beside the user's file, where a run writes nothing."""

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None: ...


def _module(path: Path, name: str) -> ModuleType:
    with reported(path, "read"), open_regular(path):
        pass  # a pipe would keep it waiting for a writer
    spec = util.spec_from_file_location(name, path, loader=_Unkept(name, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise RecipeError(f"{shown(path)}: expected a file of Python, .py, got another: name it so")
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # where pydantic finds what annotations name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        got = f"{type(error).__name__}: {foreign(error)}"
        raise RecipeError(f"{shown(path)}: expected a Python file that runs, got {got}") from error
    return module


def _own(module: ModuleType) -> Iterator[type[Policy] | type[Task]]:
    for value in list(vars(module).values()):
        own = isinstance(value, type) and issubclass(value, Policy | Task) and value.__module__ == module.__name__
        if own and not isabstract(cast(object, value)) and "kind" in value.model_fields:
            yield value
