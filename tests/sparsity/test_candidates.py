"""What may be kept or left out: single weights of every kind of layer, and units of couplings."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member, mask_, named_tensors
from compressor.couplings.trace import trace
from compressor.errors import TrainError
from compressor.sparsity.candidates import (
    FAINT,
    Units,
    Weights,
    chosen_weights,
    find_candidates,
    kept_norms,
    live_units,
    weight_names,
    whole_weights,
)
from compressor.sparsity.carriers import carriers, makers
from compressor.structure import Structure

NOTHING = Couplings(())
ANY = torch.Generator().manual_seed(0)


def member(tensor, axis, index, kind):
    return Member(tensor, axis, torch.tensor(index), kind)


def rows(num):
    return [[i] for i in range(num)]


def parameters(model):
    return {name: value.detach() for name, value in named_tensors(model).items()}


LAYERS = [
    nn.Conv1d(8, 4, 3),
    nn.Conv2d(8, 4, 3),
    nn.Conv2d(8, 8, 3, groups=2),
    nn.Conv2d(8, 8, 3, groups=8),
    nn.Conv3d(8, 4, 1),
    nn.ConvTranspose1d(8, 4, 3),
    nn.ConvTranspose2d(8, 4, 3),
    nn.ConvTranspose3d(8, 4, 1),
    nn.Linear(8, 3),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_every_weight_of_every_kind_of_layer_is_a_candidate(layer):
    (candidates,) = find_candidates(nn.Sequential(layer), NOTHING, "weight")
    assert (candidates.name, candidates.tensors) == ("0.weight", ("0.weight",))
    assert candidates.shape == layer.weight.shape


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_two_of_four_are_chosen_where_the_inputs_lie_along_axis_1_in_fours(layer):
    model = nn.Sequential(layer, nn.Linear(4, 1))
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    in_fours = not transposed and layer.weight.shape[1] % 4 == 0
    chosen = {some.name for some in find_candidates(model, NOTHING, "2:4")}
    assert chosen == ({"0.weight", "1.weight"} if in_fours else {"1.weight"})
    whole = whole_weights(model, "2:4")
    assert set(whole) == {"0.weight", "1.weight"} - chosen
    assert all(mask.all() for mask in whole.values())


@pytest.mark.parametrize("level", ["filter", "weight", "2:4"])
def test_a_network_without_weights_to_choose_from_is_refused(level):
    with pytest.raises(TrainError, match=f"No layer has weights for level {level} "):
        chosen_weights(nn.BatchNorm2d(4), level)


def test_norms_and_biases_are_no_weights_and_a_shared_weight_is_one():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[3].weight = model[0].weight
    assert weight_names(model) == ("0.weight", "2.weight")


def test_a_single_layer_has_a_weight_without_a_prefix():
    assert weight_names(nn.Linear(4, 2)) == ("weight",)


def test_a_weight_that_is_computed_is_refused_by_name():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)))
    with pytest.raises(TrainError, match=r"0\.weight is computed"):
        find_candidates(model, NOTHING, "weight")


def test_single_weights_multiply_entry_by_entry():
    tensors = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    candidates = Weights("w", torch.Size([2, 2]))
    assert candidates.dot(tensors, {"w": torch.full((2, 2), 2.0)}).tolist() == [[2, 4], [6, 8]]
    candidates.multiply_(tensors, torch.tensor([[True, False], [False, True]]))
    assert tensors["w"].tolist() == [[1, 0], [0, 4]]


def units_of(members):
    coupling = Coupling("c", 2, members)
    return Units(coupling, makers(coupling), torch.device("cpu"))


@pytest.fixture
def flattened():
    """Two units: places 0-1 and 2-3 of a bias, rows of one filter, columns of another."""
    members = (
        member("bias", 0, [[0, 1], [2, 3]], "bias"),
        member("a", 0, [[1], [0]], "filter"),
        member("b", 1, [[0], [2]], "filter"),
        member("reader", 1, [[0], [1]], "input"),
    )
    draw = torch.Generator().manual_seed(0)
    shapes = {"bias": (4,), "a": (2, 3), "b": (2, 3), "reader": (1, 2)}
    tensors = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return units_of(members), tensors


def test_the_dot_of_a_unit_sums_over_all_that_carries_it(flattened):
    units, tensors = flattened
    assert set(units.tensors) == {"bias", "a", "b"}
    bias, a, b = (tensors[name] ** 2 for name in ("bias", "a", "b"))
    expected = [
        bias[:2].sum() + a[1].sum() + b[:, 0].sum(),
        bias[2:].sum() + a[0].sum() + b[:, 2].sum(),
    ]
    assert torch.allclose(units.dot(tensors, tensors), torch.stack(expected))


def test_multiplying_a_unit_changes_its_carriers_and_nothing_else(flattened):
    units, tensors = flattened
    before = {name: value.clone() for name, value in tensors.items()}
    units.multiply_(tensors, torch.tensor([0.0, 1.0]))
    assert tensors["bias"].tolist() == [0, 0, *before["bias"][2:].tolist()]
    assert torch.equal(tensors["a"], before["a"] * torch.tensor([[1.0], [0.0]]))
    assert torch.equal(tensors["b"], before["b"] * torch.tensor([0.0, 1.0, 1.0]))
    assert torch.equal(tensors["reader"], before["reader"])


def test_a_dot_is_the_slope_of_the_loss_along_the_factor_of_a_unit(flattened):
    """d/dm of f(m w) at m is dot(gradient at m w, w), whatever f."""
    units, true = flattened
    factors = torch.tensor([0.5, 0.8], requires_grad=True)
    along = {
        "bias": true["bias"] * factors[[0, 0, 1, 1]],
        "a": true["a"] * factors[[1, 0]].unsqueeze(1),
        "b": true["b"] * torch.stack([factors[0], factors.new_ones(()), factors[1]]),
    }
    sum(value.pow(3).sum() for value in along.values()).backward()
    gradients = {name: 3 * value.detach() ** 2 for name, value in along.items()}
    assert torch.allclose(units.dot(gradients, true), factors.grad)


def test_a_tensor_with_two_members_of_one_coupling_is_multiplied_in_both():
    """As behind a concatenation of one layer with itself."""
    members = (member("w", 0, [[0], [1]], "filter"), member("w", 0, [[2], [3]], "filter"))
    units = units_of(members)
    tensors = {"w": torch.ones(4, 2)}
    assert units.tensors == ("w",)
    assert units.dot(tensors, tensors).tolist() == [4.0, 4.0]
    units.multiply_(tensors, torch.tensor([0.0, 3.0]))
    assert tensors["w"].tolist() == [[0, 0], [3, 3], [0, 0], [3, 3]]


def test_bool_factors_leave_whole_units_bit_for_bit(flattened):
    units, tensors = flattened
    before = {name: value.clone() for name, value in tensors.items()}
    units.multiply_(tensors, torch.tensor([True, True]))
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


class Joined(nn.Module):
    """Two branches concatenated, then read by one layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 2, 1)
        self.norm, self.last = nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)

    def forward(self, x):
        both = torch.cat([self.a(x), self.b(x)], dim=1)
        return self.last(self.norm(both).relu()).mean((2, 3))


