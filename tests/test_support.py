"""What the support costs, and where it is heading."""

import pytest

from compressor.count import layer_macs
from compressor.couplings.trace import trace
from compressor.sparsity.dense import DenseSettings
from compressor.sparsity.magnitude import MagnitudeSettings
from compressor.sparsity.split_lbi import SplitLBISettings
from compressor.strip.budget import Cost, StripSettings
from compressor.support import SupportWatch, forecast, to_keep_more
from compressor.tasks.classification import Classification, TaskSettings


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
    assert line == "support holds 40% of the parameters (50% of the units), budget 50%"


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
    assert line.endswith(", budget 90% of the latency, followed in MACs")
    notices = [watch.notices(record(chain, epoch, 1, 1)) for epoch in (1, 2, 3)]
    assert [len(said) for said in notices] == [0, 1, 0]
    assert "the budget is 90.0% of the latency, taken for that share of the MACs." in notices[1][0]


def test_milliseconds_are_compared_with_nothing(chain):
    watch = watching(chain, latency_ms=3.5)
    assert watch.line(record(chain, 1, 4, 3)).endswith(", budget 3.5 ms, which MACs do not tell")
    assert [watch.notices(record(chain, epoch, 1, 1)) for epoch in (1, 2, 3, 4)] == [[]] * 4
