"""The shares of several processes are together what one has: the same samples, varied alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.data.augmentation import ImageAugmentation, image_augmentation
from nestgraph.data.batches import SampledBatches
from nestgraph.data.distortion import AffineDistortion, affine_distortion
from nestgraph.data.loaded import OwnBatches, OwnSamples, own
from nestgraph.data.samples import Samples
from nestgraph.data.share import Share
from nestgraph.errors import DataError
from tests.laws import quick

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.random((31, 3, 12, 12), np.float32), RNG.integers(0, 5, 31)
VARIED = {
    "distorted": [affine_distortion(AffineDistortion(shear=4.0))],
    "cropped": [image_augmentation(ImageAugmentation(crop=0.3, flip=True), (12, 12))],
    "coloured": [
        image_augmentation(ImageAugmentation(pad=2, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1), (12, 12))
    ],
    "plain": [],
}


def put_together(parts):
    """The batches of all shares, joined batch by batch."""
    for shares in zip(*parts, strict=True):
        yield [torch.cat(each) for each in zip(*(share.tensors for share in shares), strict=True)]


@pytest.mark.parametrize("vary", VARIED)
@given(st.integers(1, 4), st.integers(5, 12), st.integers(0, 2**20))
@quick(8)
def test_shares_of_an_epoch_are_the_epoch(vary, count, size, seed):
    batches = SampledBatches(Samples(IMAGES, LABELS), size, torch.device("cpu"), vary=VARIED[vary])
    whole = list(batches.epoch(seed).rest())
    parts = [list(batches.epoch(seed, Share(number, count)).rest()) for number in range(count)]
    for one, several in zip(whole, put_together(parts), strict=True):
        torch.testing.assert_close(several, list(one.tensors), rtol=0, atol=1e-6)
    start = batches.together
    later = list(batches.epoch(seed, Share(count - 1, count)).rest(start))
    for one, other in zip(parts[-1][start:], later, strict=True):
        assert all(map(torch.equal, one.tensors, other.tensors))


@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 2**20))
@quick(15)
def test_shares_of_what_is_measured_are_every_sample_once(count, most, seed):
    batches = SampledBatches(Samples(IMAGES[:5], LABELS[:5]), 5, torch.device("cpu"))
    found = [batch for number in range(count) for batch in batches.ordered(most, Share(number, count))]
    assert torch.equal(torch.cat([batch.inputs[0] for batch in found]), torch.tensor(IMAGES[:5]))
    parts = [list(batches.drawn(seed, 1, Share(number, count))) for number in range(count)]
    ((drawn,), (whole,)) = put_together(parts), batches.drawn(seed, 1)
    assert all(map(torch.equal, drawn, whole.tensors))


@given(st.integers(1, 3))
@quick(3)
def test_data_of_ones_own_are_shared_out_when_they_are_read(count):
    given_ones = [(IMAGES[:4], LABELS[:4]), (IMAGES[4:11], LABELS[4:11])]
    batches = OwnBatches(OwnSamples(own(given_ones, 4)))
    parts = [list(batches.epoch(0, Share(number, count)).rest()) for number in range(count)]
    for one, several in zip(batches.epoch(0).rest(), put_together(parts), strict=True):
        assert all(map(torch.equal, several, one.tensors))


def test_a_process_that_would_have_no_sample_is_refused():
    share, expected = Share(0, 4), "expected batches of 4 samples or more, one for each process, got one of 3"
    with pytest.raises(DataError, match=expected):
        SampledBatches(Samples(IMAGES[:3], LABELS[:3]), 8, torch.device("cpu")).epoch(0, share)
    with pytest.raises(DataError, match=expected):
        list(OwnBatches(OwnSamples(own([(IMAGES[:3], LABELS[:3])], 4))).epoch(0, share).rest())
