"""A network that trains in shards: each process holds a part of its weights, gradients and optimizer states (FSDP2).

An edit gathers a layer's columns, does what it does in one process, and scatters them again: all of that is the
workbench's own code, which asks for whole tensors (`lowering.tensors.whole`) and lays what it made where the parameter
lies (`placed_as`). So each process comes to the same network and to its part of the same state, to the bit.
"""

import hashlib
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.fx import GraphModule
from torch.optim import Optimizer

from nestgraph.edits import Applied, Edit, SetValues
from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.bench_state import BenchState
from nestgraph.lowering.masked import lower
from nestgraph.lowering.parameters import Lowered, inherit, parameters_of
from nestgraph.lowering.slots import slots
from nestgraph.lowering.tensors import as_tensor, placed_as
from nestgraph.lowering.workbench import OptimizerMaker, Workbench
from nestgraph.parallel.readers import read_in_parts
from nestgraph.parallel.reduced import reduce_statistics
from nestgraph.spec.arguments import checked

WHOLE = (torch.optim.Adafactor, torch.optim.LBFGS)
"""Optimizers that compute nothing, or another thing, from shards."""
MASK = "nestgraph_mask"
"""The attribute of a sharded parameter with the part of its mask that lies here, where some entries are dormant."""


class ShardedBench(Workbench):
    """A workbench whose module is sharded over the processes of a mesh.

    Every process makes one of the same network and calls the same methods in the same order: whatever reads trained
    values or optimizer states (`network`, `state`, edits, undo, marks) gathers them, a column at a time. Gradients are
    the mean of the processes'. Batch normalisation is over the samples of all (`reduce_statistics`). Buffers lie in all
    processes; what a body of an opaque layer has of its own is that of the first when it is read.

    Masks lie with the shards: entries of dormant connections have a gradient of 0 after the reduction, and are 0 again
    after each step. So it trains what `lower` trains under masks; whole rows are held, whatever is dormant.
    """

    @checked(LoweringError)
    def __init__(self, network: Network, make: OptimizerMaker, mesh: DeviceMesh) -> None:
        """Lower the network, shard it, and make its optimizers.

        Args:
            network: where to start, the same in all processes.
            make: as of a `Workbench`, of optimizers whose state has its parameter's shape, or is a number: no Adafactor
                and no LBFGS.
            mesh: of one dimension: all processes, and the kind of device that each of them has.

        Raises:
            LoweringError: the mesh has more dimensions or leaves processes out, the processes have different networks,
                an optimizer does not work in shards, or see `Workbench`.
        """
        if mesh.ndim != 1 or mesh.size() != distributed.get_world_size():
            got = f"one of {mesh.ndim} of {mesh.size()} of {distributed.get_world_size()}"
            remedy = "init_device_mesh(device, (distributed.get_world_size(),)) makes one"
            raise LoweringError(f"ShardedBench expected a mesh of one dimension of all processes, got {got}: {remedy}")
        self._mesh = mesh
        self._agree("a network to begin with", network.digest)
        super().__init__(network, make, mesh.device_type, "masked")

    @property
    def mesh(self) -> DeviceMesh:
        """The processes among which the module is sharded."""
        return self._mesh

    def apply(self, edit: Edit) -> Applied:
        """See `Workbench.apply`. All processes apply the same edit.

        Raises:
            EditError, LoweringError: see there; or another process has another edit, or came to another network, in
                all processes alike.
        """
        said = f"the edit {type(edit).__name__}"
        self._agree(said, hashlib.sha256(edit.model_dump_json().encode()).hexdigest())
        applied = super().apply(edit)
        self._agree(f"a network after {said}", applied.network.digest)
        return applied

    @property
    def network(self) -> Network:
        """See `Workbench.network`."""
        self._settle()
        return super().network

    def state(self) -> BenchState:
        """See `Workbench.state`."""
        self._reshard()
        return super().state()

    def _pending(self) -> tuple[SetValues, BenchState] | None:
        self._settle()
        return super()._pending()

    def _anew(self, network: Network, like: Lowered | None = None) -> GraphModule:
        module = lower(network, masked=False, execution="masked")
        reduce_statistics(module)
        for part in read_in_parts(module):
            fully_shard(part, mesh=self._mesh)
        fully_shard(module, mesh=self._mesh)
        if like:
            inherit(like, (network, module))
        _keep_masks(network, module)
        return module

    def _made(self, network: Network, module: GraphModule) -> tuple[Optimizer, ...]:
        optimizers = super()._made(network, module)
        for optimizer in optimizers:
            if isinstance(optimizer, WHOLE):
                got = f"{type(optimizer).__name__}, which looks at whole rows, columns or directions"
                raise LoweringError(f"ShardedBench expected an optimizer that works in shards, got {got}: take Adam")
            optimizer.register_step_post_hook(_dormant_again)
        return optimizers

    def _reshard(self) -> None:
        """Let go of what was gathered to compute and not let go of, as after a forward pass without a backward one."""
        for part in self._module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def _settle(self) -> None:
        """Let buffers that a training moved be the same in all processes: those of the first."""
        self._reshard()
        for slot in slots(self._network):
            tensor = slot.tensor(self._module)
            if not isinstance(tensor, nn.Parameter):
                distributed.broadcast(tensor, group=self._mesh.get_group(), group_src=0)

    def _agree(self, what: str, said: str) -> None:
        """Compare what the processes have.

        Raises:
            LoweringError: it is not the same, in all processes alike.
        """
        everyone: list[Any] = [None] * self._mesh.size()
        cast(Any, distributed).all_gather_object(everyone, said, group=self._mesh.get_group())
        if wrong := [number for number, other in enumerate(everyone) if other != everyone[0]]:
            raise LoweringError(
                f"ShardedBench expected {what} that is the same in all processes, got another in process {wrong[0]} "
                f"than in process 0 ({everyone[wrong[0]]:.12}, {everyone[0]:.12}): let one process choose edits and "
                "send them to the others as JSON"
            )


def _keep_masks(network: Network, module: nn.Module) -> None:
    """Give each sharded weight the part of its mask that lies here, and let it act on gradients."""
    parameters = parameters_of(network, module)
    for slot in (slot for slot in slots(network) if slot.is_weight):
        parameter, columns = parameters.get((slot.owner, "weight")), network.connection_columns(slot.owner)
        if parameter is None or columns.mask.all():
            continue
        mask = placed_as(slot.packed(as_tensor(columns.mask), parameter).to(parameter.device), parameter)
        setattr(parameter, MASK, _here(mask).bool())
        hooks: Any = getattr(parameter, "_post_accumulate_grad_hooks")  # noqa: B009
        if not hooks or _live_alone not in hooks.values():  # an edit hands hooks on
            trains = parameter.requires_grad
            parameter.requires_grad_(True).register_post_accumulate_grad_hook(_live_alone)  # torch asks for that
            parameter.requires_grad_(trains)


@torch.no_grad()
def _live_alone(parameter: Tensor) -> None:
    """Let the gradients of dormant connections be 0."""
    mask, gradient = getattr(parameter, MASK, None), parameter.grad
    if mask is not None and gradient is not None:
        _here(gradient).mul_(mask)


@torch.no_grad()
def _dormant_again(optimizer: Optimizer, *_: Any) -> None:
    """Let weights of dormant connections be 0, which optimizers of whole matrices move."""
    for parameter in (one for group in optimizer.param_groups for one in group["params"]):
        if (mask := getattr(parameter, MASK, None)) is not None:
            _here(parameter).mul_(mask)


def _here(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor that lies in this process."""
    return cast(Any, tensor).to_local()
