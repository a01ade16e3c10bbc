"""Parameters that show something else than the optimiser moves."""

import pytest
import torch

from compressor.errors import TrainError
from compressor.sparsity.hooks import StepHooks
from compressor.sparsity.veil import Veil

FACTORS = torch.tensor([0.0, 1.0, 0.5])


def show_(parameters):
    parameters["w"].mul_(FACTORS)


@pytest.fixture
def parameter():
    return torch.nn.Parameter(torch.tensor([1.0, 2.0, 4.0]))


def veiled(parameter, make):
    optimizer = make([parameter])
    veil = Veil({"w": parameter})
    StepHooks(optimizer, veil.lift_, lambda: veil.drop_(show_))
    with torch.no_grad():
        veil.drop_(show_)
    return veil, optimizer


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.1)


def test_the_parameter_shows_one_thing_and_the_veil_remembers_the_other(parameter):
    veil, _ = veiled(parameter, sgd)
    assert parameter.tolist() == [0.0, 2.0, 2.0]
    assert veil.true["w"].tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("make", [sgd, adamw])
def test_the_optimiser_moves_the_true_values_as_if_nothing_hid_them(make, parameter):
    plain = torch.nn.Parameter(parameter.detach().clone())
    veil, optimizer = veiled(parameter, make)
    reference = make([plain])
    draw = torch.Generator().manual_seed(0)
    for _ in range(5):
        plain.grad = torch.randn(3, generator=draw)
        parameter.grad = plain.grad.clone()
        optimizer.step()
        reference.step()
    assert torch.equal(veil.true["w"], plain)
    assert torch.equal(parameter, plain * FACTORS)


def test_gradients_are_those_at_what_is_shown_and_zeros_where_there_are_none(parameter):
    veil, _ = veiled(parameter, sgd)
    assert veil.gradients()["w"].tolist() == [0.0, 0.0, 0.0]
    assert parameter.grad is None
    parameter.square().sum().backward()
    assert veil.gradients()["w"] is parameter.grad
    assert parameter.grad.tolist() == [0.0, 4.0, 4.0]


def test_a_tensor_under_two_names_stays_one(parameter):
    veil = Veil({"w": parameter, "tied": parameter})
    with torch.no_grad():
        veil.drop_(show_)
        veil.lift_()
    assert parameter.tolist() == [1.0, 2.0, 4.0]
    assert torch.equal(veil.true["tied"], veil.true["w"])


def test_the_memory_layout_of_the_parameters_is_kept():
    weight = torch.nn.Parameter(torch.ones(2, 3, 3, 3).to(memory_format=torch.channels_last))
    assert Veil({"w": weight}).true["w"].is_contiguous(memory_format=torch.channels_last)


def test_true_values_survive_a_checkpoint_of_which_nothing_is_shared(parameter):
    veil, _ = veiled(parameter, sgd)
    saved = {"w": veil.state_dict()["w"].clone()}
    other = Veil({"w": torch.nn.Parameter(torch.zeros(3))})
    other.load_state_dict(saved)
    saved["w"].zero_()
    assert other.true["w"].tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("state", [{}, {"w": torch.ones(4)}, {"other": torch.ones(3)}])
def test_true_values_of_another_network_are_refused_by_name(state, parameter):
    with pytest.raises(TrainError, match=r"w: the checkpoint has no true value of shape \(3,\)"):
        Veil({"w": parameter}).load_state_dict(state)
