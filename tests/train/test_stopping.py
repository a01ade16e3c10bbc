"""What each rule that ends a search looks at, and when it holds."""

import pytest
import torch

from compressor.structure import Structure
from compressor.train.stopping import (
    AccuracyRule,
    BudgetRule,
    Look,
    ShareRule,
    StableRule,
    jaccard,
    lasts,
    learned,
    verdict,
)


def support(*flags):
    """A structure with a coupling for each text of zeros and ones."""
    return Structure(
        {
            str(i): torch.tensor([flag == "1" for flag in some], dtype=torch.bool)
            for i, some in enumerate(flags)
        }
    )


def never(_norm_batches):
    raise AssertionError("the rule has no need of the masked accuracy")


def look(now, before=None, accuracy=never):
    return Look(before or now, now, accuracy)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("1100", "10"), ("1100", "10"), 1.0),
        (("1100", "10"), ("0011", "01"), 0.0),
        (("1100", "10"), ("1010", "10"), 2 / 4),
        (("1111", "00"), ("1100", "11"), 2 / 6),
        (("0000", "00"), ("0010", "00"), 0.0),
        (("0000", "00"), ("0000", "00"), 1.0),
    ],
)
def test_the_jaccard_index_counts_units_of_all_couplings_together(one, other, expected):
    assert jaccard(support(*one), support(*other)) == expected
    assert jaccard(support(*other), support(*one)) == expected


@pytest.mark.parametrize(
    ("holds", "patience", "expected"),
    [
        ([], 1, False),
        ([True], 1, True),
        ([True], 2, False),
        ([False, True, True], 2, True),
        ([True, False, True], 2, False),
        ([True, True, False], 1, False),
    ],
)
def test_a_rule_must_hold_in_the_last_epochs_without_a_break(holds, patience, expected):
    assert lasts(holds, patience) is expected


def accuracies(*pairs):
    """Records with the accuracy of the whole network and of the masked one, None without one."""
    return [
        {"validation_accuracy": whole, **({} if masked is None else {"masked_accuracy": masked})}
        for whole, masked in pairs
    ]


@pytest.mark.parametrize(
    ("pairs", "ends"),
    [
        ([(0.95, 0.93), (0.95, 0.93)], True),
        ([(0.95, 0.929), (0.95, 0.93)], False),
        ([(0.95, 0.93), (0.95, 0.929)], False),
        ([(0.95, None), (0.95, 0.95)], False),
        ([(0.95, 0.95), (0.95, None)], False),
        ([(0.9, 0.95), (0.9, 0.95)], True),
        ([(0.95, 0.95)], False),
    ],
)
def test_accuracy_ends_where_the_masked_network_is_close_for_long_enough(pairs, ends):
    assert (AccuracyRule(delta=0.02, patience=2).why(accuracies(*pairs)) is not None) is ends


@pytest.mark.parametrize(
    ("num_classes", "least"), [(10, 0.2), (100, 0.02), (4, 0.5), (3, 2 / 3), (2, 0.75)]
)
def test_a_network_has_learned_once_it_is_twice_as_good_as_guessing(num_classes, least):
    assert learned(num_classes) == pytest.approx(least)


def test_two_networks_that_both_guess_end_nothing():
    rule = AccuracyRule(delta=0.01, patience=2, least=0.2)
    guessing = accuracies((0.1, 0.1), (0.11, 0.12))
    assert rule.why(guessing) is None
    assert rule.why([*guessing, *accuracies((0.2, 0.2))]) is None
    assert rule.why([*guessing, *accuracies((0.2, 0.2), (0.5, 0.5))]) is not None


def test_a_gap_of_exactly_delta_counts_whatever_its_last_bit_is():
    assert 0.95 - 0.94 > 0.01
    assert AccuracyRule(delta=0.01, patience=1).why(accuracies((0.95, 0.94))) is not None


def test_the_masked_accuracy_is_taken_only_of_a_network_in_which_no_coupling_is_empty():
    rule = AccuracyRule(delta=0.01, patience=1)
    assert rule.figures(look(support("10", "00"))) == {}
    assert rule.figures(look(support("10", "01"), accuracy=lambda _: 0.7)) == {
        "masked_accuracy": 0.7
    }


def test_a_coupling_whose_branch_may_go_may_be_empty():
    rule = AccuracyRule(delta=0.01, patience=1, may_go=frozenset({"1"}))
    assert rule.figures(look(support("10", "00"), accuracy=lambda _: 0.7)) == {
        "masked_accuracy": 0.7
    }
    assert rule.figures(look(support("00", "11"))) == {}


def stable_over(*supports, jaccard=0.7, patience=1):
    """Why the rule ends after the last of these supports; the first is that of the beginning."""
    rule, history = StableRule(jaccard, patience), []
    for before, now in zip(supports, supports[1:], strict=False):
        history.append(verdict(rule, look(now, before), history, {}))
    return history[-1].get("stopped")


@pytest.mark.parametrize(
    ("supports", "patience", "ends"),
    [
        (("0000", "0000", "0000"), 1, False),
        (("0000", "0100"), 1, False),
        (("0000", "0100", "0100"), 1, True),
        (("0000", "0100", "0100"), 2, False),
        (("0000", "0100", "0100", "0100"), 2, True),
        (("0000", "0100", "0000", "0000"), 1, False),
        (("0000", "0111", "1111"), 1, True),
        (("0000", "0110", "0111"), 1, False),
        (("1111", "1111", "1111"), 1, False),
        (("1111", "1110"), 1, True),
        (("0000", "1111", "1111"), 1, True),
    ],
)
def test_a_support_is_stable_once_it_has_moved_and_hardly_moves_any_more(supports, patience, ends):
    why = stable_over(*(support(some) for some in supports), patience=patience)
    assert (why is not None) is ends


def test_the_share_is_that_of_the_units_of_all_couplings():
    rule = ShareRule(0.5)
    assert rule.figures(look(support("1100", "10"))) == {"units_share": 0.5}
    assert "50.0% of the units" in rule.why([{"units_share": 0.5}])
    assert rule.why([{"units_share": 0.49}]) is None


def test_the_budget_is_compared_with_the_cost_of_the_support():
    cost = {(2, 1): 0.3}
    rule = BudgetRule(0.3, lambda widths: cost[tuple(widths.values())], "macs_share", "MACs")
    assert rule.figures(look(support("1100", "10"))) == {"macs_share": 0.3}
    why = rule.why([{"macs_share": 0.3}])
    assert why == "the support holds 30.0% of the MACs, and the budget is 30.0%"
    assert rule.why([{"macs_share": 0.29}]) is None


def test_a_verdict_has_the_figures_and_only_at_the_end_the_reason():
    rule = ShareRule(0.5)
    assert verdict(rule, look(support("1000")), [], {}) == {"units_share": 0.25}
    ended = verdict(rule, look(support("1110")), [], {})
    assert ended == {"units_share": 0.75, "stopped": rule.why([{"units_share": 0.75}])}
