import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compressor.couplings.coupling import Coupling, Member
from compressor.errors import TrainError
from compressor.sparsity.candidates import Weights
from compressor.sparsity.densities import (
    Layer,
    Schedule,
    default_interval,
    erdos_renyi,
    most_explored,
    num_exchanged,
    of_coupling,
    whole_counts,
)

from .formulas import expected_explored

SHAPES = st.lists(
    st.lists(st.integers(1, 20), min_size=1, max_size=5).map(tuple), min_size=1, max_size=8
)
DENSITIES = st.floats(0.01, 1.0)


@given(SHAPES, DENSITIES)
def test_erdos_renyi_densities_sum_to_the_target_and_none_is_above_one(shapes, density):
    sizes = [math.prod(shape) for shape in shapes]
    densities = erdos_renyi(shapes, density)
    assert all(0 < d <= 1 for d in densities)
    kept = sum(size * d for size, d in zip(sizes, densities, strict=True))
    assert kept == pytest.approx(density * sum(sizes), rel=1e-3)


@given(SHAPES, DENSITIES)
def test_layers_that_are_not_dense_are_proportional_to_their_factors(shapes, density):
    densities = erdos_renyi(shapes, density)
    scales = [d * math.prod(s) / sum(s) for d, s in zip(densities, shapes, strict=True)]
    sparse = [scale for scale, d in zip(scales, densities, strict=True) if d < 1]
    dense = [scale for scale, d in zip(scales, densities, strict=True) if d == 1]
    assert sparse == pytest.approx([sparse[0]] * len(sparse)) if sparse else True
    # Who is dense would have had more than all of it.
    assert all(scale <= max(sparse) * (1 + 1e-9) for scale in dense if sparse)


def test_erdos_renyi_makes_the_small_layer_dense_and_solves_the_rest_again():
    # Factors 4/4, 20/100 and 40/400: at one scale for all the first would have 1.5 of its weights.
    densities = erdos_renyi([(2, 2), (10, 10), (20, 20)], 0.2)
    scale = (0.2 * 504 - 4) / (20 + 40)
    assert densities == pytest.approx([1.0, 0.2 * scale, 0.1 * scale])


def test_erdos_renyi_goes_by_all_dimensions():
    (thin, thick) = erdos_renyi([(8, 8, 1, 1), (8, 8, 3, 3)], 0.1)
    assert thick / thin == pytest.approx(((8 + 8 + 3 + 3) / (64 * 9)) / ((8 + 8 + 1 + 1) / 64))


@given(SHAPES, DENSITIES)
def test_counts_are_whole_and_sum_to_the_target(shapes, density):
    sizes = [math.prod(shape) for shape in shapes]
    densities = erdos_renyi(shapes, density)
    total = round(sum(size * d for size, d in zip(sizes, densities, strict=True)))
    if total < len(sizes):
        with pytest.raises(TrainError, match=f"{len(sizes)} layers need one each"):
            whole_counts(sizes, densities)
        return
    counts = whole_counts(sizes, densities)
    assert sum(counts) == total
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))


def test_a_floor_of_one_is_paid_by_whoever_is_furthest_above_its_share():
    assert whole_counts([4, 4, 100], [0.05, 0.05, 0.06]) == [1, 1, 4]


def test_an_impossible_density_is_refused_with_the_one_that_is_possible():
    with pytest.raises(TrainError, match=r"density 0\.001 keeps 1 of 1200 .* 0\.0025 or more"):
        whole_counts([400, 400, 400], [0.001] * 3)


@pytest.mark.parametrize(
    ("share", "kept", "size", "expected"),
    [
        (0.5, 10, 100, 5),
        (0.1, 30, 100, 3),  # 0.1 * 30 is a little more than 3 in floats
        (0.005, 10, 100, 1),
        (0.5, 10, 12, 2),  # no more than there are others
        (0.5, 1, 12, 0),  # the last one stays
        (0.9, 10, 10, 0),
        (0.0, 10, 20, 0),
    ],
)
def test_the_share_that_is_exchanged_is_rounded_up_within_what_there_is(
    share, kept, size, expected
):
    assert num_exchanged(share, kept, size) == expected


def test_default_intervals_have_the_published_number_of_updates_where_the_run_is_long_enough():
    assert default_interval(88_000, 22) == 4000
    assert default_interval(700, 22) == 50
    assert default_interval(100, 22) == 20
    assert default_interval(1, 22) == 1


def test_updates_come_at_every_interval_until_the_stop_and_never_after_the_last_step():
    def due(schedule):
        return [step for step in range(101) if schedule.is_due(step)]

    assert due(Schedule(100, 75, 25, 0.5, 0.0)) == [25, 50, 75]
    assert due(Schedule(100, 100, 25, 0.5, 0.0)) == [25, 50, 75]
    assert due(Schedule(100, 0, 25, 0.5, 0.0)) == []
    assert [Schedule(100, 75, 25, 0.5, 0.0).num_done(s) for s in (24, 25, 99)] == [0, 1, 3]


def test_the_drop_share_falls_along_a_cosine_and_stays_at_its_end():
    schedule = Schedule(100, 80, 20, 0.5, 0.1)
    assert schedule.share(0) == 0.5
    assert schedule.shares()[1] == pytest.approx(0.3)
    assert schedule.share(80) == schedule.share(95) == pytest.approx(0.1)


def test_the_bound_counts_every_exchange_as_new_until_a_layer_is_through():
    assert most_explored([10, 10], [100, 15], [0.5, 0.3]) == pytest.approx((18 + 15) / 115)
    assert most_explored([], [], [0.5]) == 1.0


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
