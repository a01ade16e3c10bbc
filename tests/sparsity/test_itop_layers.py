import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Member
from compressor.sparsity.candidates import Weights
from compressor.sparsity.itop_layers import Layer, of_coupling
from compressor.sparsity.itop_schedule import Schedule, most_explored

from .formulas import expected_explored


def simulated(density, shares, size=60_000):
    generator = torch.Generator().manual_seed(0)
    layer = Layer(Weights("w", torch.Size([size])))
    mask = torch.zeros(size, dtype=torch.bool)
    mask[: int(density * size)] = True
    layer.set(mask, mask.clone())
    for share in shares:
        layer.exchange({"w": torch.ones(size)}, torch.rand(size, generator=generator), share)
    return layer


def test_random_growth_explores_what_the_formula_says():
    shares = Schedule(76, 76, 1, 0.5, 0.005).shares()
    layer = simulated(0.07, shares)
    expected = expected_explored(0.07, shares)
    assert len(shares) == 75
    assert int(layer.explored.sum()) / layer.size == pytest.approx(expected, rel=0.01)
    assert expected == pytest.approx(0.7855, abs=0.01)  # as the formula was first verified
    assert expected <= most_explored([layer.num_kept], [layer.size], shares)


def test_a_dense_layer_is_explored_from_the_start():
    assert expected_explored(1.0, [0.5]) == 1.0
    assert expected_explored(0.3, []) == pytest.approx(0.3)


def exchanged(worth, promise, mask, share):
    """Mask after one exchange of single weights, and who grew."""
    layer = Layer(Weights("w", torch.Size([len(worth)])))
    layer.set(torch.tensor(mask, dtype=torch.bool), torch.tensor(mask, dtype=torch.bool))
    grown = layer.exchange({"w": torch.tensor(worth)}, torch.tensor(promise), share)
    return layer.mask.int().tolist(), grown.int().tolist(), layer.explored.int().tolist()


def test_the_smallest_are_dropped_and_the_most_promising_others_grow():
    worth, promise = [-3.0, 0.1, 2.0, -0.2, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0, 0.3, 0.7]
    mask, grown, explored = exchanged(worth, promise, [1, 1, 1, 1, 0, 0], 0.25)
    assert mask == [1, 0, 1, 1, 0, 1]
    assert grown == [0, 0, 0, 0, 0, 1]
    assert explored == [1, 1, 1, 1, 0, 1]


def test_ties_go_by_position_and_counts_stay_exact():
    mask, grown, _ = exchanged([0.0] * 6, [0.0] * 6, [1, 1, 1, 0, 0, 0], 0.5)
    assert mask == [0, 0, 1, 1, 1, 0]
    assert grown == [0, 0, 0, 1, 1, 0]


def coupled(norm):
    """A layer with a norm, read by another; the coupling between them."""
    model = nn.Sequential(nn.Conv2d(1, 4, 1), norm, nn.ReLU(), nn.Conv2d(4, 2, 1))
    units = torch.arange(4).view(4, 1)
    members = [Member("0.weight", 0, units, "filter"), Member("0.bias", 0, units, "bias")]
    if norm.state_dict():
        members += [Member("1.weight", 0, units, "scale"), Member("1.bias", 0, units, "shift")]
    members.append(Member("3.weight", 1, units, "input"))
    return Coupling("0", 4, tuple(members)), model


@pytest.mark.parametrize(
    ("norm", "is_blind"),
    [(nn.BatchNorm2d(4), False), (nn.Identity(), False), (nn.GroupNorm(2, 4), True)],
)
def test_units_are_left_out_through_their_readers_unless_a_norm_mixes_them(norm, is_blind):
    layer = of_coupling(*coupled(norm))
    assert layer.is_blind == is_blind
    assert ("3.weight" in layer.shown.tensors) == (not is_blind)


def test_units_that_nothing_reads_are_left_out_through_what_makes_them():
    coupling, model = coupled(nn.BatchNorm2d(4))
    unread = Coupling("0", 4, coupling.of_kind("filter", "bias", "scale", "shift"))
    layer = of_coupling(unread, model)
    assert layer.is_blind
    assert layer.shown.tensors == ("0.weight", "0.bias", "1.weight", "1.bias")


@torch.no_grad()
def test_the_worth_of_a_unit_does_not_change_when_its_scale_moves_into_its_readers():
    coupling, model = coupled(nn.BatchNorm2d(4))
    tensors = dict(model.named_parameters())
    layer = of_coupling(coupling, model)
    before = layer.worth(tensors)
    model[1].weight[1] *= 8.0
    model[3].weight[:, 1] /= 8.0
    assert torch.allclose(layer.worth(tensors), before)


@torch.no_grad()
def test_grown_units_without_gradients_are_born_again_and_others_are_left_alone():
    coupling, model = coupled(nn.GroupNorm(2, 4))
    tensors = dict(model.named_parameters())
    born = {name: value.clone() for name, value in tensors.items()}
    layer, grown = of_coupling(coupling, model), torch.tensor([False, True, False, False])
    layer.shown.multiply_(tensors, ~grown)
    layer.bear_(tensors, born, grown)
    assert all(torch.equal(tensors[name], born[name]) for name in tensors)
    layer.set(~grown, ~grown)
    layer.silence_(tensors)
    assert all(int((tensors[name][1] != 0).sum()) == 0 for name in layer.shown.tensors)
