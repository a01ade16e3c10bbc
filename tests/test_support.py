"""What the support costs, and where it is heading."""

import pytest

from compressor.count import layer_macs
from compressor.couplings.trace import trace
from compressor.sparsity.dense import DenseSettings
from compressor.sparsity.magnitude import MagnitudeSettings
from compressor.sparsity.split_lbi import SplitLBISettings
from compressor.strip.budget import Cost, StripSettings
from compressor.support import (
    SupportCost,
    SupportWatch,
    forecast,
    meeting_epoch,
    stop_rule,
    to_keep_more,
)
from compressor.tasks.classification import Classification, TaskSettings
from compressor.train.stop_settings import StopSettings
from compressor.train.stopping import Look


@pytest.mark.parametrize(
    ("shares", "num_epochs", "expected"),
    [
        ({1: 0.1}, 4, 0.4),
        ({1: 0.0, 2: 0.1}, 4, 0.3),
        ({1: 0.2, 2: 0.2}, 10, 0.2),
        ({2: 0.5, 3: 0.4}, 6, 0.1),
        ({2: 0.5, 3: 0.1}, 6, 0.0),
        ({1: 0.5, 2: 0.9}, 4, 1.0),
        ({7: 0.35}, 10, 0.5),
        ({1: 0.1, 4: 0.3}, 4, 0.3),
    ],
)
def test_the_forecast_goes_on_as_the_last_epoch_did(shares, num_epochs, expected):
    assert forecast(shares, num_epochs) == pytest.approx(expected)


@pytest.fixture
def chain(make_net, digits):
    """Two couplings in a chain: removing units of one cuts the layer between them too."""
    model, example = make_net("plain"), Classification(digits, TaskSettings()).example(2)
    couplings = trace(model, example)
    return couplings, Cost.of(model, couplings, layer_macs(model, example))


def watching(chain, num_epochs=4, more="", **budget):
    couplings, cost = chain
    return SupportWatch(cost, couplings, StripSettings(**budget), num_epochs, more)


def widths(chain, *kept):
    return dict(zip([c.name for c in chain[0].free], kept, strict=True))


def record(chain, epoch, *kept):
    return {"epoch": epoch, "support": widths(chain, *kept)}


def test_the_share_is_that_of_the_narrower_network(chain):
    # 8x8 pixels, 3x3 filters, pooled to 4x4 and 2x2: (1->4) and (4->6), then 24 -> 10.
    whole = 64 * 9 * 4 + 16 * 9 * 4 * 6 + 24 * 10
    half = 64 * 9 * 2 + 16 * 9 * 2 * 3 + 12 * 10
    watch = watching(chain, keep_macs=0.5)
    assert watch.share(widths(chain, 4, 6)) == 1
    assert watch.share(widths(chain, 2, 3)) == pytest.approx(half / whole)
    assert watch.share(widths(chain, 0, 0)) == 0


def test_a_budget_of_parameters_is_followed_in_parameters(chain):
    watch = watching(chain, keep_params=0.5)
    figures = watch.figures(record(chain, 1, 2, 3))
    kept = (9 * 2 + 2) + (2 * 9 * 3 + 3) + (12 * 10 + 10)
    whole = (9 * 4 + 4) + (4 * 9 * 6 + 6) + (24 * 10 + 10)
    assert figures == {"support_params_share": pytest.approx(kept / whole)}
    line = watch.line(record(chain, 1, 2, 3))
    assert line.startswith("support holds 40% of the parameters (50% of the units), budget 50%")


def test_a_support_that_falls_short_is_told_once_with_its_figures(chain):
    watch = watching(chain, keep_macs=0.9)
    assert watch.notices(record(chain, 1, 1, 1)) == []
    (notice,) = watch.notices(record(chain, 2, 2, 3))
    assert "of the MACs after epoch 2 of 4 and is heading for" in notice
    assert "the budget is 90.0%" in notice
    assert "filled in by rank" in notice
    assert watch.notices(record(chain, 3, 2, 3)) == []


def test_a_support_that_will_reach_the_budget_is_not_told(chain):
    watch = watching(chain, keep_macs=0.5)
    for epoch, kept in ((1, (1, 1)), (2, (2, 3)), (3, (3, 5)), (4, (4, 6))):
        assert watch.notices(record(chain, epoch, *kept)) == []


