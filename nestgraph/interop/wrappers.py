"""What other libraries put around a module or make of it: looked through where the module is inside, else refused."""

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from nestgraph.errors import InteropError

INSIDE: Mapping[str, str] = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper": "_checkpoint_wrapped_module",
}
"""Class of a wrapper -> the attribute that is the module, which computes the same."""

SHARDED = (
    "whose parameters are sharded: gather them (torch.distributed.checkpoint.state_dict.get_model_state_dict with "
    "full_state_dict=True), load them into a module that is not, and import that"
)
REFUSED: Mapping[str, str] = {
    "torch.jit._script.ScriptModule": "which is scripted or traced and has no Python left to read: import the module "
    "that it was made from, with load_state_dict(scripted.state_dict())",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel": SHARDED,
    "torch.distributed.fsdp._fully_shard._fully_shard.FSDPModule": SHARDED,
}
"""Class of a module that cannot be read -> what it is and the way round."""

PACKED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized")
"""Where classes are whose weights are packed integers."""


def unwrapped(part: nn.Module) -> nn.Module:
    """The module inside of wrappers; the module itself where there are none."""
    while (name := _wrapper(part)) is not None:
        part = getattr(part, INSIDE[name])
    return part


def path_inside(module: nn.Module, name: str) -> str:
    """The path of a part or tensor in a module without the names that wrappers have of what is inside."""
    kept, part = list[str](), cast("nn.Module | None", module)
    for atom in name.split("."):
        wrapper = None if part is None else _wrapper(part)
        if wrapper is not None and atom != INSIDE[wrapper]:  # one that hides its own name
            part = None if part is None else unwrapped(part)
        if wrapper is None or atom != INSIDE[wrapper]:
            kept.append(atom)
        inner = getattr(part, atom, None)
        part = inner if isinstance(inner, nn.Module) else None
    return ".".join(kept)


def computes_weights(part: nn.Module) -> bool:
    """Whether a module computes its weights from others each time: by parametrizations, or the hooks before those."""
    hooks = cast("Mapping[int, object]", vars(part).get("_forward_pre_hooks") or {}).values()
    known = {type(hook).__name__ for hook in hooks} & {"WeightNorm", "SpectralNorm"}
    return parametrize.is_parametrized(part) or bool(known)


def check_readable(module: nn.Module) -> None:
    """Refuse what has no Python or no numbers to read.

    Raises:
        InteropError: it is such a module, or a part of it is.
    """
    for path, why in (*_refused_root(module), *_refused_parts(module)):
        place = f"{type(module).__name__}, {path!r} in it," if path else f"{type(module).__name__},"
        raise InteropError(f"import_module expected a module as it was written, got {place} {why}")


def _refused_root(module: nn.Module) -> Iterator[tuple[str, str]]:
    yield from (("", REFUSED[name]) for name in _names(type(unwrapped(module))) if name in REFUSED)


def _refused_parts(module: nn.Module) -> Iterator[tuple[str, str]]:
    for path, part in cast("Iterator[tuple[str, nn.Module]]", module.named_modules()):
        if type(part).__module__.startswith(PACKED):
            yield path, "whose weights are packed integers: import the module before it was quantised"
        yield from ((path, why) for name, why in REFUSED.items() if why == SHARDED and name in _names(type(part)))
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            yield path, "which has no shape yet: run the module once"
        elif type(tensor).__name__ == "DTensor":
            yield path, SHARDED
        elif isinstance(cast(object, tensor), Tensor) and tensor.device == torch.device("meta"):
            yield path, "which has no numbers: load them first (to_empty, load_state_dict)"


def _wrapper(part: nn.Module) -> str | None:
    return next((name for name in _names(type(part)) if name in INSIDE), None)


def _names(kind: type) -> list[str]:
    return [f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__]
