"""Activation-aware FLOPs: what a network computes where its sources are not zero (method.md section 5)."""

import numpy as np
import torch

from nestgraph.graph.network import Network
from nestgraph.graph.readings import readings
from nestgraph.loop.evidence import Recorder
from nestgraph.loop.trainer import Split, Trainer, computed
from nestgraph.lowering import lower
from nestgraph.spec.arrays import AnyArray

COUNTING_BATCH = 1024


def active_flops(network: Network, trainer: Trainer, split: Split) -> float:
    """FLOPs whose source output is not zero, the mean over a split's samples: at most `cost(network).total.flops`.

    2 for each multiply-accumulate, 1 for a fixed connection or a gate; convolutions count the positions that their area
    keeps, and what a kernel reads from the padding counts as zero.
    """
    shares = _active_shares(network, trainer, split)
    total = 0.0
    for name in network.projection_names:
        projection = network.projection(name)
        total += projection.flops * float((shares[projection.source] * readings(network, name)).sum())
    return total


@torch.no_grad()
def _active_shares(network: Network, trainer: Trainer, split: Split) -> dict[str, AnyArray]:
    """By layer, the share of a split's samples for which each output is not zero, (units, *size)."""
    module = lower(network, device=trainer.device, fuse=False).eval()
    counts: dict[str, torch.Tensor] = {}
    samples = 0
    for inputs, *_ in trainer.samples(network, split, COUNTING_BATCH):
        recorder = Recorder(module)
        computed(recorder.run, inputs)
        samples += len(recorder.layer_output(network.input_names[0]))
        for name in network.layer_names:
            counts[name] = counts.get(name, 0) + recorder.layer_output(name).count_nonzero(0)
    return {name: np.asarray(count.double().cpu()) / samples for name, count in counts.items()}
