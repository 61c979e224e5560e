"""Gathering evidence: gradients of dormant connections, bridging gradients and activity, on training batches."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.fx import Interpreter, Node
from torch.nn import functional

from nestgraph.graph.network import Network
from nestgraph.lowering import layer_nodes, lower, slots
from nestgraph.policies import Evidence, EvidenceKind, bridged_layers, possible_skips
from nestgraph.policies.evidence import unknown_loss
from nestgraph.spec.projection import Conv
from nestgraph.train.randomness import derived_seed
from nestgraph.train.trainer import Trainer

TRIAL_BATCHES = 8
RESPONSES = 2**24
"""About how many responses of pairs of maps to hold at once."""


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
        batches: how many training batches to average over; None for the whole split (for trials, a few batches).
        index: tells the drawing of batches apart from others of the run.
    """
    loss = _trial(network, trainer, batches, index) if "trial" in needs else unknown_loss
    measured: list[EvidenceKind] = [kind for kind in needs if kind in MEASURES]
    if not measured:
        return Evidence(loss=loss)
    module = lower(network, device=trainer.device, masked=False)
    sums: dict[EvidenceKind, dict[str, torch.Tensor]] = {kind: {} for kind in measured}
    samples = 0
    with torch.random.fork_rng():  # for dropout
        torch.manual_seed(derived_seed(trainer.seed, "evidence", index))
        for inputs, labels in trainer.batches(network, batches, "evidence", index):
            module.zero_grad(set_to_none=True)
            recorder = Recorder(module)
            trainer.loss(recorder.run(inputs), labels).backward()
            for kind, found in sums.items():
                for name, mean in MEASURES[kind](network, recorder):
                    total = mean.mul_(len(labels))  # in place, as the sum is: these are as large as all weights
                    found[name] = found[name].add_(total) if name in found else total
            samples += len(labels)
    means = {kind: {name: np.asarray((v / samples).cpu()) for name, v in found.items()} for kind, found in sums.items()}
    return Evidence(**means, loss=loss, samples=samples)


def _trial(network: Network, trainer: Trainer, batches: int | None, index: int) -> Callable[[Network], float]:
    """What tries networks: the loss of the training pass, on the same training batches each time."""
    parts = list(trainer.batches(network, batches or TRIAL_BATCHES, "trial", index))

    @torch.no_grad()
    def loss(tried: Network) -> float:
        module = lower(tried, device=trainer.device)
        with torch.random.fork_rng():  # for dropout
            torch.manual_seed(derived_seed(trainer.seed, "trial", index))
            losses = [len(labels) * float(trainer.loss(module(inputs), labels)) for inputs, labels in parts]
        return sum(losses) / sum(len(labels) for _, labels in parts)

    return loss


class Recorder(Interpreter):
    """Runs a lowered module and keeps each layer's sum (with its gradient) and output."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.nodes = layer_nodes(module)
        self.values: dict[Node, torch.Tensor] = {}
        self._kept = {node for nodes in self.nodes.values() for node in (nodes.sum, nodes.output) if node}

    def run_node(self, n: Node) -> Any:
        """The node's value, kept if it is a layer's sum or output."""
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
        """dL/du of a layer's sum, the shape of its output, after the backward pass; 0 where no gradient comes back."""
        node = self.nodes[layer].sum
        assert node is not None, "inputs have no sum"
        gradient = self.values[node].grad
        return torch.zeros_like(self.values[node]) if gradient is None else gradient


Means = Iterator[tuple[str, torch.Tensor]]
"""Means over the samples of a batch, by layer or projection."""


def _gradients(network: Network, recorder: Recorder) -> Means:
    for slot in slots(network):
        if slot.is_weight:  # behind an opaque layer that cannot be differentiated there is no gradient
            weight = slot.tensor(recorder.module)
            yield slot.owner, torch.zeros_like(weight) if weight.grad is None else weight.grad


def _bridges(network: Network, recorder: Recorder) -> Means:
    for layer, (before, after) in bridged_layers(network).items():
        yield layer, recorder.sum_gradient(after.target).T @ recorder.layer_output(before.source).flatten(1)


def _skips(network: Network, recorder: Recorder) -> Means:
    for skip in possible_skips(network):
        source = recorder.layer_output(skip.source)
        gradient = recorder.sum_gradient(skip.target).T @ source.flatten(1)
        yield skip.name, gradient.unflatten(1, source.shape[1:])


def _activity(network: Network, recorder: Recorder) -> Means:
    for layer in network.layer_names:
        output = recorder.layer_output(layer).abs()
        yield layer, output.mean((0, *range(2, output.ndim)))


def _responses(network: Network, recorder: Recorder) -> Means:
    weights = {slot.owner: slot.tensor(recorder.module).detach() for slot in slots(network) if slot.is_weight}
    for name, weight in weights.items():
        projection = network.projection(name)
        if isinstance(projection, Conv):
            mean = _mean_responses(projection, recorder.layer_output(projection.source), weight)
            area = network.connection_columns(name).area
            yield name, mean if area is None else mean * torch.tensor(area, device=mean.device)


def _mean_responses(projection: Conv, source: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(out, in, P, Q): the mean |response| of each pair of maps over the samples of a batch.

    A convolution with a group for each input map, on so many samples at once that memory stays bounded.
    """
    maps, kernels = source.shape[1], weight.transpose(0, 1).flatten(0, 1).unsqueeze(1)
    count = max(1, RESPONSES // (len(kernels) * source[0, 0].numel()))
    sweep = (projection.stride, projection.padding, projection.dilation)
    sums = [functional.conv2d(part, kernels, None, *sweep, maps).abs_().sum(0) for part in torch.split(source, count)]
    total = torch.stack(sums).sum(0)
    return total.reshape(maps, -1, *total.shape[1:]).transpose(0, 1) / len(source)


MEASURES: Mapping[EvidenceKind, Callable[[Network, Recorder], Means]] = {
    "gradients": _gradients,
    "bridges": _bridges,
    "skips": _skips,
    "activity": _activity,
    "responses": _responses,
}
