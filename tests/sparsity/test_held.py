"""Masks that are given and held, and the pieces that hold them."""

import copy

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.errors import TrainError
from compressor.sparsity.candidates import find_candidates, weight_names
from compressor.sparsity.held import Held
from compressor.sparsity.holding import MOMENTUM, entry_factors, hold_
from compressor.sparsity.masks import keep_largest, two_of_four
from compressor.structure import Structure

OPTIMISERS = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-2),
    "nesterov": lambda model: torch.optim.SGD(model.parameters(), 0.1, 0.9, nesterov=True),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
}

LAYERS = {
    "conv1d": (nn.Conv1d(8, 4, 3), (2, 8, 9)),
    "conv2d": (nn.Conv2d(8, 4, 3), (2, 8, 5, 5)),
    "grouped": (nn.Conv2d(8, 4, 3, groups=2), (2, 8, 5, 5)),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8), (2, 8, 5, 5)),
    "conv3d": (nn.Conv3d(4, 4, 2), (2, 4, 3, 3, 3)),
    "transposed": (nn.ConvTranspose2d(8, 4, 3), (2, 8, 4, 4)),
    "linear": (nn.Linear(8, 3), (2, 8)),
}


def half(model, seed=0):
    """A structure of half of all weights, by chance."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {name: named_tensors(model)[name].shape for name in weight_names(model)}
    scores = {name: torch.rand(shape, generator=draw) for name, shape in shapes.items()}
    keep = {name: keep_largest(score, score.numel() // 2) for name, score in scores.items()}
    return Structure(keep, "weight")


def train(model, optimizer, num_steps, shape=(4, 1, 8, 8)):
    for step in range(num_steps):
        optimizer.zero_grad()
        inputs = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        model(inputs).square().mean().backward()
        optimizer.step()


def attached(model, structure, couplings=Couplings(()), optimizer="sgd"):  # noqa: B008
    made, held = OPTIMISERS[optimizer](model), Held(structure)
    held.attach(model, made, couplings)
    return held, made


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("layer", LAYERS)
def test_left_out_weights_and_their_momentum_stay_zero_while_others_train(layer, optimizer):
    module, shape = LAYERS[layer]
    model = nn.Sequential(copy.deepcopy(module))
    structure = half(model)
    _, made = attached(model, structure, optimizer=optimizer)
    kept, weight = structure.keep["0.weight"], model[0].weight
    assert torch.equal(weight.detach() != 0, kept)
    before = weight.detach().clone()
    for _ in range(3):
        train(model, made, 2, shape)
        assert (weight.detach()[~kept] == 0).all()
        momentum = next(value for key, value in made.state[weight].items() if key in MOMENTUM)
        assert (momentum[~kept] == 0).all()
    assert (weight.detach() != before)[kept].all()


def test_a_kept_weight_that_is_zero_goes_on_training():
    model = nn.Linear(4, 2, bias=False)
    kept = torch.tensor([[True, True, False, False]] * 2)
    with torch.no_grad():
        model.weight[0, 0] = 0.0
    _, optimizer = attached(model, Structure({"weight": kept}, "weight"))
    (model(torch.ones(1, 4)) - 3.0).square().sum().backward()
    optimizer.step()
    assert torch.equal(model.weight.detach() != 0, kept)


def test_the_pattern_of_two_of_four_survives_training():
    model = nn.Sequential(nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(216, 4))
    keep = {
        name: two_of_four(model.get_parameter(name).detach().abs())
        for name in ("0.weight", "2.weight")
    }
    held, optimizer = attached(model, Structure(keep, "2:4"))
    train(model, optimizer, 4, (2, 8, 8, 8))
    for name in keep:
        groups = model.get_parameter(name).detach().movedim(1, -1).reshape(-1, 4)
        assert ((groups != 0).sum(dim=1) == 2).all()
    assert held.structure().granularity == "2:4"


def test_units_all_rank_the_same_and_the_structure_is_the_given_one(toy_net, toy_couplings):
    model, couplings = toy_net("residual"), toy_couplings["residual"]
    structure = half(model)
    held, _ = attached(model, structure, couplings)
    assert held.structure() is structure
    scores = held.path().scores()
    assert scores.keys() == {coupling.name for coupling in couplings.free}
    assert all((score == 1).all() for score in scores.values())


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_a_resumed_run_is_the_run_that_never_stopped(toy_net, optimizer, same):
    model, again = toy_net("residual"), toy_net("residual")
    structure = half(model)
    held, made = attached(model, structure, optimizer=optimizer)
    train(model, made, 3)
    other, resumed = attached(again, structure, optimizer=optimizer)
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(copy.deepcopy(made.state_dict()))
    other.load_state_dict(held.state_dict())
    train(model, made, 3)
    train(again, resumed, 3)
    assert same(dict(again.state_dict()), dict(model.state_dict()))
    assert same(resumed.state_dict(), made.state_dict())


def test_a_checkpoint_with_another_mask_is_refused_by_name(toy_net):
    model = toy_net("plain")
    held, _ = attached(model, half(model, seed=0))
    other, _ = attached(model, half(model, seed=1))
    with pytest.raises(TrainError, match=r"\.weight: the checkpoint was saved with another mask"):
        other.load_state_dict(held.state_dict())
    fewer = Structure(dict(list(half(model).keep.items())[:1]), "weight")
    with pytest.raises(TrainError, match=r"\.weight: the checkpoint was saved with another mask"):
        held.load_state_dict(attached(model, fewer)[0].state_dict())
    with pytest.raises(TrainError, match="is of dense at level unit, the run of held at level w"):
        held.load_state_dict({"method": "dense", "level": "unit"})


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("gone.weight", (2, 2), r"gone\.weight: .* the network has no such weight"),
        ("weight", (3, 3), r"weight: the structure keeps weights of shape \(3, 3\), the network"),
    ],
)
def test_a_structure_of_another_network_is_refused_by_name(name, shape, message):
    structure = Structure({name: torch.ones(shape, dtype=torch.bool)}, "weight")
    with pytest.raises(TrainError, match=message):
        attached(nn.Linear(2, 2), structure)


def test_a_structure_of_units_is_refused():
    with pytest.raises(TrainError, match="Strip the network instead"):
        Held(Structure({"a": torch.ones(3, dtype=torch.bool)}))


def test_detaching_removes_the_hooks_and_leaves_zeros(toy_net):
    model = toy_net("plain")
    keys, structure = list(model.state_dict()), half(model)
    held, optimizer = attached(model, structure)
    train(model, optimizer, 2)
    held.detach()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert list(model.state_dict()) == keys
    for name, kept in structure.keep.items():
        assert torch.equal(model.get_parameter(name).detach() != 0, kept)
    train(model, optimizer, 1)
    assert any((model.get_parameter(n).detach()[~k] != 0).any() for n, k in structure.keep.items())


# --- the pieces ---


@pytest.mark.parametrize("level", ["unit", "weight"])
def test_factors_are_zero_where_the_candidates_are_left_out(toy_net, toy_couplings, level):
    model = toy_net("residual")
    tensors = named_tensors(model)
    candidates = find_candidates(model, toy_couplings["residual"], level)
    keep = {some.name: torch.rand(some.shape) < 0.5 for some in candidates}
    expected = {
        name: tensors[name].detach().clone() for some in candidates for name in some.tensors
    }
    for some in candidates:
        some.multiply_(expected, keep[some.name])
    factors = entry_factors(candidates, keep, tensors)
    assert factors.keys() == expected.keys()
    hold_(tensors, factors, torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(torch.equal(tensors[name].detach(), value) for name, value in expected.items())


def test_factors_have_the_layout_of_their_parameter():
    model = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    candidates = find_candidates(model, Couplings(()), "weight")
    factors = entry_factors(candidates, {"weight": torch.ones(4, 4, 3, 3)}, named_tensors(model))
    assert factors["weight"].stride() == model.weight.stride()


def test_holding_nothing_changes_nothing():
    model = nn.Linear(2, 2)
    before = copy.deepcopy(model.state_dict())
    hold_(named_tensors(model), {}, torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
