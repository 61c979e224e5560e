"""What PyTorch has of it: a module, which an import reads and a lowering emits."""

import torch
from peak_norm import PeakNorm
from torch import nn

from nestgraph.lowering.operations import Room, register
from nestgraph.lowering.tensors import as_array


class Peak(nn.Module):
    """`PeakNorm` of (batch, units, *size)."""

    def __init__(self, units, epsilon=1e-3):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(units)), epsilon

    def forward(self, x):
        peak = x.abs().flatten(2).amax(2).reshape(*x.shape[:2], *[1] * (x.dim() - 2))
        return x / (peak + self.epsilon) * self.weight.reshape(-1, *[1] * (x.dim() - 2))


def emit(emission, layer, operation, _path, x):
    columns = emission.network.unit_columns(layer.name)
    module = Peak(len(columns), operation.epsilon)
    module.weight = emission.parameter(columns.values["gain"])
    return emission.apply(f"{emission.layers[layer.name]}.peak", module, x)


def read(module):
    def row(weaving, x):
        frozen = ["gain"] if weaving.is_frozen(module.weight) else []
        return weaving.operated(x, PeakNorm(epsilon=module.epsilon), {"gain": as_array(module.weight)}, frozen)

    return row


register(Room(PeakNorm, emit, {"gain": "peak.weight"}, modules={Peak: read}))