def test_an_empty_support_is_left_to_the_method(chain):
    assert watching(chain, keep_macs=0.9).notices(record(chain, 4, 0, 0)) == []


def test_without_a_budget_there_is_a_share_and_no_warning(chain):
    watch = watching(chain)
    assert watch.notices(record(chain, 4, 1, 1)) == []
    assert "support_macs_share" in watch.figures(record(chain, 4, 1, 1))
    assert "budget" not in watch.line(record(chain, 4, 1, 1))


def test_a_method_without_a_support_has_nothing_to_tell(chain):
    watch = watching(chain, keep_macs=0.5)
    assert watch.figures({"epoch": 4, "support": {}}) == {}
    assert watch.notices({"epoch": 4, "support": {}}) == []


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        (SplitLBISettings(), "lower sparsity.entry_share"),
        (SplitLBISettings(nu=3.0), "lower sparsity.nu"),
        (MagnitudeSettings(schedule="cubic", density=0.2), "raise sparsity.density"),
        (MagnitudeSettings(), ""),
        (DenseSettings(), ""),
    ],
)
def test_what_to_do_about_a_small_support_is_a_setting_that_the_method_has(settings, more):
    assert to_keep_more(settings) == more


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ("", "by rank: train longer, or lower the budget."),
        (
            "raise sparsity.density",
            "raise sparsity.density, train longer, or lower the budget.",
        ),
    ],
)
def test_a_support_that_falls_short_is_told_with_what_the_method_can_do(chain, more, end):
    (notice,) = watching(chain, keep_macs=0.9, more=more).notices(record(chain, 2, 2, 3))
    assert notice.endswith(end)


def test_a_share_of_the_time_is_followed_in_macs_and_said_so(chain):
    watch = watching(chain, keep_latency=0.9)
    line = watch.line(record(chain, 1, 4, 3))
    assert line.startswith("support holds ")
    assert " of the MACs " in line
    assert ", budget 90% of the latency, followed in MACs, met in epoch 2" in line
    notices = [watch.notices(record(chain, epoch, 1, 1)) for epoch in (1, 2, 3)]
    assert [len(said) for said in notices] == [0, 1, 0]
    assert "the budget is 90.0% of the latency, taken for that share of the MACs." in notices[1][0]


def test_milliseconds_are_compared_with_nothing(chain):
    watch = watching(chain, latency_ms=3.5)
    assert watch.line(record(chain, 1, 4, 3)).endswith(", budget 3.5 ms, which MACs do not tell")
    assert [watch.notices(record(chain, epoch, 1, 1)) for epoch in (1, 2, 3, 4)] == [[]] * 4


@pytest.mark.parametrize(
    ("shares", "num_epochs", "budget", "expected"),
    [
        ({1: 0.1}, 10, 0.3, 3),
        ({1: 0.1}, 10, 0.31, 4),
        ({1: 0.1, 2: 0.3}, 10, 0.4, 3),
        ({1: 0.1, 2: 0.3}, 3, 0.5, 3),
        ({1: 0.1, 2: 0.3}, 3, 0.51, None),
        ({1: 0.1, 2: 0.1}, 10, 0.2, None),
        ({1: 0.3, 2: 0.1}, 10, 0.2, None),
        ({1: 0.1, 2: 0.5}, 10, 0.5, 2),
        ({1: 0.1, 2: 0.5, 3: 0.7}, 10, 0.5, 2),
        ({1: 0.6, 2: 0.4, 3: 0.5}, 10, 0.5, 3),
        ({6: 0.7}, 10, 0.5, 6),
        ({6: 0.3}, 10, 0.5, 10),
        ({1: 0.0, 2: 1e-300}, 10, 0.5, None),
    ],
)
def test_the_epoch_that_fills_the_budget_is_the_first_that_did_or_will(
    shares, num_epochs, budget, expected
):
    assert meeting_epoch(shares, num_epochs, budget) == expected


