"""The table of axes agrees with what layers compute."""

import pytest
import torch
from torch import nn

from compressor.couplings.axes import AXES, axes_of, is_depthwise

PRODUCERS = {
    "conv 1d": (nn.Conv1d(3, 5, 3), (2, 3, 8)),
    "conv 2d": (nn.Conv2d(3, 5, 3), (2, 3, 8, 8)),
    "conv 3d": (nn.Conv3d(3, 5, 3), (2, 3, 4, 4, 4)),
    "transposed 1d": (nn.ConvTranspose1d(3, 5, 3), (2, 3, 8)),
    "transposed 2d": (nn.ConvTranspose2d(3, 5, 3), (2, 3, 8, 8)),
    "transposed 3d": (nn.ConvTranspose3d(3, 5, 3), (2, 3, 4, 4, 4)),
    "linear": (nn.Linear(3, 5), (2, 3)),
}


@pytest.mark.parametrize("name", PRODUCERS)
@torch.no_grad()
def test_zeroed_output_slices_make_that_channel_zero_and_no_other(name):
    layer, shape = PRODUCERS[name]
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = layer(images)
    saved = {key: value.clone() for key, value in layer.state_dict().items()}
    for slot in axes_of(layer).outputs:
        getattr(layer, slot.attribute).movedim(slot.axis, 0)[2] = 0
    after = layer(images)
    layer.load_state_dict(saved)
    changed = (before != after).transpose(0, 1).flatten(1).any(dim=1)
    assert changed.tolist() == [False, False, True, False, False]
    assert not after.select(1, 2).any()


@pytest.mark.parametrize("name", PRODUCERS)
@torch.no_grad()
def test_zeroed_input_slices_make_the_layer_deaf_to_that_channel(name):
    layer, shape = PRODUCERS[name]
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    silent = images.clone()
    silent.select(1, 1).zero_()
    saved = {key: value.clone() for key, value in layer.state_dict().items()}
    for slot in axes_of(layer).inputs:
        getattr(layer, slot.attribute).movedim(slot.axis, 0)[1] = 0
    heard = layer(images)
    layer.load_state_dict(saved)
    assert torch.allclose(heard, layer(silent), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(4, 4, 3), None),
        (nn.Conv2d(4, 4, 3, groups=4), None),
        (nn.Conv2d(4, 8, 3, groups=4), "convolution with 4 groups"),
        (nn.Conv2d(4, 4, 3, groups=2), "convolution with 2 groups"),
        (nn.ConvTranspose2d(4, 4, 3), None),
        (nn.ConvTranspose2d(4, 4, 3, groups=4), "transposed convolution with 4 groups"),
        (nn.PReLU(4), None),
        (nn.PReLU(), "PReLU with one slope for all channels"),
        (nn.BatchNorm2d(4), None),
    ],
)
def test_layers_that_the_row_does_not_hold_for_are_refused(layer, reason):
    assert axes_of(layer).refuse(layer) == reason


@pytest.mark.parametrize(
    "layer", [nn.LayerNorm(4), nn.GroupNorm(2, 4), type("C", (nn.Conv2d,), {})(1, 1, 1)]
)
def test_other_types_and_subclasses_have_no_row(layer):
    assert axes_of(layer) is None


def test_depthwise_is_one_filter_for_each_of_several_channels():
    assert is_depthwise(nn.Conv1d(4, 4, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(1, 1, 3))
    assert not is_depthwise(nn.Conv2d(4, 8, 3, groups=4))
    assert not is_depthwise(nn.BatchNorm2d(4))


def test_every_slot_is_an_attribute_of_its_layer():
    made = {
        layer_type: layer_type(4) if "Norm" in layer_type.__name__ else None for layer_type in AXES
    }
    norms = [layer for layer in made.values() if layer is not None]
    assert len(norms) == 3
    assert all(hasattr(n, slot.attribute) for n in norms for slot in AXES[type(n)].outputs)
