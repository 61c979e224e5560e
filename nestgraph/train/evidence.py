"""Gathering evidence: gradients of dormant connections, bridging gradients and activity, on training batches."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch.fx import Interpreter, Node

from nestgraph.graph.network import Network
from nestgraph.lowering import layer_nodes, lower, slots
from nestgraph.policies import Evidence, EvidenceKind, bridged_layers
from nestgraph.spec.arrays import AnyArray
from nestgraph.train.trainer import Trainer


def gather(
    network: Network,
    trainer: Trainer,
    needs: Collection[EvidenceKind],
    batches: int | None,
    index: int,
) -> Evidence:
    """Measure the kinds of evidence in `needs` on the training split.

    The network is lowered without masks: dormant weights are 0, so the output is the same, and the gradients of the
    parameters are those of all possible connections.

    Args:
        network: the network; it does not change.
        trainer: holds the data and the loss.
        needs: the kinds to measure.
        batches: how many training batches to average over; None for the whole split.
        index: tells the drawing of batches apart from others of the run.
    """
    if not needs:
        return Evidence()
    module = lower(network, device=str(trainer.device), masked=False)
    module.train()
    sums = _Sums(network, needs)
    samples = 0
    for inputs, labels in trainer.batches(network, batches, "evidence", index):
        module.zero_grad(set_to_none=True)
        recorder = _Recorder(module)
        loss = trainer.loss(recorder.run(inputs), labels)
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        sums.add(recorder, dict(module.named_parameters()), len(labels))
        samples += len(labels)
    return sums.mean(samples)


class _Recorder(Interpreter):
    """Runs a lowered module and keeps each layer's sum (with its gradient) and output."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.nodes = layer_nodes(module)
        self.values: dict[Node, torch.Tensor] = {}
        self._kept = {node for nodes in self.nodes.values() for node in (nodes.sum, nodes.output) if node}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n in self._kept:
            self.values[n] = value
            if value.requires_grad:
                value.retain_grad()
        return value

    def layer_output(self, layer: str) -> torch.Tensor:
        """A layer's output, (batch, units[, height, width])."""
        return self.values[self.nodes[layer].output]

    def sum_gradient(self, layer: str) -> torch.Tensor:
        """dL/du of a layer's sum, the shape of its output, after the backward pass."""
        node = self.nodes[layer].sum
        gradient = self.values[node].grad if node else None
        assert gradient is not None
        return gradient


class _Sums:
    """Running sums over samples, in the terms of `Evidence`."""

    def __init__(self, network: Network, needs: Collection[EvidenceKind]) -> None:
        self._network = network
        self._needs = needs
        self._sums: dict[tuple[str, str], torch.Tensor] = {}

    def add(self, recorder: _Recorder, parameters: Mapping[str, torch.Tensor], count: int) -> None:
        """Take in a batch of `count` samples whose mean loss was propagated back."""
        if "gradients" in self._needs:
            for slot in slots(self._network):
                gradient = parameters[slot.path].grad if slot.is_weight else None
                if gradient is not None:
                    self._add("gradients", slot.owner, gradient * count)
        if "bridges" in self._needs:
            for layer, (before, after) in bridged_layers(self._network).items():
                source = recorder.layer_output(before.source).detach().flatten(1)
                self._add("bridges", layer, count * recorder.sum_gradient(after.target).T @ source)
        if "activity" in self._needs:
            for layer in recorder.nodes:
                output = recorder.layer_output(layer).detach().abs()
                self._add("activity", layer, output.flatten(2).mean(2).sum(0) if output.ndim > 2 else output.sum(0))

    def _add(self, kind: str, name: str, value: torch.Tensor) -> None:
        self._sums[kind, name] = self._sums[kind, name] + value if (kind, name) in self._sums else value

    def mean(self, samples: int) -> Evidence:
        """The means as arrays; weights in the shape of their columns."""
        arrays = {key: np.asarray((value / samples).cpu()) for key, value in self._sums.items()}
        gradients = {
            name: array.reshape(self._network.connection_columns(name).weight.shape)
            for name, array in _of(arrays, "gradients").items()
        }
        return Evidence(gradients, _of(arrays, "bridges"), _of(arrays, "activity"), samples)


def _of(arrays: Mapping[tuple[str, str], AnyArray], kind: str) -> dict[str, AnyArray]:
    return {name: array for (of, name), array in arrays.items() if of == kind}
