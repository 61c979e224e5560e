"""Gathering evidence: gradients of dormant connections, bridging gradients and activity, on batches of anything."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, cast

import numpy as np
import torch
from torch.fx import Interpreter, Node
from torch.nn import functional

from nestgraph.data.minibatch import Loss, Minibatch, present
from nestgraph.errors import TrainingError
from nestgraph.graph.network import Network
from nestgraph.loop.factors import Factors, fits, linear_maps
from nestgraph.loop.means import batch_loss, mass
from nestgraph.lowering import Slot, layer_nodes, lower, slots
from nestgraph.lowering.extents import convolved
from nestgraph.parallel.ranks import ALONE, Ranks
from nestgraph.parallel.reduced import reduce_statistics
from nestgraph.policies import Evidence, EvidenceKind, bridged_layers, possible_skips
from nestgraph.policies.evidence import Measured
from nestgraph.policies.factored import Factored
from nestgraph.policies.ranking import row_blocks
from nestgraph.spec.arguments import AtLeastOne, checked
from nestgraph.spec.projection import Dense
from nestgraph.spec.randomness import Seed
from nestgraph.spec.wording import quoted
from nestgraph.tasks.task import Task

OF_LOSS = frozenset({"gradients", "bridges", "skips", "saliency"})
"""Kinds of evidence that are derivatives of the mean loss."""
RESPONSES = 2**24
"""About how many responses of pairs of maps to hold at once."""


@checked(TrainingError)
def gather(
    network: Network,
    batches: Iterable[Any],
    loss: Loss | Task,
    needs: Collection[EvidenceKind],
    *,
    seed: Seed = 0,
    device: str | torch.device = "cpu",
    trial: AtLeastOne = 8,
    ranks: Ranks = ALONE,
) -> Evidence:
    """Measure what policies need, in one pass over batches of any task.

    The network is lowered without masks: dormant weights are 0, so the output is the same, and the gradients of the
    parameters are those of all possible connections. Torch's generators stay as they are.

    Args:
        network: the network; it does not change.
        batches: of (inputs, targets) or (inputs, targets, weights), arrays or tensors; several inputs are a tuple. Such
            as a DataLoader, a list or a generator, which is read once.
        loss: gives the mean loss of a batch for outputs and targets (and weights), such as `functional.mse_loss`; or a
            task. Where batches have weights, their means count by the sums of these.
        needs: the kinds to measure, such as a policy's `needs`.
        seed: of dropout.
        device: where to compute.
        trial: how many batches networks are tried on, where "trial" is needed; the first ones.
        ranks: the processes that each give their share of every batch, and get the means over all samples. Trials are
            of this process's batches alone.

    Returns:
        Means over the samples. Without needs, nothing is read.

    Raises:
        TrainingError: there is no batch, a batch is none or does not fit network or loss, the loss is no scalar,
            targets would broadcast, what is measured is not finite, or the device is not there.
    """
    unknown = [kind for kind in needs if kind not in (*MEASURES, "trial")]
    if unknown:
        expected = ", ".join((*MEASURES, "trial"))
        raise TrainingError(f"gather expected needs among {expected}, got {quoted(unknown[0])}")
    where = present(device)
    read = (Minibatch.of(each, len(network.inputs), where) for each in batches)
    tried = list(islice(read, trial)) if "trial" in needs else []
    kinds: list[EvidenceKind] = [kind for kind in needs if kind in MEASURES]
    found = _means(network, chain(tried, read), loss, kinds, seed, where, ranks) if kinds else Evidence()
    if "trial" not in needs:
        return found
    if not tried:
        raise TrainingError(NO_BATCH)
    count = found.samples or sum(batch.samples for batch in tried)

    def slopes(network: Network) -> Mapping[str, Measured]:
        return _means(network, tried, loss, ["gradients"], seed, where).gradients

    return replace(found, loss=_trial(tried, loss, seed, where), slopes=slopes, samples=count)


NO_BATCH = "gather expected at least one batch, got none: a generator can be read only once"


def _means(
    network: Network,
    batches: Iterable[Minibatch],
    loss: Loss | Task,
    kinds: Sequence[EvidenceKind],
    seed: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Evidence:
    """The means of some kinds over all samples."""
    module = lower(network, device=device, masked=False, fuse=False)
    if ranks.several:
        reduce_statistics(module)
    sums: dict[EvidenceKind, dict[str, Mean]] = {kind: {} for kind in kinds}
    layers, maps = bool({*kinds} - {"gradients"}), linear_maps(network, module) if "gradients" in kinds else None
    samples, masses = 0, dict.fromkeys(kinds, 0.0)
    with torch.random.fork_rng():  # for dropout
        torch.manual_seed(ranks.own_seed(seed))
        for batch in batches:
            module.zero_grad(set_to_none=True)
            recorder = Recorder(module, layers, maps, sums.get("gradients", {}))
            own = mass(batch, loss)
            whole = ranks.meet(own)
            value = batch_loss(batch, recorder.run, loss)
            (value * (own / (whole or 1.0)) if ranks.several else value).backward()
            for kind, found in sums.items():
                of_loss = kind in OF_LOSS
                masses[kind] += own if of_loss else batch.samples
                for name, mean in MEASURES[kind](network, recorder):
                    found[name] = _added(found.get(name), mean, whole if of_loss else batch.samples)
            samples += batch.samples
    if not samples:
        raise TrainingError(NO_BATCH)
    if ranks.several:
        samples = round(ranks.meet(samples))
        masses = {kind: ranks.meet(masses[kind]) for kind in kinds}
        for kind in sorted(kinds):
            _sum_up(ranks, sums[kind])
    means = {kind: {n: _mean(found.pop(n), masses[kind]) for n in list(found)} for kind, found in sums.items()}
    for kind, found in means.items():
        if wrong := [name for name, values in found.items() if not _is_finite(values)]:
            remedy = "look for infinite values and NaN in the batches, or scale them"
            raise TrainingError(f"gather expected finite {kind}, got NaN or infinity in {wrong[0]!r}: {remedy}")
    return Evidence(**cast(Any, means), samples=samples)


def _added(before: "Mean | None", mean: "Mean", counted: float) -> "Mean":
    """A sum with the mean of one more batch, times what that counts; factors stay factors among their like."""
    if isinstance(mean, Factors):
        mean = mean.counting(counted)
        return before.plus(mean) if isinstance(before, Factors) else mean
    total = mean.mul_(counted)  # in place, as the sum is: these are as large as all weights
    return total if before is None else (before.whole() if isinstance(before, Factors) else before).add_(total)


def _sum_up(ranks: Ranks, found: dict[str, "Mean"]) -> None:
    """Add up sums over all processes: tensors as they are, factors by putting their rows together while they fit."""
    small = {name: mean.rows for name, mean in found.items() if isinstance(mean, Factors)}
    everyone = ranks.gathered(small)
    for name in sorted(found):
        mean, rows = found[name], [other.get(name) for other in everyone]
        if isinstance(mean, Factors):
            if None not in rows and fits(mean.shape, sum(filter(None, rows))):
                found[name] = mean.together(ranks, [row or 0 for row in rows])
                continue
            mean = mean.whole()
        ranks.sum_up([mean])
        found[name] = mean


def _mean(total: "Mean", mass: float) -> Measured:
    return total.mean(mass) if isinstance(total, Factors) else total.div_(mass).cpu().numpy()


def _is_finite(measured: Measured) -> bool:
    if isinstance(measured, Factored):
        return measured.finite
    return all(bool(np.isfinite(measured[rows]).all()) for rows in row_blocks(measured.shape))


def _trial(
    batches: Sequence[Minibatch], loss: Loss | Task, seed: int, device: torch.device
) -> Callable[[Network], float]:
    """What tries networks: the loss of the training pass, on the same batches each time."""
    masses = [mass(batch, loss) for batch in batches]

    @torch.no_grad()
    def tried(network: Network) -> float:
        module = lower(network, device=device, fuse=False)
        with torch.random.fork_rng():  # for dropout
            torch.manual_seed(seed)
            losses = [
                counted * float(batch_loss(batch, module, loss)) for batch, counted in zip(batches, masses, strict=True)
            ]
        return sum(losses) / sum(masses)

    return tried


class Recorder(Interpreter):
    """Runs a lowered module and keeps each layer's sum (with its gradient) and output, and factors of gradients.

    Args:
        module: it.
        layers: whether to keep sums and outputs of layers.
        maps: what are linear maps, by their weights: where the factors of a gradient are small, they are kept and the
            weight has none.
        before: what is known of gradients from earlier batches.
    """

    def __init__(
        self,
        module: torch.fx.GraphModule,
        layers: bool = True,
        maps: Mapping[Node, Slot] | None = None,
        before: "Mapping[str, Mean] | None" = None,
    ) -> None:
        super().__init__(module)
        self.nodes = layer_nodes(module)
        self.values: dict[Node, torch.Tensor] = {}
        self._kept = {node for nodes in self.nodes.values() for node in (nodes.sum, nodes.output) if node and layers}
        self._maps, self._before, self._given = maps or {}, before or {}, set[int]()
        self._factors: dict[str, tuple[torch.Size, torch.Tensor, torch.Tensor]] = {}

    def run_node(self, n: Node) -> Any:
        """The node's value, kept if it is a layer's sum or output."""
        value = self._mapped(n) if n in self._maps else super().run_node(n)
        if n.op == "placeholder":
            self._given.add(value.untyped_storage().data_ptr())
        if n in self._kept:
            self.values[n] = value
            if value.requires_grad:
                value.retain_grad()
        return value

    def _mapped(self, node: Node) -> torch.Tensor:
        """What a linear map gives; a weight whose gradient is known by factors needs none of its own."""
        (source, weight, *bias), _ = self.fetch_args_kwargs_from_env(node)
        read, slot = source.detach().flatten(0, -2), self._maps[node]
        before, shape = self._before.get(slot.owner), slot.tensor(self.module).shape
        rows = len(read) + (before.rows if isinstance(before, Factors) else 0)
        if isinstance(before, torch.Tensor) or not fits(shape, rows):
            return super().run_node(node)
        value = functional.linear(source, weight.detach(), *bias)
        if not value.requires_grad:  # the first map of a network
            value.requires_grad_()
        value.retain_grad()
        shared = read.untyped_storage().data_ptr() in self._given  # who gives batches may fill the same memory again
        self._factors[slot.owner] = shape, value, read.clone() if shared else read
        return value

    def factors(self, projection: str) -> Factors | None:
        """The factors of dL/dW of a projection after the backward pass, if they were kept."""
        if projection not in self._factors:
            return None
        shape, value, read = self._factors[projection]
        slope = torch.zeros_like(value) if value.grad is None else value.grad
        return Factors(shape, ((1.0, slope.detach().flatten(0, -2), read),))

    def layer_output(self, layer: str) -> torch.Tensor:
        """A layer's output, (batch, units, *size)."""
        return self.values[self.nodes[layer].output].detach()

    def output_gradient(self, layer: str) -> torch.Tensor:
        """dL/d(output) of a layer, the shape of it, after the backward pass; 0 where no gradient comes back."""
        value = self.values[self.nodes[layer].output]
        gradient = value.grad if value.requires_grad else None
        return torch.zeros_like(value) if gradient is None else gradient

    def sum_gradient(self, layer: str) -> torch.Tensor:
        """dL/du of a layer's sum, the shape of its output, after the backward pass; 0 where no gradient comes back."""
        node = self.nodes[layer].sum
        assert node is not None, "inputs have no sum"
        gradient = self.values[node].grad
        return torch.zeros_like(self.values[node]) if gradient is None else gradient


