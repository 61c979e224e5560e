"""Memory that a step of training needs at least, and what there is: a run that cannot fit is refused first."""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch

from nestgraph.errors import TrainingError
from nestgraph.graph.geometry import output_size
from nestgraph.graph.network import Network
from nestgraph.recipes.recipe import TrainingOptions

BYTES = 4
"""Of a number in 32 bits."""

MOMENTS: Mapping[str, int] = {"sgd": 1, "adam": 2, "adamw": 2, "muon": 1, "adafactor": 0, "rmsprop": 1}
"""Tensors of a weight's shape that an optimizer keeps, at least."""


def check_memory(network: Network, options: TrainingOptions, samples: int, device: torch.device) -> None:
    """Refuse to train what cannot fit.

    Args:
        network: where training begins.
        options: of training.
        samples: in the training split.
        device: where it would be.

    Raises:
        TrainingError: a step needs more memory than there is.
    """
    needed, there = step_memory(network, options, samples), available(device)
    if there is not None and needed > there:
        raise TrainingError(
            f"training expected at least {needed / 1e9:,.1f} GB for a step of {_batch(options, samples):,} samples, "
            f"got {there / 1e9:,.1f} GB free on {device}: lower training.batch_size and raise training.accumulate, or "
            "begin with a smaller network"
        )


def step_memory(network: Network, options: TrainingOptions, samples: int) -> int:
    """Bytes that a step takes at least: weights with gradients and moments, what layers give with its gradients."""
    own = (p.name for p in network.projections_by_name.values() if p.follows is None)
    weights = sum(network.connection_columns(name).weight.size for name in own)
    weights += sum(column.size for name in network.layer_names for column in network.unit_columns(name).values.values())
    copies = 2 + MOMENTS[options.optimizer] + (options.ema is not None)
    values = sum(len(network.units(name)) * _places(network, name) for name in network.layer_names)
    given = 2 * values * _batch(options, samples) * (BYTES if options.precision == "float32" else BYTES // 2)
    return weights * copies * BYTES + given


def available(device: torch.device) -> int | None:
    """Bytes that a device has left, for this process; None where that is unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [each for each in (_of_system(), _of_group()) if each is not None]
    return min(found, default=None)


def _batch(options: TrainingOptions, samples: int) -> int:
    return min(options.batch_size, samples)


def _places(network: Network, layer: str) -> int:
    return math.prod(output_size(network.layer(layer)) or ())


def _of_system() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _of_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit leaves."""
    with suppress(OSError, ValueError):
        return int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    return None