def test_the_outlook_is_logged_from_a_tenth_of_the_search_on(chain):
    watch = watching(chain, num_epochs=20, keep_macs=0.5)
    assert watch.outlook(record(chain, 1, 1, 1)) == {}
    share = watch.share(widths(chain, 1, 1))
    before = watch.share(widths(chain, 1, 0))
    watch.outlook(record(chain, 2, 1, 0))
    outlook = watch.outlook(record(chain, 3, 1, 1))
    assert outlook["support_share_at_end"] == pytest.approx(min(1, share + 17 * (share - before)))
    assert outlook["budget_met_epoch"] == 3 + -(-(0.5 - share) // (share - before))


@pytest.mark.parametrize(
    ("first", "second", "end"),
    [
        ((1, 1), (2, 3), "budget 50%, met in epoch 3"),
        ((2, 3), (2, 3), "budget 50%, not met by the end: heading for 36%"),
        ((1, 1), (4, 6), "budget 50%, met in epoch 2"),
        ((4, 6), (4, 3), "budget 50%, met in epoch 1, heading for 8%"),
    ],
)
def test_a_person_is_told_when_the_budget_will_be_met(chain, first, second, end):
    watch = watching(chain, keep_macs=0.5)
    watch.line(record(chain, 1, *first))
    assert watch.line(record(chain, 2, *second)).endswith(end)


def test_an_empty_support_and_a_search_that_stops_are_heading_nowhere(chain):
    watch = watching(chain, keep_macs=0.9)
    stopped = record(chain, 2, 1, 1) | {"stopped": "so"}
    assert watch.outlook(record(chain, 1, 0, 0)) == watch.outlook(stopped) == {}
    assert watch.line(stopped).endswith("budget 90%")
    assert watch.notices(stopped) == []


def test_without_a_share_as_budget_there_is_no_outlook(chain):
    assert watching(chain).outlook(record(chain, 4, 1, 1)) == {}
    assert watching(chain, latency_ms=2.0).outlook(record(chain, 4, 1, 1)) == {}


@pytest.fixture
def ruled(chain):
    """Figures of a rule and why it ends the search, for a support of these widths."""
    couplings, cost = chain

    def ask(kept, stop, **budget):
        rule = stop_rule(StopSettings(**stop), StripSettings(**budget), cost, couplings, 10)
        support = couplings.everything()
        for flags, width in zip(support.keep.values(), kept, strict=True):
            flags[width:] = False
        figures = rule.figures(Look(couplings.everything(), support, lambda batches: batches / 16))
        return figures, rule.why([figures | {"validation_accuracy": 0.95}])

    return ask


@pytest.mark.parametrize(
    ("stop", "budget", "key"),
    [
        ({}, {"keep_macs": 0.34}, "support_macs_share"),
        ({}, {"keep_latency": 0.34}, "support_macs_share"),
        ({"keep_macs": 0.34}, {"keep_params": 0.9}, "support_macs_share"),
        ({}, {"keep_params": 0.39}, "support_params_share"),
        ({"keep_params": 0.39}, {"keep_macs": 0.9}, "support_params_share"),
    ],
)
def test_the_budget_rule_ends_the_search_once_the_support_fills_the_budget(
    chain, ruled, stop, budget, key
):
    couplings, cost = chain
    in_macs, in_params = (
        SupportCost.in_macs(cost, couplings),
        SupportCost.in_params(cost, couplings),
    )
    counted = in_macs if key == in_macs.key else in_params
    stop = {"rule": "budget", **stop}
    figures, why = ruled((2, 3), stop, **budget)
    assert figures == {key: counted.share(widths(chain, 2, 3))}
    assert f"of the {counted.word}, and the budget is 3" in why
    assert ruled((2, 2), stop, **budget)[1] is None


def test_the_settings_reach_the_other_rules(ruled):
    assert ruled((2, 3), {"rule": "share", "share": 0.5})[1] is not None
    assert ruled((2, 2), {"rule": "share", "share": 0.5})[1] is None
    assert ruled((2, 3), {"rule": "stable", "jaccard": 0.5, "patience": 1})[1] is not None
    assert ruled((2, 2), {"rule": "stable", "jaccard": 0.5, "patience": 1})[1] is None
    assert ruled((2, 3), {"rule": "accuracy", "norm_batches": 8})[0] == {"masked_accuracy": 0.5}
