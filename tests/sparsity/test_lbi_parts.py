import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Member
from compressor.sparsity.lbi_parts import filter_part, unit_part, weight_part

LAYERS = [
    nn.Conv1d(3, 4, 3, bias=False),
    nn.Conv2d(3, 4, 3, bias=False),
    nn.Conv2d(4, 4, 3, groups=4, bias=False),
    nn.Conv2d(4, 6, 3, groups=2, bias=False),
    nn.Conv3d(2, 4, 2, bias=False),
    nn.ConvTranspose1d(4, 6, 3, bias=False),
    nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False),
    nn.ConvTranspose2d(4, 4, 3, groups=4, bias=False),
    nn.ConvTranspose3d(2, 3, 2, bias=False),
]


def outputs(layer):
    draw = torch.Generator().manual_seed(0)
    places = [5] * (layer.weight.dim() - 2)
    return layer(torch.randn(2, layer.in_channels, *places, generator=draw)).detach()


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@torch.no_grad()
def test_zeroing_a_filter_zeroes_its_output_channel_and_no_other(layer):
    before, weight = outputs(layer), layer.weight.clone()
    part = filter_part(layer, "weight", layer.weight)
    assert part.num_groups == layer.out_channels
    kept = torch.arange(part.num_groups) != 2
    layer.weight.mul_(part.mask(kept, weight.shape))
    after = outputs(layer)
    layer.weight.copy_(weight)
    assert torch.equal(after[:, 2], torch.zeros_like(after[:, 2]))
    assert torch.allclose(after[:, kept], before[:, kept], atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_norm_of_a_filter_is_that_of_the_entries_its_mask_names(layer):
    part = filter_part(layer, "weight", layer.weight)
    weight = layer.weight.detach()
    norms = part.norms(part.of(weight))
    for group in range(part.num_groups):
        mask = part.mask(torch.arange(part.num_groups) == group, weight.shape)
        assert mask.sum() == part.group_size
        assert norms[group] == pytest.approx(float(weight[mask].norm()), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "axis", "index"),
    [
        ((4, 3, 2, 2), 0, [[0], [1], [2], [3]]),
        ((3, 4), 1, [[0], [1], [2], [3]]),
        ((6, 2), 0, [[0, 1], [2, 3], [4, 5]]),
        ((6, 2), 0, [[0, 3], [1, 4], [2, 5]]),
        ((6,), 0, [[1], [4]]),
    ],
)
def test_norms_of_units_are_those_of_their_slices(shape, axis, index):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    member = Member("t", axis, torch.tensor(index), "filter")
    part = unit_part(member, tensor)
    assert torch.allclose(part.norms(part.of(tensor)), member.rows(tensor).norm(dim=1))
    assert part.num_groups * part.group_size == member.rows(tensor).numel()


def test_a_whole_axis_in_order_is_used_as_it_lies_in_memory():
    tensor = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    part = unit_part(Member("t", 0, torch.arange(4).view(2, 2), "filter"), tensor)
    assert part.shape == (2, 2, 3, 2, 2)
    assert part.of(tensor).data_ptr() == tensor.data_ptr()
    part.of(tensor).zero_()
    assert not tensor.any()


def test_units_out_of_order_are_gathered():
    tensor = torch.arange(6.0).view(3, 2)
    part = unit_part(Member("t", 0, torch.tensor([[2], [0], [1]]), "filter"), tensor)
    assert part.of(tensor).tolist() == [[4.0, 5.0], [0.0, 1.0], [2.0, 3.0]]


def test_every_entry_of_a_weight_is_a_group():
    part = weight_part("t", torch.zeros(3, 2))
    assert (part.num_groups, part.group_size) == (6, 1)


def test_small_norms_of_half_precision_do_not_vanish():
    tensor = torch.full((2, 4), 1e-5, dtype=torch.float16)
    part = unit_part(Member("t", 0, torch.arange(2).view(2, 1), "filter"), tensor)
    assert (part.norms(tensor) > 1e-5).all()
