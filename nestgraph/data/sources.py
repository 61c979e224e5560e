"""Where a trainer's images come from: a tensor on its device, or files that are decoded as they are read."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from nestgraph.data.samples import Samples, StreamedSamples


class Source(Protocol):
    """The images and targets of a split.

    Attributes:
        targets: (samples,) or (samples, width), on the trainer's device.
        together: how many training batches to read and vary at a time.
    """

    targets: torch.Tensor
    together: int

    def images(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The images at the places of each batch, one batch after the other; float32 in [0, 1], on the device."""
        ...


class HeldImages:
    """Samples that lie on the device."""

    together = 4  # the fixed cost of a call is as much as 128 small images take

    def __init__(self, samples: Samples, device: torch.device) -> None:
        self.targets = torch.from_numpy(samples.targets).to(device)
        self._inputs = torch.from_numpy(samples.parts[0]).to(device)

    def images(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """See `Source`."""
        return (self._inputs[batch] for batch in batches)


class StreamedImages:
    """Samples that are files; they come larger than the network sees them, for random crops."""

    together = 1

    def __init__(self, samples: StreamedSamples, device: torch.device) -> None:
        self.targets = torch.from_numpy(samples.targets).to(device)
        self._samples, self._device = samples, device

    def images(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """See `Source`."""
        for squares in self._samples.stream([batch.cpu().numpy() for batch in batches]):
            yield torch.from_numpy(squares).to(self._device).float().div_(255)


def source(samples: Samples | StreamedSamples, device: torch.device) -> Source:
    """The source of a split."""
    return HeldImages(samples, device) if isinstance(samples, Samples) else StreamedImages(samples, device)
