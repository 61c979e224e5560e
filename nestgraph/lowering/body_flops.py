"""How many FLOPs a module computes, by torch's own formulas, without its values and without computing it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

REGISTRY: Mapping[Any, Callable[..., int]] = flop_registry


def module_flops(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> int | None:
    """FLOPs of matrix products, convolutions and attention for inputs of these shapes, 2 a multiply-accumulate.

    It runs on tensors without values; None where a module looks at values, or knows tensors that are no parts of it.
    """
    memo = {id(tensor): _empty(tensor) for tensor in (*module.parameters(), *module.buffers())}
    try:
        twin = copy.deepcopy(module, memo)
        with _Counter() as counter, torch.no_grad():
            twin(*(torch.empty(shape, device="meta") for shape in shapes))
    except Exception:  # whatever a foreign module does with such tensors
        return None
    return counter.flops


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


class _Counter(TorchDispatchMode):
    """Adds up what runs in this thread; torch's own counter hooks all modules of the process meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = REGISTRY.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        self.flops += 0 if formula is None else int(formula(*args, **kwargs, out_val=result))
        return result
