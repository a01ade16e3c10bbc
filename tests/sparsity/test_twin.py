"""Many twins at once against a loop over them, and what they keep."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.couplings.coupling import Member, gather
from compressor.sparsity.lbi_groups import GroupTwins
from compressor.sparsity.lbi_parts import unit_part, weight_part
from compressor.sparsity.lbi_weights import WeightTwins
from compressor.sparsity.prox import group_soft_threshold
from compressor.sparsity.twin import Twin
from compressor.structure import NEVER

ALPHA, NU = 0.1, 1.0


def whole(tensor, axis, num_units, kind="filter"):
    return Member(tensor, axis, torch.arange(num_units).view(-1, 1), kind)


MEMBERS = {
    "two": (
        whole("filter", 0, 3),
        Member("reader", 1, torch.tensor([[0, 3], [1, 4], [2, 5]]), "filter"),
    ),
    "blocks": (Member("blocks", 1, torch.arange(6).view(3, 2), "filter"),),
    "image": (whole("image", 0, 4), whole("scale", 0, 4, "scale")),
    "scale": (whole("other_scale", 0, 5, "scale"),),
}
"""Whole axes, blocks, gathered slices, vectors, and a tensor whose channels lie last."""

THRESHOLDS = {"two": 1.9, "blocks": 1.2, "image": 2.5, "scale": 0.9}


@pytest.fixture
def tensors():
    draw = torch.Generator().manual_seed(0)
    shapes = {
        "filter": (3, 2),
        "reader": (2, 6),
        "blocks": (2, 6),
        "image": (4, 3, 3, 2),
        "scale": (4,),
        "other_scale": (5,),
    }
    made = {n: torch.randn(s, dtype=torch.float64, generator=draw) for n, s in shapes.items()}
    made["image"] = made["image"].contiguous(memory_format=torch.channels_last)
    return made


def group_twins(tensors, kappa=1.0, names=tuple(MEMBERS)):
    twins = [
        Twin(
            name,
            tuple(unit_part(member, tensors[member.tensor]) for member in MEMBERS[name]),
            THRESHOLDS[name],
        )
        for name in names
    ]
    return GroupTwins(twins, tensors, kappa)


def weight_twins(tensors, kappa=1.0, **options):
    twins = [Twin(name, (weight_part(name, tensors[name]),), 0.4) for name in ("image", "filter")]
    return WeightTwins(twins, tensors, kappa, **options)


def walk(twins, num_steps, first=1):
    for step in range(first, first + num_steps):
        twins.advance(step, ALPHA, NU)
        twins.pull_()


def loop_step(weights, dual, gamma, threshold, kappa, alpha=ALPHA):
    """The published step for one twin, rows are groups: W, Z and Gamma afterwards."""
    pull = (weights - gamma) / NU
    dual = dual + alpha * pull
    return weights - kappa * alpha * pull, dual, kappa * group_soft_threshold(dual, threshold)


@pytest.mark.parametrize("kappa", [1.0, 2.0])
def test_many_units_at_once_are_the_loop_over_them(tensors, kappa):
    expected = {}
    for name, members in MEMBERS.items():
        weights = gather(tensors, members)
        dual, gamma = torch.zeros_like(weights), torch.zeros_like(weights)
        for _ in range(25):
            weights, dual, gamma = loop_step(
                weights, dual, gamma, THRESHOLDS[name], kappa, ALPHA / kappa
            )
        expected[name] = (weights, dual.norm(dim=1), gamma)
    twins = group_twins(tensors, kappa)
    for step in range(1, 26):
        twins.advance(step, ALPHA / kappa, NU)
        twins.pull_()
    for name, (weights, dual_norms, gamma) in expected.items():
        assert torch.allclose(gather(tensors, MEMBERS[name]), weights, atol=1e-12)
        assert torch.allclose(twins.dual_norms(name), dual_norms, atol=1e-12)
        assert torch.equal(twins.support(name), (gamma != 0).any(dim=1))
    kept = torch.cat([twins.support(name) for name in MEMBERS])
    assert 0 < kept.sum() < len(kept), "the case would say little"


@pytest.mark.parametrize("kappa", [1.0, 2.0])
def test_many_weights_at_once_are_the_loop_over_them(tensors, kappa):
    weights = torch.cat([tensors["image"].flatten(), tensors["filter"].flatten()]).view(-1, 1)
    dual, gamma = torch.zeros_like(weights), torch.zeros_like(weights)
    for _ in range(25):
        weights, dual, gamma = loop_step(weights, dual, gamma, 0.4, kappa)
    twins = weight_twins(tensors, kappa)
    for step in range(1, 26):
        twins.advance(step, ALPHA, NU)
        twins.pull_()
    found = torch.cat([twins.gamma(name)[0].flatten() for name in ("image", "filter")])
    assert torch.allclose(found, gamma.flatten(), atol=1e-12)
    flat = torch.cat([tensors["image"].flatten(), tensors["filter"].flatten()])
    assert torch.allclose(flat, weights.flatten(), atol=1e-12)
    assert (gamma != 0).any()


@pytest.mark.parametrize("make", [group_twins, weight_twins])
def test_the_pull_moves_each_entry_towards_gamma_by_its_own_gap(tensors, make):
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    twins = make(tensors)
    twins.advance(1, alpha=0.1, nu=4.0)
    twins.pull_()
    for part in twins._parts:
        expected = before[part.tensor] * (1 - 0.1 / 4.0)
        assert torch.allclose(tensors[part.tensor], expected)


def test_a_unit_enters_once_and_keeps_its_first_step_and_time(tensors):
    twins = group_twins(tensors, names=("image",))
    walk(twins, 29)
    steps, times = (values.clone() for values in twins.entries("image"))
    entered = twins.support("image")
    assert entered.any()
    assert ((steps > 1) & (steps < 29))[entered].all()
    assert torch.allclose(times[entered], steps[entered].double() * ALPHA)
    walk(twins, 1, first=30)
    assert torch.equal(twins.entries("image")[0][entered], steps[entered])


def test_before_any_step_nothing_has_entered(tensors):
    twins = group_twins(tensors)
    for name in MEMBERS:
        steps, times = twins.entries(name)
        assert not twins.support(name).any()
        assert (steps == NEVER).all()
        assert times.isinf().all()


@pytest.mark.parametrize("make", [group_twins, weight_twins])
def test_between_steps_one_tensor_is_kept_for_each_parameter(tensors, make):
    twins = make(tensors)
    walk(twins, 3)
    kept = []
    for value in vars(twins).values():
        items = value if isinstance(value, list) else [value]
        kept += [item.numel() for item in items if isinstance(item, torch.Tensor)]
    num_weights = sum(tensors[part.tensor].numel() for part in twins._parts)
    num_groups = sum(twin.parts[0].num_groups for twin in twins._twins)
    cached = 5 * num_groups if make is group_twins else 0
    assert sum(kept) == num_weights + cached


def test_z_lies_in_memory_as_its_parameter_does(tensors):
    twins = weight_twins(tensors)
    assert twins._duals[0].stride() == tensors["image"].stride()
    walk(twins, 2)
    assert tensors["image"].is_contiguous(memory_format=torch.channels_last)


class Watch(TorchDispatchMode):
    """Remembers what was called."""

    def __init__(self):
        super().__init__()
        self.called = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.called.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("make", [group_twins, weight_twins])
def test_a_step_never_waits_for_the_device(tensors, make):
    twins = make(tensors)
    with Watch() as watch:
        walk(twins, 3)
    assert "_foreach_add_" in watch.called
    waiting = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "equal"}
    assert not watch.called & waiting


@pytest.mark.parametrize("make", [group_twins, weight_twins])
def test_loaded_twins_go_on_alike_and_share_nothing(tensors, make):
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    first = make(tensors)
    walk(first, 6)
    states = {name: first.state_dict(name) for name in first.names}
    for name, tensor in tensors.items():
        copies[name].copy_(tensor)
    second = make(copies)
    for name, state in states.items():
        second.load_state_dict(name, state)
    second.loaded()
    walk(first, 20, first=7)
    walk(second, 20, first=7)
    for name in first.names:
        assert torch.equal(second.dual_norms(name), first.dual_norms(name))
        assert torch.equal(second.support(name), first.support(name))
    assert all(torch.equal(copies[name], tensors[name]) for name in tensors)
    assert second.time == first.time


def test_epochs_of_entry_are_noted_once_when_an_epoch_closes(tensors):
    twins = weight_twins(tensors, keep_epochs=True)
    early, late = [], None
    for epoch in range(3):
        walk(twins, 5)
        twins.close_epoch(epoch)
        early.append(twins.support("image"))
    late = twins.entry_epochs("image", 15, 3)
    assert late.dtype == torch.int16
    for epoch, support in enumerate(early):
        before = early[epoch - 1] if epoch else torch.zeros_like(support)
        assert (late[support & ~before] <= epoch).all()
    assert ((late == NEVER) == ~(early[0] | early[1] | early[2])).all()
    assert len(late.unique()) > 2
