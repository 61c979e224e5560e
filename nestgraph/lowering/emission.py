"""What emitters write into: an fx graph, and the tensors and modules that its nodes name.

torch.fx turns the names of nodes and targets into source code that it executes, so only generated names reach it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from nestgraph.graph import Structure
from nestgraph.graph.tying import Tie
from nestgraph.lowering.blocks import Blocks
from nestgraph.lowering.masking import MaskedWeight
from nestgraph.lowering.packing import Packing, Place, place
from nestgraph.lowering.paths import layer_paths, projection_paths
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Projection
from nestgraph.spec.arrays import AnyArray


@dataclass
class Emission:
    """A graph under construction.

    Attributes:
        network: what is being lowered.
        masked: whether trained weights are multiplied by their masks in the graph.
        kept: tensors of columns that an earlier module gives up, by the column's place (see `place`).
        kept_bodies: modules of opaque layers that it gives up, by layer.
        sparse: the projections that are computed by sparse matrices.
        slices: of how many samples at a time maxima of windows may be taken by slices: 0 where maps may have other
            sizes than the declared ones, and in training, as slices are slow to differentiate.
        graph: the nodes so far.
        tables: by name, the effective weights of lookups that others follow, as far as they are emitted.
        state: tensors and modules by dotted path.
    """

    network: Structure
    masked: bool
    kept: Mapping[Place, Tensor] = field(default_factory=dict[Place, Tensor])
    kept_bodies: Mapping[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    sparse: frozenset[str] = frozenset()
    slices: int = 0
    graph: fx.Graph = field(default_factory=fx.Graph)
    tables: dict[str, fx.Node] = field(default_factory=dict[str, fx.Node])
    state: dict[str, Tensor | nn.Module] = field(default_factory=dict[str, "Tensor | nn.Module"])

    @cached_property
    def layers(self) -> dict[str, str]:
        """The path of each layer."""
        return layer_paths(self.network)

    @cached_property
    def projections(self) -> dict[str, str]:
        """The path of each projection."""
        return projection_paths(self.network)

    def rooted(self) -> nn.Module:
        """The tensors and modules under a module of their own; its parts stand in the order in which they were kept.

        That order is the one of parameters and lasts through copies: sums over all of them, such as the norm that
        gradients are clipped by, depend on it to the last bit.
        """
        owners = {"": nn.Module()}

        def owner(path: str) -> nn.Module:
            if path not in owners:
                above, _, part = path.rpartition(".")
                owners[path] = nn.Module()
                owner(above).add_module(part, owners[path])
            return owners[path]

        for path in self.state:
            owner(path.partition(".")[0])
        for path, held in sorted(self.state.items(), key=lambda item: item[0].count(".")):  # stable: owners first
            above, _, field = path.rpartition(".")
            if isinstance(held, nn.Parameter | nn.Module):
                setattr(owner(above), field, held)
            else:
                owner(above).register_buffer(field, held)
            if isinstance(held, nn.Module):
                owners[path] = held
        return owners[""]

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> fx.Node:
        """Emit a call of a function."""
        return self.graph.call_function(function, arguments, options)

    def keep(self, path: str, tensor: Tensor) -> fx.Node:
        """Emit the reading of a parameter or buffer that the module will hold at `path`."""
        self.state[path] = tensor
        return self.graph.get_attr(path)

    def tensor(self, column: AnyArray, packing: Packing | None = None) -> Tensor:
        """A float tensor of a column, packed in a form: the kept one, or a copy."""
        if (kept := self.kept.get(place(column, packing))) is not None:
            return kept
        return as_tensor(column if packing is None else packing.weights(column))

    def parameter(self, column: AnyArray, packing: Packing | None = None) -> nn.Parameter:
        """A parameter that starts from a column: the kept one, or a new one."""
        values = self.tensor(column, packing)
        return values if isinstance(values, nn.Parameter) else nn.Parameter(values)

    def apply(self, path: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """Emit a call of a module that the module will hold at `path`."""
        self.state[path] = module
        return self.graph.call_module(path, (x,))

    def select(self, x: fx.Node, path: str, places: AnyArray, extent: int) -> fx.Node:
        """Emit the choice of units by position: a view where they follow each other, nothing where all are chosen."""
        first = int(places[0]) if len(places) else 0
        if len(places) and np.array_equal(places, np.arange(first, first + len(places))):
            return x if len(places) == extent else self.call(torch.narrow, x, 1, first, len(places))
        return self.call(torch.index_select, x, 1, self.keep(path, as_tensor(places, torch.int64)))

    def weight(self, projection: Projection, blocks: Blocks | None = None) -> fx.Node:
        """Emit the effective weight of a projection, in the shape of its columns, or packed in blocks.

        Trained weights are parameters; where some are dormant and the lowering is masked they are multiplied by the
        mask here, so that their gradients are 0 and no optimizer can revive them. Fixed weights are buffers. What
        follows a lookup reads the parameter of that, turned.
        """
        if (tie := Tie.of(self.network, projection.name)) is not None:
            return self._tied(tie, projection)
        return self._own_weight(projection, blocks)

    def _tied(self, tie: Tie, projection: Projection) -> fx.Node:
        """Emit one end of a table: the parameter, which is there once, or what it is to what follows it."""
        if tie.leader not in self.tables:
            self.tables[tie.leader] = self._own_weight(self.network.projection(tie.leader), None)
        table = self.tables[tie.leader]
        if projection.name == tie.leader:
            return table
        path, known = self.projections[projection.name], self.network.connection_columns(projection.name)
        rows = self.select(self.call(torch.select, table, 1, 0), f"{path}.classes", tie.classes, len(tie.targets))
        turned = self.call(torch.transpose, rows, 0, 1)
        turned = self.select(turned, f"{path}.units", tie.units, len(tie.sources))
        return turned if known.weight.ndim == 2 else self.call(torch.reshape, turned, known.weight.shape)

    def _own_weight(self, projection: Projection, blocks: Blocks | None) -> fx.Node:
        columns = self.network.connection_columns(projection.name)
        path = self.projections[projection.name]
        if not projection.learns:
            return self.keep(f"{path}.weight", as_tensor(columns.weight))
        weight = self.parameter(columns.weight, blocks)
        held = columns.mask.size if blocks is None else blocks.real.size * columns.mask[0, 0].size
        if not self.masked or columns.active == held:
            return self.keep(f"{path}.weight", weight)
        self.state[path] = MaskedWeight(weight, self.tensor(columns.mask, blocks))
        return self.graph.call_module(path)
