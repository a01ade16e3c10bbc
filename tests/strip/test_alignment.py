"""Steps in units that make multiples of channels, and how much of a network is aligned."""

import pytest
import torch

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.strip.alignment import alignment, channels, unit_step
from compressor.strip.budget import StripSettings, best_units, solve
from compressor.strip.cost import Cost
from compressor.structure import Path


def member(tensor, units, block, kind="filter", axis=0):
    return Member(tensor, axis, torch.arange(units * block).view(units, block), kind)


def heads(units=12, size=6):
    """Heads: stacked projections, their output, and a table with one entry for each head."""
    return Coupling(
        "heads",
        units,
        (
            member("qkv.weight", units, 3 * size),
            member("table", units, 1, axis=1),
            member("out.weight", units, size, "input", axis=1),
        ),
    )


def channel_coupling(units):
    return Coupling("c", units, (member("w", units, 1),))


@pytest.mark.parametrize(("multiple", "step"), [(1, 1), (2, 1), (4, 2), (8, 4), (16, 8)])
def test_units_of_six_channels_make_multiples_of_channels(multiple, step):
    assert unit_step(heads(), {"qkv.weight", "out.weight"}, multiple) == step


def test_units_as_wide_as_the_multiple_go_one_by_one():
    assert unit_step(heads(12, 64), {"qkv.weight", "out.weight"}, 16) == 1


def test_a_parameter_that_is_not_multiplied_does_not_count():
    weights = {"qkv.weight", "out.weight"}
    assert unit_step(heads(32, 16), weights, 16) == 1
    assert unit_step(heads(32, 16), weights | {"table"}, 16) == 16


def test_flattened_positions_do_not_hide_channels():
    flat = Coupling("f", 64, (member("w", 64, 1), member("head", 64, 49, "input", axis=1)))
    assert unit_step(flat, {"w", "head"}, 16) == 16


@pytest.mark.parametrize(
    ("units", "multiple", "step"),
    [
        (16, 16, 16),
        (15, 16, 4),
        (12, 16, 4),
        (3, 16, 4),
        (6, 8, 4),
        (1, 2, 2),
        (2, 3, 3),
        (5, 6, 4),
    ],
)
def test_a_coupling_narrower_than_the_multiple_goes_by_fours(units, multiple, step):
    assert unit_step(channel_coupling(units), {"w"}, multiple) == step


def network(widths):
    """Couplings in a row of 1x1 layers over one position, from three channels to ten classes."""
    names = [f"c{n}" for n in range(len(widths))]
    members = {name: [] for name in names}
    sizes, shapes = [3, *widths, 10], {}
    for number in range(len(sizes) - 1):
        weight = f"w{number}"
        shapes[weight] = (sizes[number + 1], sizes[number])
        if number < len(widths):
            members[names[number]].append(member(weight, widths[number], 1))
        if number:
            members[names[number - 1]].append(
                member(weight, widths[number - 1], 1, "input", axis=1)
            )
    free = tuple(Coupling(n, w, tuple(members[n])) for n, w in zip(names, widths, strict=True))
    cut = {
        weight: {m.axis: ((c.name, 1),) for c in free for m in c.members if m.tensor == weight}
        for weight in shapes
    }
    return Couplings(free), Cost(shapes, dict.fromkeys(shapes, 1.0), 0.0, cut)


def kept(couplings, *widths):
    scores = {c.name: torch.ones(c.num_units) for c in couplings.free}
    return best_units(scores, dict(zip(scores, widths, strict=True)))


def test_a_weight_is_aligned_when_all_of_its_cut_axes_are():
    couplings, cost = network([32, 32])
    found = alignment(cost, couplings, kept(couplings, 16, 24), 16)
    # w0 is 16 x 3, w1 24 x 16, w2 10 x 24: only the first has nothing but multiples of 16.
    assert (found.num_weights, found.num_aligned, found.share) == (3, 1, 1 / 3)
    assert found.macs_share == 48 / (48 + 384 + 240)
    assert found.odd == ()


def test_widths_that_are_no_multiple_of_four_are_named():
    couplings, cost = network([32, 32])
    found = alignment(cost, couplings, kept(couplings, 15, 20), 16)
    assert found.odd == ("c0",)
    assert found.to_json()["not_multiples_of_four"] == ["c0"]


def test_an_aligned_network_is_whole():
    couplings, cost = network([32, 64])
    found = alignment(cost, couplings, kept(couplings, 16, 64), 16)
    assert (found.share, found.macs_share) == (1, 1)


@pytest.mark.parametrize("budget", [0.35, 0.5, 0.8])
def test_solved_widths_are_multiples_of_channels_for_every_kind_of_unit(budget):
    free = (heads(12, 6), channel_coupling(64))
    shapes = {"qkv.weight": (216, 8), "out.weight": (8, 72), "w": (64, 9)}
    cut = {
        "qkv.weight": {0: (("heads", 18),)},
        "out.weight": {1: (("heads", 6),)},
        "w": {0: (("c", 1),)},
    }
    cost = Cost(shapes, dict.fromkeys(shapes, 1.0), 0.0, cut)
    couplings = Couplings(free)
    path = Path.of_scores("planted", {"heads": torch.rand(12), "c": torch.rand(64)})
    settings = StripSettings(keep_macs=budget, round_to=8)
    structure = solve(couplings, cost, path, couplings.everything(), settings)
    for coupling in free:
        assert channels(coupling, cost, structure.widths()[coupling.name]) % 8 == 0
