"""The L1 norm on norm scales: its gradient, what it does, and how units rank."""

import copy

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.couplings.trace import trace
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.network_slimming import NetworkSlimming, NetworkSlimmingSettings
from compressor.structure import NEVER

LONG = Horizon(num_steps=100, path_time=1e4, seed=0)


def member(tensor, kind, positions):
    return Member(tensor, 0, torch.tensor(positions).view(-1, 1), kind)


def attached(model, optimizer, couplings, horizon=LONG, **settings):
    sparsifier = NetworkSlimming(NetworkSlimmingSettings(**settings), horizon)
    sparsifier.attach(model, optimizer, couplings)
    return sparsifier


@pytest.fixture
def network():
    """Four channels of which three are free, in two norms; and a layer without a norm."""
    model = nn.ModuleDict({"a": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(3), "c": nn.Linear(2, 2)})
    with torch.no_grad():
        model["a"].weight.copy_(torch.tensor([3.0, -1.0, 0.0, 5.0]))
        model["b"].weight.copy_(torch.tensor([4.0, 1.0, 0.0]))
    filters = Member("c.weight", 0, torch.arange(2).view(2, 1), "filter")
    scales = (member("a.weight", "scale", [0, 1, 2]), member("b.weight", "scale", [0, 1, 2]))
    couplings = Couplings((Coupling("stream", 3, scales), Coupling("c", 2, (filters,))))
    return model, couplings


