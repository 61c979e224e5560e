"""Batch normalisation in PyTorch."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Handler, Room, UncoveredError, Weaving
from nestgraph.lowering.tensors import as_array
from nestgraph.spec import BatchNorm, Layer

PATHS = {
    "gamma": "batch_norm.weight",
    "beta": "batch_norm.bias",
    "mean": "batch_norm.running_mean",
    "variance": "batch_norm.running_var",
}
MODULES = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""By the number of a map's extents."""


def emit(emission: Emission, layer: Layer, operation: BatchNorm, _path: str, x: fx.Node) -> fx.Node:
    """A module that starts from the layer's columns."""
    columns = emission.network.unit_columns(layer.name)
    kind, empty = MODULES[len(layer.size or ())], {"affine": False, "track_running_stats": False}
    module = kind(len(columns), operation.epsilon, operation.momentum, **empty)
    module.affine = module.track_running_stats = True  # by what follows, without values before
    module.num_batches_tracked = torch.tensor(operation.batches)
    module.weight, module.bias = (emission.parameter(columns.values[name]) for name in ("gamma", "beta"))
    module.running_mean, module.running_var = (emission.tensor(columns.values[name]) for name in ("mean", "variance"))
    return emission.apply(f"{emission.layers[layer.name]}.batch_norm", module, x)


def batch_norm(
    weaving: Weaving[Any],
    input: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    batches: int = 0,
) -> Any:
    """A call of `batch_norm`, whose average has seen so many batches."""
    if training or running_mean is None or running_var is None:
        raise UncoveredError("a batch normalisation without running statistics")
    given = {"gamma": weight, "beta": bias, "mean": running_mean, "variance": running_var}
    columns = {name: as_array(tensor) for name, tensor in given.items() if tensor is not None}
    frozen = [name for name in ("gamma", "beta") if weaving.is_frozen(given[name])]
    return weaving.operated(input, BatchNorm(epsilon=eps, momentum=momentum, batches=batches), columns, frozen)


def _row(module: nn.BatchNorm2d) -> Handler:
    statistics = (module.running_mean, module.running_var) if module.track_running_stats else (None, None)
    counted = module.momentum is None and module.num_batches_tracked is not None
    batches = int(module.num_batches_tracked or 0) if counted else 0

    def row(weaving: Weaving[Any], x: Any) -> Any:
        columns: tuple[Any, Any] = (module.weight, module.bias)
        result = batch_norm(weaving, x, *statistics, *columns, False, module.momentum, module.eps, batches)
        if isinstance(module, nn.SyncBatchNorm):
            weaving.note(result, "each process normalises its own part of a batch")
        return result

    return row


ROOM = Room(
    BatchNorm,
    emit,
    PATHS,
    "batch_norm.num_batches_tracked",
    functions={"batch_norm": batch_norm},
    modules=dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), _row),
)
