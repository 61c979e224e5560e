"""A PyTorch module from the name of a callable and a file of weights, as the command line takes them."""

import math
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from nestgraph.errors import InteropError
from nestgraph.snapshot.disk import open_regular, reported, shown
from nestgraph.spec.wording import foreign

MOST_NUMBERS = 2**26
"""Of a sample that a module is tried out with: 256 MB."""

COUNTERS = ("num_batches_tracked",)
"""Entries of a state dict that no output depends on: files may lack them."""


def built_module(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """What `package.module:callable` gives for keyword arguments. This runs the code of that package.

    The current folder is looked in last, so that a file there can be named but stands in for no installed package.

    Raises:
        InteropError: there is no such callable, it raised an error, or it gave no module.
    """
    place = str(Path.cwd())
    if place not in sys.path:
        sys.path.append(place)
    try:
        found: Any = pkgutil.resolve_name(name)
        made: Any = found if isinstance(found, nn.Module) and not arguments else found(**arguments)
    except (Exception, SystemExit) as error:
        called = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        got = f"{type(error).__name__}: {error}"
        raise InteropError(f"{name}({called[:200]}): expected a callable that gives a module, got {got}") from error
    if not isinstance(made, nn.Module):
        raise InteropError(f"{name}: expected a torch.nn.Module from it, got {type(made).__name__}")
    return made


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Read the weights of a module from a safetensors file that has all of them and no more. Nothing in it is run.

    Raises:
        InteropError: it is no safetensors file, or its tensors are not those of the module, or of wider types; the
            message names the first.
        SnapshotError: the file cannot be read, or is a pipe or device.
    """
    where = shown(path)
    with reported(path, "read"), open_regular(path):
        pass  # a pipe would keep safetensors waiting for a writer
    try:
        _check_types(module, os.fspath(path), where)
        missing, unexpected = safetensors.torch.load_model(module, os.fspath(path), strict=False)
    except (SafetensorError, OSError) as error:
        got = foreign(error).removeprefix("Error while deserializing header: ")
        raise InteropError(f"{where}: expected a safetensors file, got a damaged or another one: {got}") from None
    except RuntimeError as error:  # torch's list of shapes that differ
        first = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise InteropError(f"{where}: expected the shapes of the module, got: {first}") from None
    missing = [key for key in cast(Sequence[str], missing) if not key.endswith(COUNTERS)]
    for keys, problem in ((missing, "is missing from the file"), (list(unexpected), "is not in the module")):
        if keys:
            more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
            raise InteropError(
                f"{where}: expected the tensors of {type(module).__name__} and no others, got a difference: "
                f"{sorted(keys)[0]!r}{more} {problem}: use the model and arguments that the weights were saved with"
            )


def _check_types(module: nn.Module, path: str, where: str) -> None:
    """Refuse numbers that the module would round: torch converts what it loads without a word."""
    own = module.state_dict()
    with cast(Any, safetensors.safe_open(path, "pt")) as file:
        names: list[str] = file.keys()
        for name in own.keys() & set(names):
            expected: torch.dtype = own[name].dtype
            got: torch.dtype = file.get_tensor(name).dtype
            alike = expected.is_floating_point == got.is_floating_point
            if not alike or torch.promote_types(expected, got) != expected:
                raise InteropError(
                    f"{where}: expected {name!r} as {expected} or a type that it holds, got {got}: build the module in "
                    "that type, or save the weights in its own"
                )


def example_inputs(shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Two random samples for each input, whose shapes are without a batch.

    Raises:
        InteropError: a sample has more numbers than may be tried out.
    """
    for shape in shapes:
        if math.prod(shape) > MOST_NUMBERS:
            given = ",".join(map(str, shape))
            raise InteropError(f"expected samples of at most {MOST_NUMBERS:,} numbers, got one of shape {given[:80]}")
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, *shape, generator=generator) for shape in shapes]
