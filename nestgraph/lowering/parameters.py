"""The parameters of a lowered module by what they hold, and the facts of a parameter that are not its values."""

from collections.abc import Mapping

from torch import nn

from nestgraph.graph import Network
from nestgraph.lowering.origin import lowered
from nestgraph.lowering.slots import slots

Lowered = tuple[Network, nn.Module]
Key = tuple[str, str]
"""The name of a projection or layer, and the column."""
Parameters = Mapping[Key, nn.Parameter]


def parameters_of(network: Network, module: nn.Module) -> Parameters:
    """The parameters of a network's module, by the name of their projection or layer and their column.

    Raises:
        LoweringError: the module was not lowered from the network.
    """
    part = lowered(network, module)
    tensors = {(slot.owner, slot.column): slot.tensor(part) for slot in slots(network)}
    return {key: tensor for key, tensor in tensors.items() if isinstance(tensor, nn.Parameter)}


def inherit(old: Parameters, new: Parameters) -> None:
    """Give each parameter the facts of the one that it follows: whether it trains, hooks, attributes that users set.

    Hooks are shared, so that a handle removes what it put there.
    """
    for key, parameter in new.items():
        before = old.get(key)
        if before is None or before is parameter:
            continue
        parameter.requires_grad_(before.requires_grad)
        vars(parameter).update(vars(before))
        for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            if (held := getattr(before, hooks)) is not None:
                setattr(parameter, hooks, held)
