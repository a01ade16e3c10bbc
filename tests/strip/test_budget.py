"""Budgets on a realistic network: never above, hardly below, floors and multiples respected."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torchvision.models import resnet18

from compressor.count import count, layer_macs
from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.couplings.trace import trace
from compressor.errors import BudgetError, StructureError
from compressor.strip.apply import apply
from compressor.strip.budget import (
    Cost,
    StripSettings,
    best_units,
    floor_of,
    removed_units,
    round_up,
    solve,
)
from compressor.strip.explain import explain
from compressor.strip.plan import make_plan
from compressor.structure import Path, Structure

EXAMPLE = torch.zeros(2, 3, 32, 32)

BUDGET_TOLERANCE = 0.02
"""How far below its budget a network of many small steps may end, as a share of the budget."""


@cache
def resnet() -> tuple[nn.Module, Couplings, Cost]:
    """resnet18 at 32 pixels; two images, so that a count for the batch would show."""
    net = resnet18(weights=None, num_classes=10)
    couplings = trace(net, EXAMPLE)
    return net, couplings, Cost.of(net, couplings, layer_macs(net, EXAMPLE))


def scores(couplings: Couplings, seed: int) -> Path:
    """Random scores whose size differs by orders from coupling to coupling."""
    generator = torch.Generator().manual_seed(seed)
    return Path.of_scores(
        "planted",
        {
            c.name: torch.rand(c.num_units, generator=generator).double()
            * 10 ** float(4 * torch.rand(1, generator=generator))
            for c in couplings.free
        },
    )


def solved(seed: int = 0, support: Structure | None = None, **chosen: object) -> Structure:
    _, couplings, cost = resnet()
    support = support or couplings.everything()
    return solve(couplings, cost, scores(couplings, seed), support, StripSettings(**chosen))


def share(structure: Structure, measure: str) -> float:
    cost = resnet()[2]
    whole = getattr(cost, measure)
    return whole(removed_units(structure)) / whole({})


@pytest.mark.parametrize("measure", ["macs", "params"])
@pytest.mark.parametrize("budget", [0.05, 0.12, 0.25, 0.37, 0.5, 0.9, 1.0])
def test_budget_is_never_passed_and_filled_to_two_percent(measure, budget):
    chosen = {f"keep_{measure}": budget, "round_to": 1, "floor_share": 0.05}
    kept = share(solved(**chosen), measure)
    assert (1 - BUDGET_TOLERANCE) * budget <= kept <= budget


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    budget=st.floats(0.1, 1.0),
    floor_share=st.floats(0.0, 0.2),
    round_to=st.sampled_from([1, 4, 8, 16]),
    seed=st.integers(0, 1000),
)
def test_widths_respect_budget_floor_and_multiple(budget, floor_share, round_to, seed):
    structure = solved(seed, keep_macs=budget, floor_share=floor_share, round_to=round_to)
    assert share(structure, "macs") <= budget
    for kept in structure.keep.values():
        width = int(kept.sum())
        assert width >= max(1, floor_share * len(kept))
        assert width % round_to == 0


def test_cost_equals_the_counts_of_the_stripped_network():
    net, couplings, cost = resnet()
    structure = solved(keep_macs=0.3)
    counts = count(apply(make_plan(net, couplings, structure), net), EXAMPLE)
    removed = removed_units(structure)
    assert (cost.macs(removed), cost.params(removed)) == (counts.macs, counts.params)
    dense = count(net, EXAMPLE)
    assert (cost.macs({}), cost.params({})) == (dense.macs, dense.params)


def test_layers_whose_weight_is_computed_keep_their_macs():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3))
    net = nn.Sequential(layer, nn.ReLU(), nn.Conv2d(6, 5, 1), nn.Flatten(), nn.Linear(4500, 2))
    couplings = trace(net, EXAMPLE)
    cost = Cost.of(net, couplings, layer_macs(net, EXAMPLE))
    counts = count(net, EXAMPLE)
    assert (cost.macs({}), cost.params({})) == (counts.macs, counts.params)
    assert cost.macs({"2": 5}) == 3 * 9 * 6 * 900


def test_same_path_gives_the_same_structure():
    first, second = solved(keep_macs=0.3), solved(keep_macs=0.3)
    assert all(torch.equal(first.keep[name], second.keep[name]) for name in first.keep)


def test_kept_units_are_the_best_of_their_coupling():
    structure, path = solved(keep_macs=0.3), scores(resnet()[1], 0)
    for name, score in path.scores().items():
        kept = structure.keep[name]
        assert kept.all() or score[kept].min() >= score[~kept].max()


def test_scores_of_couplings_are_compared_relative_to_their_mean(couplings, cost, path):
    chosen = StripSettings(keep_macs=0.5, round_to=1)
    plain = {name: s / s.mean() for name, s in path.scores().items()}
    first = solve(couplings, cost, path, couplings.everything(), chosen)
    rescaled = Path.of_scores("planted", plain)
    second = solve(couplings, cost, rescaled, couplings.everything(), chosen)
    assert first.widths() == second.widths()
    assert first.widths()["stem"] > 2


def test_larger_budget_keeps_more():
    shares = [share(solved(keep_macs=budget), "macs") for budget in (0.2, 0.4, 0.6, 0.8)]
    assert shares == sorted(set(shares))


def test_whole_budget_keeps_everything():
    assert solved(keep_macs=1.0).sparsity == 0
    assert solved(keep_params=1.0).sparsity == 0


def test_budget_below_the_floors_is_refused_with_figures():
    with pytest.raises(BudgetError) as error:
        solved(keep_macs=0.01, floor_share=0.5)
    assert str(error.value).startswith(
        "The budget keeps 0.01 of the MACs, but the floors alone cost 0.266"
    )
    assert "strip.floor_share (0.5) or strip.round_to (8)" in str(error.value)


def test_parameter_budget_below_the_floors_says_parameters():
    with pytest.raises(BudgetError, match="keeps 0.001 of the parameters, but the floors alone"):
        solved(keep_params=0.001)


def test_budget_below_one_unit_each_does_not_blame_the_floors(couplings, cost, path):
    held = couplings.freeze({"stem": "kept"})
    with pytest.raises(
        BudgetError, match=r"Even one unit of each coupling costs 0\.\d+, for the r"
    ):
        solve(held, cost, path_of(path, held), held.everything(), StripSettings(keep_macs=0.02))


def path_of(path: Path, couplings: Couplings) -> Path:
    """The part of ``path`` that ranks these couplings."""
    names = {coupling.name for coupling in couplings.free}
    scores = {name: score for name, score in path.scores().items() if name in names}
    return Path.of_scores("planted", scores)


def solve_and_explain(couplings, cost, path, **chosen):
    """Share of its budget that the structure reaches, and what is said of it."""
    asked = StripSettings(keep_macs=0.5, **chosen)
    structure = solve(couplings, cost, path, couplings.everything(), asked)
    reached = cost.macs(removed_units(structure)) / cost.macs({}) / 0.5
    return reached, explain(couplings, cost, path, structure, asked)


def test_budget_that_is_reached_needs_no_explanation(couplings, cost, path):
    reached, said = solve_and_explain(couplings, cost, path, round_to=1)
    assert reached >= 1 - BUDGET_TOLERANCE
    assert said is None


def coarse(units: dict[str, int], macs: dict[str, float]) -> tuple[Couplings, Cost, Path]:
    """Couplings that share no tensor, each unit of one with the same MACs."""
    free = tuple(
        Coupling(name, n, (Member(name, 0, torch.arange(n).view(n, 1), "filter"),))
        for name, n in units.items()
    )
    shapes = {name: (n,) for name, n in units.items()}
    cost = Cost(shapes, macs, 0.0, {name: {0: ((name, 1),)} for name in units})
    ranked = {name: torch.arange(n, 0.0, -1.0).double() for name, n in units.items()}
    return Couplings(free), cost, Path.of_scores("planted", ranked)


@pytest.mark.parametrize(
    ("units", "macs", "chosen", "limit"),
    [
        ({"a": 32, "b": 32}, {"a": 1.0, "b": 2.0}, {"round_to": 16}, "strip.round_to = 16"),
        (
            {"a": 2, "b": 3},
            {"a": 40.0, "b": 43.0},
            {"keep_macs": 0.814, "floor_share": 0.6, "round_to": 1},
            "strip.floor_share = 0.6",
        ),
        (
            {"a": 4, "b": 6},
            {"a": 20.0, "b": 21.5},
            {"keep_macs": 0.814, "floor_share": 0.6, "round_to": 2},
            "strip.round_to = 2",
        ),
    ],
)
def test_limit_that_keeps_a_network_below_its_budget_is_named(units, macs, chosen, limit):
    couplings, cost, path = coarse(units, macs)
    asked = StripSettings(**{"keep_macs": 0.9, "floor_share": 0.0, **chosen})
    structure = solve(couplings, cost, path, couplings.everything(), asked)
    kept = cost.macs(removed_units(structure)) / cost.macs({})
    said = explain(couplings, cost, path, structure, asked)
    assert kept < (1 - BUDGET_TOLERANCE) * asked.keep_macs
    assert said.startswith(f"The slim network keeps {kept:.4f} of the MACs, ")
    assert f"below the budget of {asked.keep_macs}" in said
    assert f"{limit} holds it there, without it 0." in said


def test_network_of_few_units_is_told_that_they_are_too_large():
    couplings, cost, path = coarse({"a": 2}, {"a": 1.0})
    asked = StripSettings(keep_macs=0.9, round_to=1)
    structure = Structure({"a": torch.tensor([True, False])})
    said = explain(couplings, cost, path, structure, asked)
    assert said.endswith("single units of this network cost more than what is left.")


def test_without_a_budget_there_is_nothing_to_explain(couplings, cost, path):
    everything = couplings.everything()
    assert explain(couplings, cost, path, everything, StripSettings()) is None


def test_two_budgets_are_refused():
    with pytest.raises(ValidationError, match=r"keep_macs = 0\.5 and keep_params = 0\.4 are two"):
        StripSettings(keep_macs=0.5, keep_params=0.4)


@pytest.mark.parametrize(
    "wrong", [{"keep_macs": 0}, {"keep_macs": 1.1}, {"floor_share": -0.1}, {"round_to": 0}]
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        StripSettings(**wrong)


def test_support_is_kept_as_it_is_even_against_the_scores(couplings, cost, path):
    worst = {n: s <= s.sort().values[len(s) // 2 - 1] for n, s in path.scores().items()}
    support = Structure(worst)
    chosen = StripSettings(round_to=1, floor_share=0)
    structure = solve(couplings, cost, path, support, chosen)
    assert all(torch.equal(structure.keep[name], worst[name]) for name in worst)


def test_support_is_filled_up_to_the_multiple_with_the_best_of_the_rest(couplings, cost, path):
    worst = {n: s == s.min() for n, s in path.scores().items()}
    structure = solve(couplings, cost, path, Structure(worst), StripSettings(round_to=4))
    best = {n: s >= s.sort().values[-3] for n, s in path.scores().items()}
    assert structure.widths() == {"stem": 4, "wide": 4}
    assert all(torch.equal(structure.keep[n], worst[n] | best[n]) for n in worst)


def test_empty_support_becomes_the_floors(couplings, cost, path):
    nothing = Structure({c.name: torch.zeros(c.num_units).bool() for c in couplings.free})
    structure = solve(couplings, cost, path, nothing, StripSettings(round_to=1, floor_share=0.25))
    assert structure.widths() == {"stem": 4, "wide": 10}


@pytest.mark.parametrize(("units", "multiple", "floor"), [(16, 1, 2), (16, 8, 8), (40, 8, 8)])
def test_floor_is_a_share_rounded_up_to_the_multiple(couplings, units, multiple, floor):
    coupling = next(c for c in couplings.free if c.num_units == units)
    chosen = StripSettings(round_to=multiple, floor_share=0.1)
    assert floor_of(coupling, chosen, step=multiple) == floor
    assert floor_of(coupling, chosen, step=64) == units


def test_path_of_another_network_is_refused(couplings, cost, path):
    other = Path.of_scores("planted", {**path.scores(), "stem": torch.rand(17)})
    with pytest.raises(
        StructureError, match="ranks 57 units in 2 couplings, the network has 56 in"
    ):
        solve(couplings, cost, other, couplings.everything(), StripSettings())


def test_support_of_another_network_is_refused(couplings, cost, path):
    other = Structure({"stem": torch.ones(16).bool()})
    with pytest.raises(StructureError, match="^wide: the support is not one of its 40 units"):
        solve(couplings, cost, path, other, StripSettings())


def test_path_of_a_run_that_diverged_is_refused(couplings, cost, path):
    diverged = {**path.scores(), "wide": torch.full((40,), float("nan"))}
    with pytest.raises(StructureError, match="^wide: the path holds a score that is not a finite"):
        solve(
            couplings,
            cost,
            Path.of_scores("planted", diverged),
            couplings.everything(),
            StripSettings(keep_macs=0.5),
        )


def test_ties_go_to_the_first_units():
    structure = best_units({"a": torch.tensor([1.0, 2.0, 1.0, 2.0])}, {"a": 3})
    assert structure.keep["a"].tolist() == [True, True, False, True]


@pytest.mark.parametrize(("width", "multiple", "up"), [(1, 8, 8), (8, 8, 8), (9, 8, 16), (5, 1, 5)])
def test_rounding_goes_up(width, multiple, up):
    assert round_up(width, multiple) == up


def test_units_are_granted_in_the_order_of_their_scores_over_all_couplings(couplings, cost):
    planted = {"stem": torch.tensor([10.0] * 8 + [0.1] * 8), "wide": torch.ones(40)}
    share_of_macs = cost.macs({"stem": 8}) / cost.macs({})
    chosen = StripSettings(keep_macs=share_of_macs, round_to=1, floor_share=0)
    ranked = Path.of_scores("planted", planted)
    structure = solve(couplings, cost, ranked, couplings.everything(), chosen)
    assert structure.widths() == {"stem": 8, "wide": 40}


def attention_heads() -> tuple[nn.Module, torch.Tensor, Couplings]:
    """Attention of four heads over five tokens: a weight for three projections, blocks of 4."""
    layer, tokens = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), torch.zeros(2, 5, 16)
    three = torch.arange(48).view(3, 4, 4).transpose(0, 1).reshape(4, 12)
    members = (
        Member("self_attn.in_proj_weight", 0, three, "filter"),
        Member("self_attn.out_proj.weight", 1, torch.arange(16).view(4, 4), "input"),
    )
    return layer, tokens, Couplings((Coupling("self_attn", 4, members),))


def test_weights_and_products_of_attention_follow_its_heads():
    layer, tokens, heads = attention_heads()
    cost = Cost.of(layer, heads, layer_macs(layer, tokens))
    assert cost.macs({}) == count(layer, tokens).macs
    weights, products = 4 * 3 * 16 + 4 * 16, 2 * 5 * 5 * 4
    assert cost.params({}) - cost.params({"self_attn": 1}) == weights
    assert cost.macs({}) - cost.macs({"self_attn": 1}) == 5 * weights + products


def test_products_that_several_couplings_may_shrink_stay_whole():
    layer, tokens, heads = attention_heads()
    member = Member("self_attn.out_proj.bias", 0, torch.arange(16).view(16, 1), "bias")
    both = Couplings((*heads.free, Coupling("other", 16, (member,))))
    cost = Cost.of(layer, both, layer_macs(layer, tokens))
    weights = 4 * 3 * 16 + 4 * 16
    assert cost.macs({}) - cost.macs({"self_attn": 1}) == 5 * weights
    assert cost.fixed_macs == count(layer, tokens).other_macs


def test_tables_count_like_the_cost_they_are_made_of(couplings, cost):
    names = ["wide", "stem"]
    for measure, table in (("macs", cost.macs_table(names)), ("params", cost.params_table(names))):
        removed = {"wide": 7, "stem": 3}
        assert table.cost(np.array([7, 3])) == getattr(cost, measure)(removed)
    assert cost.macs_table(["stem"]).cost(np.array([3])) == cost.macs({"stem": 3})
