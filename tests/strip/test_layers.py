"""After stripping, every layer says of itself what its tensors are."""

import pytest
import torch
from torch import nn

from compressor.couplings.axes import AXES, axes_of
from compressor.strip.apply import apply
from compressor.strip.layers import ATTRIBUTES
from compressor.strip.plan import Cut, StripPlan


def test_every_layer_with_axes_has_attributes_and_the_other_way_round():
    assert ATTRIBUTES.keys() == AXES.keys()


def cuts(layer: nn.Module, slots, keep: tuple[int, ...]) -> list[Cut]:
    tensors = {s: getattr(layer, s.attribute) for s in slots}
    return [
        Cut(s.attribute, s.axis, t.shape[s.axis], keep) for s, t in tensors.items() if t is not None
    ]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv1d(4, 6, 3), nn.Conv1d(2, 3, 3)),
        (nn.Conv2d(4, 6, 3, stride=2, dilation=2), nn.Conv2d(2, 3, 3, stride=2, dilation=2)),
        (nn.Conv3d(4, 6, 1, bias=False), nn.Conv3d(2, 3, 1, bias=False)),
        (nn.ConvTranspose1d(4, 6, 3), nn.ConvTranspose1d(2, 3, 3)),
        (nn.ConvTranspose2d(4, 6, 3), nn.ConvTranspose2d(2, 3, 3)),
        (nn.ConvTranspose3d(4, 6, 1), nn.ConvTranspose3d(2, 3, 1)),
        (nn.Linear(4, 6), nn.Linear(2, 3)),
    ],
)
def test_layer_cut_on_both_sides_looks_like_one_built_at_that_width(layer, expected):
    axes = axes_of(layer)
    plan = StripPlan((*cuts(layer, axes.outputs, (0, 3, 5)), *cuts(layer, axes.inputs, (1, 2))), ())
    slim = apply(plan, layer)
    assert repr(slim) == repr(expected)
    assert [p.shape for p in slim.parameters()] == [p.shape for p in expected.parameters()]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.BatchNorm1d(4), nn.BatchNorm1d(2)),
        (nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(2, affine=False)),
        (
            nn.BatchNorm3d(4, track_running_stats=False),
            nn.BatchNorm3d(2, track_running_stats=False),
        ),
        (nn.PReLU(4), nn.PReLU(2)),
        (nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(2, 2, 3, groups=2)),
    ],
)
def test_layer_that_passes_channels_through_looks_like_one_built_at_that_width(layer, expected):
    slim = apply(StripPlan(tuple(cuts(layer, axes_of(layer).outputs, (1, 3))), ()), layer)
    assert repr(slim) == repr(expected)
    assert slim.state_dict().keys() == expected.state_dict().keys()


def test_depthwise_layer_of_one_remaining_channel_still_runs():
    layer = nn.Conv2d(4, 4, 3, groups=4)
    slim = apply(StripPlan(tuple(cuts(layer, axes_of(layer).outputs, (2,))), ()), layer)
    images = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(slim(images[:, 2:3]), layer(images)[:, 2:3], atol=1e-6)