Mean = torch.Tensor | Factors
Means = Iterator[tuple[str, Mean]]
"""Means over the samples of a batch, by layer or projection."""


def _gradients(network: Network, recorder: Recorder) -> Means:
    for slot in slots(network):
        if slot.is_weight and (factors := recorder.factors(slot.owner)) is not None:
            yield slot.owner, factors
        elif slot.is_weight:  # behind an opaque layer that cannot be differentiated there is no gradient
            weight = slot.tensor(recorder.module)
            yield slot.owner, torch.zeros_like(weight) if weight.grad is None else weight.grad


def _bridges(network: Network, recorder: Recorder) -> Means:
    for layer, (before, after) in bridged_layers(network).items():
        gradient, source = recorder.sum_gradient(after.target), recorder.layer_output(before.source)
        if isinstance(before, Dense):
            yield layer, gradient.T @ source.flatten(1)
        else:  # the same at each place
            yield layer, torch.einsum("bmp,bnp->mn", gradient.flatten(2), source.flatten(2))


def _skips(network: Network, recorder: Recorder) -> Means:
    for skip in possible_skips(network):
        source = recorder.layer_output(skip.source)
        gradient = recorder.sum_gradient(skip.target).T @ source.flatten(1)
        yield skip.name, gradient.unflatten(1, source.shape[1:])


