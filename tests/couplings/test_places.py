"""Operators that count places: what keeps their count right, and what they hold."""

import pytest
import torch

from compressor.couplings.ledger import Ledger

from .calls import Claim, apply_rule, aten, check_claims, claim_of, labelled, units_of

SHAPE = (2, 6, 4, 4)


@pytest.mark.parametrize(
    ("target", "arguments", "num_free"),
    [
        (aten.split.Tensor, (2, 1), 2),
        (aten.split_with_sizes.default, ([3, 3], 1), 3),
        (aten.chunk.default, (2, 1), 3),
        (aten.tensor_split.sections, (3, 1), 2),
        (aten.unsafe_split.Tensor, (2, 1), 2),
    ],
)
def test_equal_parts_stay_equal(target, arguments, num_free):
    claim = claim_of_parts(target, SHAPE, arguments)
    assert len(claim.free) == num_free
    assert not claim.reasons


def claim_of_parts(target, shape, arguments):
    """The claim on a concatenation of all parts, last first."""
    ledger = Ledger()
    value = labelled(ledger, shape)
    parts = apply_rule(ledger, target, value, *arguments)
    whole = apply_rule(ledger, aten.cat.default, list(reversed(parts)), 1)
    return Claim([value], whole, units_of(ledger, whole))


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        (aten.split.Tensor, (4, 1)),
        (aten.chunk.default, (4, 1)),
        (aten.tensor_split.sections, (4, 1)),
        (aten.tensor_split.indices, ([2], 1)),
    ],
)
def test_parts_that_are_counted_hold_what_they_divide_unequally(target, arguments):
    claim = claim_of_parts(target, (2, 7, 4, 4), arguments)
    assert claim.free == []
    assert "divides them at places that do not move with them" in claim.reasons.pop()


@pytest.mark.parametrize(
    ("target", "arguments", "reason"),
    [
        (aten.slice.Tensor, (1, 0, 6, 2), "one in 2 is taken in the network"),
        (aten.roll.default, ([2], [1]), "they are rolled in the network"),
        (aten.roll.default, ([2],), "they are rolled in the network"),
    ],
)
def test_places_that_are_counted_stay(target, arguments, reason):
    claim = claim_of(target, [(SHAPE,)], arguments)
    assert claim.free == []
    assert claim.reasons == {reason}


def test_groups_are_shuffled_as_before_once_each_lost_the_same_places():
    claim = claim_of(aten.channel_shuffle.default, [((2, 12, 4, 4),)], (3,))
    assert check_claims(claim, lambda x: torch.channel_shuffle(x, 3)) == 0
    assert len(claim.free) == 4


def test_spatial_folding_of_channels_loses_whole_blocks():
    claim = claim_of(aten.pixel_shuffle.default, [((2, 12, 3, 3),)], (2,))
    assert check_claims(claim, lambda x: torch.pixel_shuffle(x, 2)) == 0
    assert len(claim.free) == 3
