"""What opaque layers of drawn networks compute."""

import numpy as np
import torch
from torch import nn

from nestgraph.lowering.opaque import ModuleBody


class MixingModule(nn.Module):
    """A softmax over the units of the first argument, times 1 + the mean of each other argument's tanh."""

    def forward(self, first, *others):
        result = torch.softmax(first, 1) * first.shape[1]
        for other in others:
            mean = torch.tanh(other).mean(tuple(range(1, other.ndim)))
            result = result * (1 + mean.reshape(-1, *[1] * (first.ndim - 1)))
        return result


class ApartModule(nn.Module):
    """Unit by unit: an arc tangent of the first argument, and a sine of each other one."""

    def forward(self, first, *others):
        result = torch.atan(first) + 0.3
        for other in others:
            result = result + torch.sin(other) * 0.5
        return result


class Apart(ModuleBody):
    """The same by NumPy, in double precision."""

    def __init__(self):
        super().__init__(ApartModule())

    def __call__(self, first, *others):
        result = np.arctan(first) + 0.3
        for other in others:
            result = result + np.sin(other) * 0.5
        return result


class Mixing(ModuleBody):
    """The same by NumPy, in double precision, so that edits can be held to tolerances below single precision."""

    def __init__(self):
        super().__init__(MixingModule())

    def __call__(self, first, *others):
        powers = np.exp(first - first.max(axis=1, keepdims=True))
        result = powers / powers.sum(axis=1, keepdims=True) * first.shape[1]
        for other in others:
            mean = np.tanh(other).mean(axis=tuple(range(1, other.ndim)))
            result = result * (1 + mean.reshape(-1, *[1] * (first.ndim - 1)))
        return result