def _activity(network: Network, recorder: Recorder) -> Means:
    for layer in network.layer_names:
        output = recorder.layer_output(layer).abs()
        yield layer, output.mean((0, *range(2, output.ndim)))


def _saliency(network: Network, recorder: Recorder) -> Means:
    for layer in network.layer_names:
        moved = recorder.layer_output(layer) * recorder.output_gradient(layer)
        yield layer, (moved.flatten(2).sum(2) if moved.ndim > 2 else moved).abs().sum(0)


def _responses(network: Network, recorder: Recorder) -> Means:
    weights = {slot.owner: slot.tensor(recorder.module).detach() for slot in slots(network) if slot.is_weight}
    for name, weight in weights.items():
        projection = network.projection(name)
        if projection.areas:
            mean = _mean_responses(projection, recorder.layer_output(projection.source), weight)
            kept = network.connection_columns(name).kept(tuple(mean.shape[2:]))
            yield name, mean * torch.tensor(kept, device=mean.device)


def _mean_responses(projection: Any, source: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(out, in, *size): the mean |response| of each pair of maps over the samples of a batch.

    A convolution with a group for each input map, on so many samples at once that memory stays bounded.
    """
    maps, kernels = source.shape[1], weight.transpose(0, 1).flatten(0, 1).unsqueeze(1)
    count = max(1, RESPONSES // (len(kernels) * source[0, 0].numel()))
    parts = torch.split(source, count)

    def apart(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    sums = [convolved(apart, projection, part, kernels, groups=maps).abs_().sum(0) for part in parts]
    total = torch.stack(sums).sum(0)
    return total.reshape(maps, -1, *total.shape[1:]).transpose(0, 1) / len(source)


MEASURES: Mapping[EvidenceKind, Callable[[Network, Recorder], Means]] = {
    "gradients": _gradients,
    "bridges": _bridges,
    "skips": _skips,
    "activity": _activity,
    "saliency": _saliency,
    "responses": _responses,
}
