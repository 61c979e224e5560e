"""The parameters of a lowered module by what they hold, and the facts of a parameter that are not its values."""

from collections.abc import Mapping

from torch import nn

from nestgraph.graph import Network
from nestgraph.lowering.opaque import PREFIX
from nestgraph.lowering.origin import lowered
from nestgraph.lowering.slots import BODY, module_body, slots

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


def set_recorded(network: Network, parameters: Parameters) -> None:
    """Let those parameters not train that the network records as frozen."""
    for key, parameter in parameters.items():
        if _is_frozen(network, key):
            parameter.requires_grad_(False)


def inherit(before: Lowered, after: Lowered) -> None:
    """Give each parameter the facts of the one that it follows: whether it trains, hooks, attributes that users set.

    Hooks are shared, so that a handle removes what it put there. Where an edit froze or thawed what the network
    records, that counts.
    """
    old, new = parameters_of(*before), parameters_of(*after)
    for key, parameter in new.items():
        known = old.get(key)
        if known is None:
            continue
        if _is_frozen(before[0], key) == _is_frozen(after[0], key):
            parameter.requires_grad_(known.requires_grad)
        elif known is parameter:
            parameter.requires_grad_(_trains(after[0], key))
        if known is parameter:
            continue
        vars(parameter).update(vars(known))
        for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            if (held := getattr(known, hooks)) is not None:
                setattr(parameter, hooks, held)


def _is_frozen(network: Network, key: Key) -> bool:
    owner, column = key
    if column == "weight":
        return network.projection(owner).held
    return (BODY if column.startswith(PREFIX) else column) in network.layer(owner).frozen


def _trains(network: Network, key: Key) -> bool:
    owner, column = key
    inside = not column.startswith(PREFIX) or module_body(network, owner).trains(column)
    return inside and not _is_frozen(network, key)