def test_units_of_a_concatenation_are_carried_by_their_part_of_the_norm():
    model = Joined()
    couplings = trace(model, torch.randn(2, 1, 4, 4, generator=ANY))
    found = find_candidates(model, couplings, "unit")
    assert sorted(len(kept) for kept in couplings.everything().keep.values()) == [2, 3]
    tensors = parameters(model)
    for candidates in found:
        assert set(candidates.tensors) == {"norm.weight", "norm.bias"}
        candidates.multiply_(tensors, torch.zeros(candidates.shape))
    assert not tensors["norm.weight"].any()
    assert tensors["last.weight"].all()


@pytest.mark.parametrize("kind", ["residual", "plain"])
def test_units_without_carriers_give_what_the_masked_network_gives(
    kind, toy_net, toy_couplings, toy_task
):
    shown, masked = toy_net(kind).eval(), toy_net(kind).eval()
    couplings, tensors = toy_couplings[kind], parameters(shown)
    draw = torch.Generator().manual_seed(1)
    keep = {c.name: torch.rand(c.num_units, generator=draw) < 0.5 for c in couplings.free}
    for kept in keep.values():
        kept[0] = True
    for candidates in find_candidates(shown, couplings, "unit"):
        candidates.multiply_(tensors, keep[candidates.name])
    mask_(masked, couplings, Structure(keep))
    example = toy_task.example(3)
    assert torch.allclose(shown(example), masked(example), atol=1e-5)


