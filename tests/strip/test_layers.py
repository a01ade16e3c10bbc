"""After stripping, every layer says of itself what its tensors are."""

import pytest
import torch
from torch import nn

from compressor.couplings.axes import AXES, axes_of
from compressor.strip.apply import apply
from compressor.strip.layers import ATTRIBUTES, attributes_of, keeps_divisor
from compressor.strip.plan import Cut, StripPlan


def test_every_layer_with_axes_has_attributes():
    assert ATTRIBUTES.keys() >= AXES.keys()


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


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.InstanceNorm2d(8, affine=True), nn.InstanceNorm2d(4, affine=True)),
        (nn.InstanceNorm1d(8, track_running_stats=True), nn.InstanceNorm1d(4)),
        (nn.LayerNorm(8), nn.LayerNorm(4)),
        (nn.RMSNorm(8), nn.RMSNorm(4)),
        (nn.GroupNorm(8, 8), nn.GroupNorm(4, 4)),
        (nn.GroupNorm(4, 8), nn.GroupNorm(2, 4)),
        (nn.GroupNorm(2, 8), nn.GroupNorm(2, 4)),
        (nn.GroupNorm(1, 8), nn.GroupNorm(1, 4)),
        (nn.Conv2d(8, 16, 1, groups=8), nn.Conv2d(4, 8, 1, groups=4)),
    ],
)
def test_vectors_cut_to_half_make_the_attributes_of_half_the_width(layer, expected):
    for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
        if tensor.dim():
            half = tensor.detach()[: len(tensor) // 2]
            kept = nn.Parameter(half) if isinstance(tensor, nn.Parameter) else half
            setattr(layer, name, kept)
    for name, value in attributes_of(layer).items():
        assert getattr(expected, name) == value
    assert attributes_of(layer)


def test_places_of_groups_leave_the_number_of_groups():
    layer = nn.Conv2d(8, 8, 1, groups=2)
    layer.weight = nn.Parameter(layer.weight.detach()[[0, 1, 4, 5], :3])
    assert attributes_of(layer) == {"out_channels": 4, "in_channels": 6, "groups": 2}


@pytest.mark.parametrize(
    ("layer", "keeps"),
    [
        (nn.LayerNorm(8), True),
        (nn.RMSNorm(8), True),
        (nn.GroupNorm(1, 8), True),
        (nn.GroupNorm(2, 8), True),
        (nn.GroupNorm(4, 8), False),
        (nn.GroupNorm(8, 8), False),
        (nn.BatchNorm2d(8), False),
        (nn.InstanceNorm2d(8), False),
    ],
)
def test_norm_over_channels_that_leave_singly_keeps_its_divisor(layer, keeps):
    assert keeps_divisor(layer) is keeps


def test_layer_of_an_unknown_type_has_no_attributes_and_a_child_those_of_its_parent():
    class Own(nn.Linear):
        pass

    assert attributes_of(nn.Bilinear(2, 3, 4)) == {}
    assert attributes_of(Own(3, 4)) == {"out_features": 4, "in_features": 3}
