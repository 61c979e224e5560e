"""Activation-aware FLOPs: what a network computes where its sources are not zero (method.md section 5)."""

import numpy as np
import torch
from torch.nn import functional

from nestgraph.graph.geometry import output_size
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.lowering import lower
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Conv, OneToOne, Projection
from nestgraph.train.evidence import Recorder
from nestgraph.train.trainer import Split, Trainer

COUNTING_BATCH = 1024


def active_flops(network: Network, trainer: Trainer, split: Split) -> float:
    """FLOPs whose source output is not zero, the mean over a split's samples: at most `cost(network).total.flops`.

    2 for each multiply-accumulate, 1 for a fixed connection; convolutions count the positions that their area keeps,
    and what a kernel reads from the padding counts as zero.
    """
    shares = _active_shares(network, trainer, split)
    total = 0.0
    for name in network.projection_names:
        projection = network.projection(name)
        factor = 1 if isinstance(projection, OneToOne) and not projection.trained else 2
        total += factor * float((shares[projection.source] * readings(network, projection)).sum())
    return total


@torch.no_grad()
def _active_shares(network: Network, trainer: Trainer, split: Split) -> dict[str, AnyArray]:
    """By layer, the share of a split's samples for which each output is not zero, (units[, height, width])."""
    module = lower(network, device=trainer.device).eval()
    counts: dict[str, torch.Tensor] = {}
    samples = torch.from_numpy(getattr(trainer.dataset, split).inputs)
    if network.layer(network.input_names[0]).size is None:
        samples = samples.flatten(1)
    for part in torch.split(samples, COUNTING_BATCH):
        recorder = Recorder(module)
        recorder.run(part.to(trainer.device))
        for name in network.layer_names:
            counts[name] = counts.get(name, 0) + recorder.layer_output(name).count_nonzero(0)
    return {name: np.asarray(count.double().cpu()) / len(samples) for name, count in counts.items()}


def readings(structure: Structure, projection: Projection) -> AnyArray:
    """How often a projection multiplies each output of its source, (units[, height, width])."""
    if isinstance(projection, Conv):
        return _conv_readings(structure, projection)
    mask = structure.connection_columns(projection.name).mask
    return _link_readings(structure, projection, mask) if isinstance(projection, OneToOne) else mask.sum(axis=0)


def _conv_readings(structure: Structure, projection: Conv) -> AnyArray:
    columns, size = structure.connection_columns(projection.name), structure.layer(projection.target).size
    mask, area = columns.mask, columns.area
    if area is None or area.shape[1] == 1:
        kept = np.ones((len(mask), *(size or ()))) if area is None else area[:, 0]
        return _window_readings(structure, projection, mask, kept, groups=1)
    kernels, kept = (array.swapaxes(0, 1).reshape(-1, *array.shape[2:]) for array in (mask, area))
    return _window_readings(structure, projection, kernels[:, None], kept, groups=mask.shape[1])


def _link_readings(structure: Structure, projection: OneToOne, mask: AnyArray) -> AnyArray:
    columns, source = structure.connection_columns(projection.name), structure.unit_columns(projection.source)
    size = output_size(structure.layer(projection.source)) or ()
    if projection.kernel is None:
        by_link = mask.reshape(-1, *(1 for _ in size))
    else:
        kept = np.ones((len(mask), *(structure.layer(projection.target).size or ())))
        by_link = _window_readings(structure, projection, mask[:, None], kept, groups=len(mask))
    assert columns.links is not None
    total = np.zeros((len(source), *size))
    np.add.at(total, [source.position[unit] for unit in columns.links[:, 0].tolist()], by_link)
    return total


def _window_readings(
    structure: Structure, projection: Conv | OneToOne, kernels: AnyArray, kept: AnyArray, groups: int
) -> AnyArray:
    """(maps, height, width): how often kernels (results, maps / groups, ...) at the `kept` places read each place.

    It is the derivative of the sum of all results by the maps, where all weights are 1.
    """
    size = output_size(structure.layer(projection.source))
    weights, ones = torch.tensor(kernels, dtype=torch.float64), torch.tensor(kept, dtype=torch.float64)
    maps = torch.zeros((weights.shape[1] * groups, *(size or ())), dtype=torch.float64, requires_grad=True)
    sweep = (projection.stride, projection.padding, projection.dilation)
    with torch.enable_grad():
        results = functional.conv2d(maps, weights, None, *sweep, groups)
    return np.asarray(torch.autograd.grad(results, maps, ones)[0])
