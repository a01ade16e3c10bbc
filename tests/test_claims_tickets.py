"""E3c: when masked retraining counts as stripped retraining, and what its masks hold."""

import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).parents[1] / "tools"
sys.path.insert(0, str(TOOLS))

from claims_digits import couplings_of, digits, masked, network  # noqa: E402
from claims_judge import judge_masked  # noqa: E402
from claims_list import CLAIMS  # noqa: E402
from claims_paths import masks_of  # noqa: E402


def seeds(filters, units=(0.95, 0.95, 0.95), ticket=(0.95, 0.95, 0.95), dense=0.95):
    """Figures of three seeds."""
    return [
        {
            "masked_filters_accuracy": filters[seed],
            "masked_units_accuracy": units[seed],
            "ticket_accuracy": ticket[seed],
            "dense_accuracy": dense,
        }
        for seed in range(3)
    ]


@pytest.mark.parametrize(
    ("figures", "holds"),
    [
        (seeds((0.95, 0.95, 0.95)), True),
        # Within a point, however certain.
        (seeds((0.942, 0.942, 0.942)), True),
        (seeds((0.965, 0.965, 0.965)), False),
        # Two standard errors are wider than a point where seeds differ,
        (seeds((0.93, 0.968, 0.988)), True),
        # but never by more than half a point.
        (seeds((0.91, 0.97, 1.0, 0.95), units=(0.92, 0.95, 1.03)), False),
        (seeds((0.95, 0.95, 0.95), units=(0.97, 0.97, 0.97)), False),
        # All the same, and all worse than the dense network.
        (seeds((0.95, 0.95, 0.95), dense=0.965), False),
    ],
)
def test_masked_and_stripped_are_the_same_within_noise_and_as_good_as_dense(figures, holds):
    verdict = judge_masked(figures)
    assert verdict.holds is holds
    assert verdict.measured["masked_filters_gain_accuracy"]["mean"] == pytest.approx(
        sum(f["masked_filters_accuracy"] - f["ticket_accuracy"] for f in figures) / 3
    )


def test_the_noise_is_shown_beside_the_tolerance_that_it_gives():
    measured = judge_masked(seeds((0.93, 0.95, 1.0))).measured
    noise = 2 * measured["masked_filters_gain_accuracy"]["standard_error"]
    assert measured["masked_filters_gain_two_errors"] == noise > 0.015
    assert measured["masked_filters_gain_allowed"] == pytest.approx(0.015)
    assert measured["masked_units_gain_allowed"] == pytest.approx(0.01)


def test_one_seed_has_the_point_alone():
    assert judge_masked(seeds((0.945, 0, 0))[:1]).holds
    assert not judge_masked(seeds((0.93, 0, 0))[:1]).holds


def test_it_is_judged_by_what_tickets_are_trained_for():
    assert (CLAIMS["E3c"].part, CLAIMS["E3c"].gates) == ("tickets", True)


def test_masks_leave_out_the_entries_that_make_a_filter():
    net, task = network(0), digits()
    couplings = couplings_of(net, task)
    draw = torch.Generator().manual_seed(0)
    keep = {c.name: torch.rand(c.num_units, generator=draw) < 0.5 for c in couplings.free}
    masks = masks_of(net, couplings, keep, "filter", "bias")
    expected = masked(net, couplings, keep).state_dict()
    assert len(masks.keep) == 6
    for name, value in net.state_dict().items():
        mask = masks.keep.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value * mask, expected[name])
    filters = masks_of(net, couplings, keep, "filter")
    assert all(name.endswith("weight") for name in filters.keep)
