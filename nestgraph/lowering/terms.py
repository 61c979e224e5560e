"""What the emitters of a compact module write into, and the parts that they write."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx, nn

from nestgraph.graph.heads import summed_size
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import CONVOLUTION_MODULES, TRANSPOSED_MODULES, Convolution, by_unit
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Conv, OneToOne, Projection
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Extents

CALL = 2**15
"""Multiplications in a matrix that take as long as the call that chooses units."""

ENTRY = 4
"""Multiplications in a matrix that take as long as choosing one value. With 784 inputs of which 400 are used, choosing
takes 2 us of the 23 us that 300 rows take, and saves 5; with 60 rows it saves nothing before batches of 2 or more."""


@dataclass
class CompactEmission(Emission):
    """A compact graph under construction.

    Attributes:
        offsets: by layer, (units, *size): constants to add to its sums.
        batch: the number of samples that the module is made for; it takes any.
    """

    masked: bool = False
    offsets: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    batch: int = 1

    def pays(self, saved: int, chosen: int) -> bool:
        """Whether choosing values is quicker than the multiplications that it saves in each sample."""
        return self.batch * (saved - ENTRY * chosen) > CALL

    def choose(self, x: fx.Node, path: str, places: AnyArray, extent: int) -> fx.Node:
        """Emit the choice of units by position: nothing, a slice, or an index."""
        first = int(places[0])
        if np.array_equal(places, np.arange(first, first + len(places))):
            return x if len(places) == extent else self.call(torch.narrow, x, 1, first, len(places))
        return self.select(x, path, places, extent)


@dataclass(frozen=True, eq=False)
class Term:
    """A part of a sum.

    Attributes:
        node: (batch, rows, *size).
        rows: positions of the target units that it belongs to, ascending.
        biased: whether it has the bias of these units in it.
    """

    node: fx.Node
    rows: AnyArray
    biased: bool = False


def rows_of(emission: Emission, projection: Projection) -> AnyArray:
    """The positions of the target units that a projection feeds, ascending."""
    columns, ends = emission.network.wired(projection.name)
    return np.flatnonzero(columns.touched(columns.edges, 0, ends))


def by_place(emission: Emission, layer: str, values: AnyArray) -> Tensor:
    """A tensor of values of units that broadcasts over a layer's sums."""
    return as_tensor(values.reshape(by_unit(summed_size(emission.network, layer))))


def convolution(
    projection: Conv | OneToOne, into: int, out: int, bias: bool, padding: Extents, groups: int = 1
) -> Convolution:
    """A convolution without weights, which `filled` gives it."""
    assert projection.kernel is not None
    more = {"output_padding": projection.output_padding or 0} if projection.transposed else {}
    modules = TRANSPOSED_MODULES if projection.transposed else CONVOLUTION_MODULES
    return modules[len(projection.kernel)](
        into,
        out,
        projection.kernel,
        projection.stride,
        padding,
        dilation=projection.dilation,
        groups=groups,
        bias=bias,
        device="meta",  # without drawing random weights, which would disturb who trains beside
        **more,
    )


def filled(module: nn.Linear | Convolution, weight: AnyArray, bias: AnyArray | None) -> nn.Module:
    """A module that multiplies by given weights (out, in / groups, *kernel), and adds a bias if there is one."""
    if not isinstance(module, nn.Linear) and module.transposed:  # such have (in, out / groups, *kernel)
        groups = weight.reshape(module.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        weight = groups.reshape(-1, *groups.shape[2:])
    assert module.weight.shape == weight.shape
    module.weight = nn.Parameter(as_tensor(weight), requires_grad=False)
    if bias is not None:
        module.bias = nn.Parameter(as_tensor(bias), requires_grad=False)
    return module
