"""A network read in another precision and with units masked is the network converted and masked."""

import copy

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Member, mask_
from compressor.couplings.sharing import sharing_copy
from compressor.errors import StructureError
from compressor.strip.reading import Reading, masked
from compressor.structure import Structure


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


class Bare(nn.Module):
    """Parameters used in all the ways that are not a layer's own call."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(draw(6))
        self.table = nn.Embedding(6, 6)
        self.register_buffer("shift", draw(6))
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
        self.memory = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x):
        ones = torch.ones(6, dtype=self.gamma.dtype)
        x = x @ self.table.weight.T * self.gamma + self.shift + ones
        x = self.attend(x, x, x, need_weights=False)[0] + self.gamma.data
        return self.memory(x)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_converted_network(dtype):
    net, x = Bare(), draw(2, 5, 6).to(dtype)
    expected = copy.deepcopy(net).to(dtype).eval()(x)
    (found,) = Reading(net, dtype).outputs(x)
    assert found.dtype == dtype
    assert (found - expected).abs().max() <= 4 * torch.finfo(dtype).eps


def test_it_is_the_masked_network_bit_for_bit(net, couplings, make_structure, images):
    structure = make_structure(1)
    whole = copy.deepcopy(net).double().eval()
    mask_(whole, couplings, structure)
    (found,) = masked(net, couplings, structure, torch.float64).outputs(images.double())
    assert torch.equal(found, whole(images.double()))


def test_layers_that_share_a_weight_are_masked_both():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    net = nn.Sequential(first, second)
    rows = Member("1.weight", 0, torch.arange(4).reshape(4, 1), "filter")
    removed = {"1.weight": [(rows, torch.tensor([True, False, False, False]))]}
    (found,) = Reading(net, torch.float32, removed).outputs(draw(2, 4))
    weight = first.weight.detach().clone()
    weight[0] = 0
    assert torch.allclose(found, draw(2, 4) @ weight.T @ weight.T)


def test_structure_that_does_not_fit_is_refused(net, couplings):
    with pytest.raises(StructureError, match="stem: the structure is for none of its 16 units"):
        masked(net, couplings, Structure({}), torch.float32)


def test_forward_that_writes_into_its_tensors_does_not_touch_the_network():
    class Writer(nn.Linear):
        def forward(self, x):
            self.weight.data.mul_(2)
            self.seen.add_(1)
            return super().forward(x)

    net = Writer(4, 4)
    net.register_buffer("seen", torch.zeros(1))
    before = net.weight.detach().clone()
    Reading(net, torch.float32).outputs(draw(2, 4))
    assert torch.equal(net.weight, before)
    assert net.seen == 0


def test_parameters_are_shared_until_they_are_changed():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train()
    twin = sharing_copy(net)
    assert twin[0].weight.data_ptr() == net[0].weight.data_ptr()
    assert twin[1].running_mean.data_ptr() != net[1].running_mean.data_ptr()
    twin.eval().double()
    assert net[0].weight.dtype == torch.float32
    assert net.training


def test_one_layer_under_two_names_stays_one_in_the_copy():
    layer = nn.Linear(3, 3)
    twin = sharing_copy(nn.Sequential(layer, layer))
    assert twin[0].weight is twin[1].weight