def test_its_gradient_is_the_strength_times_the_sign_of_free_scales(network):
    model, couplings = network
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    attached(model, optimizer, couplings, strength=0.25)
    before = {name: value.clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    moved = {name: before[name] - value.detach() - 0.5 for name, value in model.named_parameters()}
    assert moved["a.weight"].tolist() == [0.25, -0.25, 0.0, 0.0]
    assert moved["b.weight"].tolist() == [0.25, 0.25, 0.0]
    for name in ("a.bias", "b.bias", "c.weight", "c.bias"):
        assert torch.allclose(moved[name], torch.zeros(()), atol=1e-6), name


def test_a_step_with_the_scaler_has_the_same_gradient(network, same):
    def after_step(scaler):
        model = copy.deepcopy(network[0])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        attached(model, optimizer, network[1], strength=0.25)
        loss = sum(parameter.sum() for parameter in model.parameters())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        return dict(model.state_dict())

    scaled = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert same(after_step(scaled), after_step(torch.amp.GradScaler("cpu", enabled=False)))


def test_units_rank_by_the_root_mean_square_of_their_scales(network):
    model, couplings = network
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = attached(model, optimizer, couplings).path()
    expected = torch.tensor([12.5**0.5, 1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(path.couplings["stream"].score, expected)
    assert torch.allclose(path.couplings["c"].score, expected.mean())
    assert path.method == "network-slimming"
    assert (path.couplings["stream"].entry_step == NEVER).all()


def test_couplings_without_scales_are_noticed_by_name(network):
    model, couplings = network
    sparsifier = attached(model, torch.optim.SGD(model.parameters(), lr=0.1), couplings)
    (notice,) = sparsifier.notices()
    assert notice.startswith("1 of 2 couplings have no norm scale")
    assert ": c." in notice


def test_a_network_without_any_scale_is_refused(toy_net, toy_couplings):
    model = toy_net("plain")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TrainError, match='has any. Set sparsity.method to "magnitude"'):
        attached(model, optimizer, toy_couplings["plain"])
    assert not optimizer._optimizer_step_pre_hooks


def test_a_regulariser_that_cannot_move_a_scale_is_noticed_with_the_figure(network):
    model, couplings = network
    momentum = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    short = Horizon(num_steps=100, path_time=10.0, seed=0)
    notices = attached(model, momentum, couplings, short, strength=1e-4).notices()
    # 1e-4 * 10 / (1 - 0.9) over the mean scale of 14 / 7.
    assert "sparsity.strength 0.0001 moves a scale by at most 0.50% of" in notices[1]
    adaptive = torch.optim.AdamW(model.parameters(), lr=0.1)
    assert len(attached(model, adaptive, couplings, short).notices()) == 1


@pytest.fixture
def regression():
    """A network with batch norm of eight hidden units, and targets that two inputs explain."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    inputs = torch.randn(128, 4)
    targets = inputs[:, :1].relu() - inputs[:, 1:2].relu()
    return model, inputs, targets


def fit(model, optimizer, inputs, targets, num_steps):
    for _ in range(num_steps):
        optimizer.zero_grad()
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()


def test_scales_of_useless_units_shrink_and_these_rank_last(regression):
    model, inputs, targets = regression
    useless = torch.tensor([False, True, False, True, True, False, True, True])
    with torch.no_grad():
        model[3].weight[:, useless] = 0
    model[3].weight.register_hook(lambda gradient: gradient.masked_fill(useless, 0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    sparsifier = attached(model, optimizer, trace(model, inputs[:2]), strength=0.02)
    assert sparsifier.metrics() == {"scale_sum": 8.0, "small_scale_share": 0.0}
    fit(model, optimizer, inputs, targets, 1100)
    scales, score = model[1].weight.detach().abs(), sparsifier.path().couplings["0"].score
    assert (scales[useless] < 0.01).all()
    # Two hidden units are enough for these targets; the third useful one shrinks as well.
    assert not useless[score.argsort(descending=True)[:2]].any()
    assert (score > 0.1).sum() == 2
    assert sparsifier.metrics()["small_scale_share"] == 6 / 8


def test_a_resumed_run_is_the_run_that_never_stopped(regression, same):
    model, inputs, targets = regression
    couplings, again = trace(model, inputs[:2]), copy.deepcopy(model)

    def optimizer_of(model):
        return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    optimizer = optimizer_of(model)
    first = attached(model, optimizer, couplings)
    fit(model, optimizer, inputs, targets, 3)
    resumed = optimizer_of(again)
    second = attached(again, resumed, couplings)
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    second.load_state_dict(first.state_dict())
    fit(model, optimizer, inputs, targets, 3)
    fit(again, resumed, inputs, targets, 3)
    assert same(dict(again.state_dict()), dict(model.state_dict()))
    assert same(second.path().to_json(), first.path().to_json())


def test_a_checkpoint_of_another_method_is_refused(network):
    model, couplings = network
    sparsifier = attached(model, torch.optim.SGD(model.parameters(), lr=0.1), couplings)
    with pytest.raises(TrainError, match="is of magnitude at level unit, the run of network-slim"):
        sparsifier.load_state_dict({"method": "magnitude", "level": "unit"})


def test_a_checkpoint_of_another_network_is_refused(network, toy_net, toy_couplings):
    model, couplings = network
    state = attached(model, torch.optim.SGD(model.parameters(), lr=0.1), couplings).state_dict()
    other = toy_net("residual")
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    sparsifier = attached(other, optimizer, toy_couplings["residual"])
    with pytest.raises(TrainError, match="has 7 norm scales in 2 tensors, and the network other"):
        sparsifier.load_state_dict(state)


def test_detaching_removes_the_hooks_and_keeps_every_unit(network, same):
    model, couplings = network
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attached(model, optimizer, couplings)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sparsifier.detach()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert sparsifier.structure().sparsity == 0.0
    assert same(dict(model.state_dict()), before)


def test_a_network_without_couplings_is_left_alone():
    model = nn.Linear(2, 2)
    sparsifier = attached(model, torch.optim.SGD(model.parameters(), lr=0.1), Couplings(()))
    model(torch.ones(1, 2)).sum().backward()
    assert sparsifier.path().couplings == {}
    assert sparsifier.metrics() == {}
    assert sparsifier.notices() == []