def test_a_unit_is_carried_by_its_norms_only_where_each_layer_has_one():
    filters = tuple(member(name, 0, rows(2), "filter") for name in ("a", "b"))
    scale = member("s", 0, rows(2), "scale")
    shift = member("t", 0, rows(2), "shift")
    reader = member("r", 1, rows(2), "input")

    def kinds(*members, norm):
        coupling = Coupling("c", 2, (*members, reader))
        return [some.kind for some in carriers(coupling, norm)]

    alone, mixing = nn.BatchNorm1d(2), nn.LayerNorm(2)
    assert kinds(filters[0], scale, shift, norm=alone) == ["scale", "shift"]
    assert kinds(*filters, scale, shift, norm=alone) == ["filter", "filter", "scale", "shift"]
    assert kinds(filters[0], norm=alone) == ["filter"]
    # A layer norm would still have what its filters make in its statistics.
    assert kinds(filters[0], scale, shift, norm=mixing) == ["filter", "scale", "shift"]
    nameless = nn.Sequential(nn.BatchNorm1d(2), nn.LayerNorm(2, elementwise_affine=False))
    inside = replace(scale, tensor="0.weight")
    assert kinds(filters[0], inside, shift, norm=nameless) == ["filter", "scale", "shift"]


def test_a_faint_unit_tells_behind_a_relu_what_it_would_be_worth_and_a_zero_one_does_not():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1))
    inputs = torch.randn(16, 3)
    couplings = trace(model, inputs)
    model.train()
    (units,) = find_candidates(model, couplings, "unit")
    true = {name: value.clone() for name, value in parameters(model).items()}

    def loss_and_slope(factor):
        with torch.no_grad():
            units.multiply_(parameters(model), torch.tensor([factor, 1.0]))
        loss = model(inputs).square().mean()
        loss.backward()
        slope = units.dot({name: model.get_parameter(name).grad for name in units.tensors}, true)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(true[name])
                parameter.grad = None
        return loss.item(), slope[0].item()

    small = 1e-2
    loss, slope = loss_and_slope(FAINT)
    assert loss == loss_and_slope(0.0)[0]
    assert slope == pytest.approx((loss_and_slope(small)[0] - loss) / small, rel=0.05)
    assert slope != 0.0
    assert loss_and_slope(0.0)[1] == 0.0


@pytest.fixture
def pair():
    """Three units made by ``a``, read by ``b``."""
    members = (member("a", 0, rows(3), "filter"), member("b", 1, rows(3), "input"))
    return Couplings((Coupling("c", 3, members),))


def kept(values):
    return torch.tensor(values, dtype=torch.bool)


def test_a_unit_lives_while_something_makes_it_and_something_reads_it(pair):
    structure = Structure(
        {"a": kept([[1, 0], [0, 0], [1, 1]]), "b": kept([[1, 1, 0], [0, 1, 0]])}, "weight"
    )
    assert live_units(pair, structure).keep["c"].tolist() == [True, False, False]


def test_tensors_that_a_structure_does_not_name_are_whole(pair):
    structure = Structure({"b": kept([[0, 1, 1]])}, "weight")
    assert live_units(pair, structure).keep["c"].tolist() == [False, True, True]
    assert live_units(pair, Structure({}, "weight")).keep["c"].all()


def test_one_of_several_makers_and_readers_keeps_a_unit_alive():
    names = (("a", 0, "filter"), ("b", 0, "filter"), ("r", 1, "input"), ("s", 1, "input"))
    members = tuple(member(name, axis, rows(2), kind) for name, axis, kind in names)
    couplings = Couplings((Coupling("c", 2, members),))
    keep = {
        "a": kept([[1], [0]]),
        "b": kept([[0], [0]]),
        "r": kept([[0, 1]]),
        "s": kept([[1, 0]]),
    }
    assert live_units(couplings, Structure(keep, "weight")).keep["c"].tolist() == [True, False]


def test_kept_norms_are_those_of_the_kept_weights_over_their_mean(pair):
    tensors = {"a": torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 2.0]]), "b": torch.ones(2, 3)}
    structure = Structure({"a": kept([[1, 1], [1, 0], [0, 1]])}, "weight")
    norms = kept_norms(pair, tensors, structure)["c"]
    assert norms.dtype == torch.float64
    assert torch.allclose(norms, torch.tensor([5.0, 3.0, 2.0], dtype=torch.float64) * 3 / 10)


def test_where_nothing_is_kept_all_units_rank_the_same(pair):
    tensors = {"a": torch.ones(3, 2), "b": torch.ones(2, 3)}
    structure = Structure({"a": torch.zeros(3, 2, dtype=torch.bool)}, "weight")
    assert kept_norms(pair, tensors, structure)["c"].tolist() == [1.0, 1.0, 1.0]


def test_without_couplings_there_are_no_units():
    assert find_candidates(nn.Linear(4, 2), NOTHING, "unit") == []
    assert kept_norms(NOTHING, {}, Structure({}, "weight")) == {}
    assert live_units(NOTHING, Structure({}, "weight")).keep == {}
