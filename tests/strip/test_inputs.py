"""Inputs of a comparison: given, random, of another size."""

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Couplings
from compressor.strip.inputs import other_side, random_like, trials_of

FREE = Couplings(())


class Pixels(nn.Module):
    """The mean of each channel, of images of any size."""

    def forward(self, x):
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("side", "other"), [(8, 12), (28, 42), (32, 48), (64, 96), (224, 352), (1, 3), (63, 96)]
)
def test_other_side_is_half_as_long_again_and_rounded(side, other):
    assert other_side(side) == other


def test_random_inputs_are_normal_and_follow_the_seed():
    images = torch.zeros(64, 3, 8, 8)
    first = random_like(images, torch.Generator().manual_seed(1))
    assert first.shape == images.shape
    assert abs(float(first.std()) - 1) < 0.05
    assert torch.equal(first, random_like(images, torch.Generator().manual_seed(1)))


def test_whole_numbers_stay_those_that_were_given():
    words, mask, scale = torch.arange(12).reshape(3, 4), torch.ones(3, 4), 2
    drawn = random_like((words, mask, scale), torch.Generator().manual_seed(1))
    assert drawn[0].flatten().sort().values.tolist() == list(range(12))
    assert not torch.equal(drawn[0], words)
    assert drawn[2] == 2


def test_few_images_are_resized(images):
    trials = trials_of(Pixels(), FREE, [images.repeat(4, 1, 1, 1), images], seed=0)
    assert trials.sizes == "second size 12 x 12"
    assert trials.shapes("other size") == ((8, 3, 12, 12),)
    assert trials.shapes("random") == ((16, 3, 8, 8), (4, 3, 8, 8))


def test_inputs_that_are_no_images_have_one_size():
    trials = trials_of(nn.Linear(4, 2), FREE, [torch.ones(2, 4)], seed=0)
    assert trials.sizes == "one size: the inputs are not one batch of images"
    assert set(trials.batches) == {"given", "random"}
