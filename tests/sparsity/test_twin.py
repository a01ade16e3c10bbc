import pytest
import torch

from compressor.couplings.coupling import Member
from compressor.sparsity.prox import group_soft_threshold
from compressor.sparsity.twin import Twin, TwinState, split_lbi_step
from compressor.structure import NEVER


@pytest.fixture
def tensors():
    draw = torch.Generator().manual_seed(0)
    return {
        "filter": torch.randn(3, 2, dtype=torch.float64, generator=draw),
        "reader": torch.randn(2, 6, dtype=torch.float64, generator=draw),
    }


def members():
    return (
        Member("filter", 0, torch.tensor([[0], [1], [2]]), "filter"),
        Member("reader", 1, torch.tensor([[0, 3], [1, 4], [2, 5]]), "filter"),
    )


def test_a_step_is_the_published_one():
    draw = torch.Generator().manual_seed(1)
    weights, dual, gamma = torch.randn(3, 4, 2, dtype=torch.float64, generator=draw)
    after, pull = split_lbi_step(weights, TwinState(dual, gamma), 0.3, 5.0, 0.7, kappa=2.0)
    expected = (weights - gamma) / 5.0
    assert torch.equal(pull, expected)
    assert torch.allclose(after.dual, dual + 0.3 * expected)
    assert torch.allclose(after.gamma, 2.0 * group_soft_threshold(dual + 0.3 * expected, 0.7))


def test_weights_of_several_members_lie_side_by_side(tensors):
    weights = Twin(members(), tensors, threshold=1.0).weights()
    assert weights.shape == (3, 2 + 4)
    assert torch.equal(weights[1, :2], tensors["filter"][1])
    assert torch.equal(
        weights[1, 2:].sort().values, tensors["reader"][:, [1, 4]].flatten().sort().values
    )


def test_the_pull_moves_each_entry_towards_gamma_by_its_own_gap(tensors):
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    twin = Twin(members(), tensors, threshold=100.0)
    twin.advance(step=1, alpha=0.1, nu=4.0, kappa=1.0)
    twin.pull_(rate=0.1)
    for name, tensor in tensors.items():
        assert torch.allclose(tensor, before[name] * (1 - 0.1 / 4.0))


def test_a_unit_enters_once_and_keeps_its_first_step_and_time(tensors):
    twin = Twin(members(), tensors, threshold=0.5)
    for step in range(1, 30):
        twin.advance(step, alpha=0.1, nu=1.0, kappa=1.0)
    entered = twin.entry_step.clone()
    assert twin.support.all()
    assert ((entered > 1) & (entered < 29)).all()
    assert torch.allclose(twin.entry_time, entered.double() * 0.1)
    twin.advance(30, alpha=0.1, nu=1.0, kappa=1.0)
    assert torch.equal(twin.entry_step, entered)


def test_before_any_step_nothing_has_entered(tensors):
    twin = Twin(members(), tensors, threshold=0.5)
    assert not twin.support.any()
    assert (twin.entry_step == NEVER).all()
    assert twin.entry_time.isinf().all()


def test_a_loaded_twin_goes_on_alike_and_shares_nothing(tensors):
    first = Twin(members(), tensors, threshold=0.5)
    for step in range(1, 6):
        first.advance(step, alpha=0.1, nu=1.0, kappa=1.0)
    second = Twin(members(), tensors, threshold=9.0)
    second.load_state_dict(first.state_dict())
    kept = second.entry_step.clone()
    for step in range(6, 20):
        first.advance(step, alpha=0.1, nu=1.0, kappa=1.0)
    assert torch.equal(second.entry_step, kept)
    for step in range(6, 20):
        second.advance(step, alpha=0.1, nu=1.0, kappa=1.0)
    assert torch.equal(second.entry_step, first.entry_step)
    assert torch.equal(second.state.dual, first.state.dual)
    assert second.time == first.time
    assert second.threshold == 0.5
