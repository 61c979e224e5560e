"""Where samples come from that can be asked for by their place: tensors on a device, or files that are decoded."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from nestgraph.data.samples import Samples, StreamedSamples

Inputs = tuple[torch.Tensor, ...]


class Source(Protocol):
    """The inputs of a split.

    Attributes:
        together: how many training batches to read and vary at a time.
    """

    together: int

    def inputs(self, batches: Sequence[torch.Tensor]) -> Iterator[Inputs]:
        """The inputs at the places of each batch, one batch after the other; float32, on the device."""
        ...


class HeldInputs:
    """Samples that lie on the device."""

    together = 4  # the fixed cost of a call is as much as 128 small images take

    def __init__(self, samples: Samples, device: torch.device) -> None:
        self._parts = tuple(torch.from_numpy(part).to(device) for part in samples.parts)

    def inputs(self, batches: Sequence[torch.Tensor]) -> Iterator[Inputs]:
        """See `Source`."""
        return (tuple(part.index_select(0, batch) for part in self._parts) for batch in batches)


class StreamedImages:
    """Samples that are files of images, in [0, 1]; they come larger than a network sees them, for random crops."""

    together = 1

    def __init__(self, samples: StreamedSamples, device: torch.device) -> None:
        self._samples, self._device = samples, device

    def inputs(self, batches: Sequence[torch.Tensor]) -> Iterator[Inputs]:
        """See `Source`."""
        for squares in self._samples.stream([batch.cpu().numpy() for batch in batches]):
            yield (torch.from_numpy(squares).to(self._device).float().div_(255),)


def source(samples: Samples | StreamedSamples, device: torch.device) -> Source:
    """The source of a split."""
    return HeldInputs(samples, device) if isinstance(samples, Samples) else StreamedImages(samples, device)
