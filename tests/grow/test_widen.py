"""Widening keeps the function, and what training holds lies where it lay."""

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import named_tensors
from compressor.couplings.trace import trace
from compressor.grow.carry import split_all_
from compressor.grow.widen import Between, Cutting, fresh, split_, widened, widened_moments
from compressor.grow.widths import leading
from compressor.sparsity.base import Horizon
from compressor.sparsity.lbi_grown import grown_state
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.strip.shrunk import shrunk
from compressor.structure import NEVER, Structure
from compressor.train.optimizer import make_optimizer, parameter_names
from compressor.train.settings import TrainSettings

SETTINGS = TrainSettings(epochs=1, lr=0.05, momentum=0.9)


class Joined(nn.Module):
    """Two branches side by side, so that two couplings lie along one axis."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(1, 6, 3, padding=1)
        self.c = nn.Conv2d(10, 8, 3, padding=1, groups=1)
        self.head = nn.Linear(8 * 16, 3)

    def forward(self, x):
        both = torch.cat([self.a(x).relu(), self.b(x).relu()], dim=1)
        return self.head(self.c(both).relu().flatten(1))


@pytest.fixture(params=["residual", "plain", "joined"])
def full(request, make_net):
    if request.param == "joined":
        torch.manual_seed(0)
        return Joined()
    return make_net(request.param)


@pytest.fixture
def inputs(full):
    size = 4 if isinstance(full, Joined) else 8
    return torch.randn(5, 1, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def couplings(full, inputs):
    return trace(full, inputs[:2])


def cut(full, couplings, share):
    widths = {c.name: max(1, round(share * c.num_units)) for c in couplings.free}
    return Cutting.of(full, couplings, leading(couplings, widths))


@pytest.fixture
def before(full, couplings):
    return cut(full, couplings, 0.5)


@pytest.fixture
def after(full, couplings):
    return cut(full, couplings, 0.8)


def stirred(model):
    """The model with other weights and norm statistics, as if it had been trained."""
    generator = torch.Generator().manual_seed(3)
    for tensor in named_tensors(model).values():
        if tensor.is_floating_point():
            tensor.data.add_(torch.rand(tensor.shape, generator=generator) * 0.3)
    return model.eval()


@torch.no_grad()
def difference(one, other, inputs):
    """Largest difference of the outputs in double precision, over their largest value."""
    expected, found = (network.double()(inputs.double()) for network in (one, other))
    return float((expected - found).abs().max() / expected.abs().max())


def test_new_units_leave_the_output_as_it_is(full, before, after, inputs):
    old = stirred(fresh(full, before))
    new = widened(old, full, before, after).eval()
    assert sum(p.numel() for p in new.parameters()) > sum(p.numel() for p in old.parameters())
    assert difference(old, new, inputs) < 1e-12


def test_units_that_are_split_leave_the_output_as_it_is(full, before, after, inputs):
    old = stirred(fresh(full, before))
    new = widened(old, full, before, after).eval()
    between = Between.of(before, after)
    for coupling in after.couplings.free:
        is_new = between.new_units(coupling.name, coupling.num_units)
        parents = between.units[coupling.name][1][: int(is_new.sum())]
        split_(new, coupling, is_new, parents, torch.Generator().manual_seed(0))
    assert difference(old, new, inputs) < 1e-6  # shares are drawn in single precision
    for coupling in after.couplings.free:
        for member in coupling.of_kind("input"):
            rows = member.rows(named_tensors(new)[member.tensor])
            assert (rows.abs().sum(dim=1) > 0).all()


def test_more_new_units_than_old_ones_are_all_split_off(full, couplings, after, inputs):
    before = cut(full, couplings, 0.2)
    old = stirred(fresh(full, before))
    new = widened(old, full, before, after).eval()
    between, expected = Between.of(before, after), new(inputs)
    for coupling in after.couplings.free:
        parents = between.units[coupling.name][1]
        is_new = between.new_units(coupling.name, coupling.num_units)
        assert len(parents) < int(is_new.sum())
        split_all_(new, coupling, is_new, parents, torch.Generator().manual_seed(0))
    assert torch.allclose(new(inputs), expected, rtol=1e-4, atol=1e-5)
    for coupling in after.couplings.free:
        for member in coupling.of_kind("input"):
            rows = member.rows(named_tensors(new)[member.tensor])
            assert (rows.abs().sum(dim=1) > 0).all()


def test_copies_do_not_learn_the_same(full, before, after, inputs):
    old = stirred(fresh(full, before))
    new = widened(old, full, before, after).train()
    between = Between.of(before, after)
    coupling = after.couplings.free[0]
    is_new = between.new_units(coupling.name, coupling.num_units)
    parents = between.units[coupling.name][1][: int(is_new.sum())]
    split_(new, coupling, is_new, parents, torch.Generator().manual_seed(0))
    new(inputs).square().sum().backward()
    tensor = coupling.of_kind("filter")[0]
    gradient = tensor.rows(dict(new.named_parameters())[tensor.tensor].grad)
    child = is_new.nonzero().flatten()[0]
    assert not torch.allclose(gradient[child], gradient[parents[0]])


def test_couplings_of_a_cut_network_are_those_that_are_found_in_it(full, before, inputs):
    network = fresh(full, before)
    found = {c.name: c for c in trace(network, inputs[:2]).free}
    for coupling in before.couplings.free:
        ours = {(m.tensor, m.axis, m.kind): m.index.tolist() for m in coupling.members}
        theirs = found[coupling.name].members
        assert ours == {(m.tensor, m.axis, m.kind): m.index.tolist() for m in theirs}


def test_a_cut_of_scattered_units_moves_the_others(full, couplings):
    keep = {c.name: torch.arange(c.num_units) % 2 == 1 for c in couplings.free}
    cutting = Cutting.of(full, couplings, Structure(keep))
    tensors = named_tensors(fresh(full, cutting))
    for coupling in shrunk(couplings, cutting.structure, cutting.plan).free:
        for member in coupling.members:
            assert int(member.index.max()) < tensors[member.tensor].shape[member.axis]


def test_momentum_stays_with_its_weight_and_new_weights_have_none(full, before, after, inputs):
    old = fresh(full, before)
    optimizer = make_optimizer(old, SETTINGS)
    old.train()(inputs).square().sum().backward()
    optimizer.step()
    new = widened(old, full, before, after)
    between = Between.of(before, after)
    state = widened_moments(
        optimizer.state_dict(),
        parameter_names(new),
        between,
        (named_tensors(old), named_tensors(new)),
    )
    wide = make_optimizer(new, SETTINGS)
    wide.load_state_dict(state)
    olds, news = dict(old.named_parameters()), dict(new.named_parameters())
    for name, parameter in news.items():
        momentum = wide.state[parameter]["momentum_buffer"]
        source = between.source(name, parameter, olds[name])
        known = source != NEVER
        expected = optimizer.state[olds[name]]["momentum_buffer"].flatten()[source[known]]
        assert momentum[known].equal(expected)
        assert not momentum[~known].any()


ADAM = TrainSettings(epochs=1, lr=0.01, optimizer="adamw", weight_decay=0.0)


def test_new_weights_move_no_further_with_adamw_than_the_rate(full, before, after, inputs):
    old = fresh(full, before)
    optimizer = make_optimizer(old, ADAM)
    old.train()(inputs).square().mean().backward()
    optimizer.step()
    for parameter, state in optimizer.state.items():
        # As after many steps with gradients like this one.
        state["step"].fill_(10_000.0)
        state["exp_avg_sq"].copy_(parameter.grad.square())
    new = widened(old, full, before, after)
    between, tensors = Between.of(before, after), (named_tensors(old), named_tensors(new))
    moments = widened_moments(optimizer.state_dict(), parameter_names(new), between, tensors)
    wide = make_optimizer(new, ADAM)
    wide.load_state_dict(moments)
    start = {name: p.detach().clone() for name, p in new.named_parameters()}
    new.train()(inputs).square().mean().backward()
    wide.step()
    moved = 0.0
    for name, parameter in new.named_parameters():
        unknown = between.source(name, parameter, tensors[0][name]) == NEVER
        moved = max([moved, *(parameter.detach() - start[name])[unknown].abs().tolist()])
    assert 0 < moved <= 1.5 * ADAM.lr


def walked(model, couplings, inputs, steps):
    """DessiLBI after some steps on ``model``."""
    horizon = Horizon(num_steps=steps, path_time=steps * 0.05, seed=0)
    method = SplitLBI(SplitLBISettings(twin="filter"), horizon)
    optimizer = make_optimizer(model, SETTINGS)
    method.attach(model, optimizer, couplings)
    for _ in range(steps):
        optimizer.zero_grad()
        model.train()(inputs).square().mean().backward()
        optimizer.step()
    return method


def test_the_path_of_old_units_goes_on_and_new_ones_have_not_entered(full, before, after, inputs):
    old = fresh(full, before)
    method = walked(old, before.couplings, inputs, 12)
    new = widened(old, full, before, after)
    between = Between.of(before, after)
    tensors, olds = named_tensors(new), named_tensors(old)
    wide = SplitLBI(SplitLBISettings(twin="filter"), Horizon(12, 0.6, 0))
    wide.attach(new, make_optimizer(new, SETTINGS), after.couplings)
    wide.load_state_dict(
        grown_state(
            method,
            wide,
            lambda name: (
                between.source(name, tensors[name], olds[name]),
                tuple(olds[name].shape),
            ),
            between.units,
        )
    )
    was, now = method.path().couplings, wide.path().couplings
    for name, (places_before, places_now) in between.units.items():
        assert now[name].entry_step[places_now].equal(was[name].entry_step[places_before])
        dual = now[name].factors["dual"]
        assert dual[places_now].tolist() == pytest.approx(
            was[name].factors["dual"][places_before].tolist()
        )
        new_units = between.new_units(name, len(now[name]))
        assert not dual[new_units].any()
        assert (now[name].entry_step[new_units] == NEVER).all()


def test_weights_of_a_narrow_start_are_as_large_as_if_drawn_for_it():
    torch.manual_seed(0)
    full = nn.Sequential(nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3), nn.Flatten())
    full = nn.Sequential(*full, nn.Linear(32, 2))
    couplings = trace(full, torch.randn(2, 1, 5, 5))
    narrow = fresh(full, cut(full, couplings, 0.25))
    drawn = nn.Conv2d(16, 8, 3)
    stds = [float(layer.weight.detach().std()) for layer in (narrow[2], drawn)]
    assert stds[0] == pytest.approx(stds[1], rel=0.1)
