"""What a loop of somebody else and a workbench hand each other: the module, and the optimizers that stay."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from nestgraph.errors import TrainingError
from nestgraph.graph import Network
from nestgraph.graph.body import Body
from nestgraph.lowering import Workbench
from nestgraph.lowering.lowered_network import LoweredNetwork
from nestgraph.spec.arguments import checked
from nestgraph.spec.wording import quoted


@checked(TrainingError)
def hand_over(owner: nn.Module, name: str, bench: Workbench) -> None:
    """Put the present module of a workbench into an attribute of the module that owns it.

    To be called once in the beginning, and again after each edit, as that makes a new module.

    Args:
        owner: any module, which calls the bench's.
        name: of the attribute; dotted where a module inside the owner has it.
        bench: the workbench.

    Raises:
        TrainingError: there is no such place, or it holds something else than a module that nestgraph lowered: what
            wraps one, such as `DistributedDataParallel`, would go on with the parameters from before the edit.
    """
    where, _, attribute = name.rpartition(".")
    try:
        place = owner.get_submodule(where)
    except AttributeError:
        raise TrainingError(f"hand_over expected a module named {where!r} in {quoted(owner)}, got none") from None
    if not attribute.isidentifier():
        raise TrainingError(f"hand_over expected the name of an attribute, got {quoted(name)}")
    held = getattr(place, attribute, None)
    if held is not None and not isinstance(held, LoweredNetwork):
        raise TrainingError(
            f"hand_over expected a lowered module as {name!r}, or nothing yet, got {quoted(held)}: hand the "
            "module over first and wrap its owner then, anew after each edit"
        )
    setattr(place, attribute, bench.module)


def with_bodies_of(network: Network, bodies: Mapping[str, Body]) -> Network:
    """A network out of a file, which holds no code, with what its opaque layers compute."""
    opaque = [name for name, layer in network.layers_by_name.items() if layer.opaque is not None]
    return network.with_bodies({name: bodies[name] for name in opaque if name in bodies})


@checked(TrainingError)
def check_owner(owner: nn.Module, name: str, bench: Workbench, optimizers: Iterable[Any]) -> None:
    """Check that a loop trains what a bench holds, so that an edit reaches it.

    Args:
        owner: the module that the loop trains.
        name: of the attribute that holds the bench's module.
        bench: the workbench.
        optimizers: those of the loop; ones that wrap another in an attribute `optimizer` count as that.

    Raises:
        TrainingError: the owner holds another module, the loop steps another optimizer, or the parameters are not of
            float32 or not where the bench would put those of the next module.
    """
    where, _, attribute = name.rpartition(".")
    if getattr(owner.get_submodule(where), attribute, None) is not bench.module:
        raise TrainingError(
            f"expected the bench's module as {name!r} in {quoted(owner)}, got another: call hand_over(owner, "
            f"{name!r}, bench) where the owner is made, and after each edit of your own"
        )
    stepped = [getattr(one, "optimizer", one) for one in optimizers]
    strange = [one for one in bench.optimizers if not any(one is other for other in stepped)]
    if strange:
        got = ", ".join(type(one).__name__ for one in stepped) or "none"
        raise TrainingError(
            f"expected the loop to step the bench's own {type(strange[0]).__name__}, got {got} of its own: give it "
            "bench.optimizer, which stays the same object; another one would go on with the parameters before an edit"
        )
    own = set(map(id, bench.module.parameters()))
    for one in stepped:
        held = (parameter for group in one.param_groups for parameter in group["params"])
        if all(one is not other for other in bench.optimizers) and any(id(p) in own for p in held):
            raise TrainingError(
                f"expected {type(one).__name__} without parameters of the bench's module, got some: they are stepped "
                "twice, and after an edit they are others"
            )
    for parameter in bench.module.parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise TrainingError(
                f"expected a module of float32, got {parameter.dtype}: values that an edit takes in would be rounded; "
                "mix precisions by autocast (precision='bf16-mixed', bf16=True), which leaves parameters alone"
            )
        if parameter.device.type != bench.device.type:
            raise TrainingError(
                f"expected the module on {bench.device.type}, where its bench is, got {parameter.device.type}: make "
                f"the bench there: Workbench(network, make, device={str(parameter.device)!r})"
            )
