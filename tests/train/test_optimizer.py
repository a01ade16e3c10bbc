import pytest
import torch
from torch import nn

from compressor.train.optimizer import lay_out_as_parameters_, make_optimizer
from compressor.train.settings import OptimiserSettings


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_only_tensors_of_two_and_more_dimensions_decay(model, name, kind):
    optimizer = make_optimizer(model, OptimiserSettings(optimizer=name, weight_decay=0.3))
    assert type(optimizer) is kind
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    expected = {id(p): 0.3 if p.dim() > 1 else 0.0 for p in model.parameters()}
    assert decays == expected


def test_rate_and_momentum_are_those_of_the_settings(model):
    optimizer = make_optimizer(model, OptimiserSettings(lr=0.7, momentum=0.4))
    assert {(group["lr"], group["momentum"]) for group in optimizer.param_groups} == {(0.7, 0.4)}


def test_frozen_parameters_are_left_out(model):
    model[0].weight.requires_grad_(False)
    optimizer = make_optimizer(model, OptimiserSettings())
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert id(model[0].weight) not in held
    assert len(held) == 5


def test_loaded_momentum_gets_the_layout_of_its_weights_and_keeps_its_values(model):
    model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, OptimiserSettings())
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    state = optimizer.state_dict()
    weight = model[0].weight
    loaded = optimizer.state[weight]["momentum_buffer"].contiguous()
    state["state"][0]["momentum_buffer"] = loaded
    optimizer.load_state_dict(state)
    lay_out_as_parameters_(optimizer)
    found = optimizer.state[weight]["momentum_buffer"]
    assert torch.equal(found, loaded)
    assert found.stride() == weight.stride()
    assert found.stride() != loaded.stride()
