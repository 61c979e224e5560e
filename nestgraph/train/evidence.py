"""Gathering evidence: gradients of dormant connections, bridging gradients and activity, on training batches."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.fx import Interpreter, Node

from nestgraph.graph.network import Network
from nestgraph.lowering import layer_nodes, lower, slots
from nestgraph.policies import Evidence, EvidenceKind, bridged_layers
from nestgraph.train.randomness import derived_seed
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
    module = lower(network, device=trainer.device, masked=False)
    sums: dict[EvidenceKind, dict[str, torch.Tensor]] = {kind: {} for kind in needs}
    samples = 0
    with torch.random.fork_rng():  # for dropout
        torch.manual_seed(derived_seed(trainer.seed, "evidence", index))
        for inputs, labels in trainer.batches(network, batches, "evidence", index):
            module.zero_grad(set_to_none=True)
            recorder = _Recorder(module)
            trainer.loss(recorder.run(inputs), labels).backward()
            for kind, found in sums.items():
                for name, mean in MEASURES[kind](network, recorder):
                    found[name] = found.get(name, 0) + len(labels) * mean
            samples += len(labels)
    means = {kind: {name: np.asarray((v / samples).cpu()) for name, v in found.items()} for kind, found in sums.items()}
    return Evidence(**means, samples=samples)


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
        return self.values[self.nodes[layer].output].detach()

    def sum_gradient(self, layer: str) -> torch.Tensor:
        """dL/du of a layer's sum, the shape of its output, after the backward pass."""
        node = self.nodes[layer].sum
        gradient = self.values[node].grad if node else None
        assert gradient is not None
        return gradient


Means = Iterator[tuple[str, torch.Tensor]]
"""Means over the samples of a batch, by layer or projection."""


def _gradients(network: Network, recorder: _Recorder) -> Means:
    for slot in slots(network):
        gradient = slot.tensor(recorder.module).grad if slot.is_weight else None
        if gradient is not None:
            yield slot.owner, gradient


def _bridges(network: Network, recorder: _Recorder) -> Means:
    for layer, (before, after) in bridged_layers(network).items():
        yield layer, recorder.sum_gradient(after.target).T @ recorder.layer_output(before.source).flatten(1)


def _activity(network: Network, recorder: _Recorder) -> Means:
    for layer in network.layer_names:
        output = recorder.layer_output(layer).abs()
        yield layer, output.mean((0, *range(2, output.ndim)))


MEASURES: Mapping[EvidenceKind, Callable[[Network, _Recorder], Means]] = {
    "gradients": _gradients,
    "bridges": _bridges,
    "activity": _activity,
}
