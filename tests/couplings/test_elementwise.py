"""Functions element by element, reductions, pooling: what they do to units and to zeros."""

import pytest
import torch

from compressor.couplings.elementwise import NOT_ZERO_AT_ZERO, ZERO_AT_ZERO
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Value

from .calls import (
    Claim,
    apply_rule,
    aten,
    check_claims,
    claim_of,
    labelled,
    make_call,
    units_of,
)

IMAGES = (2, 6, 4, 4)
ONE = (IMAGES,)


def at_zero(name):
    # The other functions know no integers, and this one nothing else.
    zeros = torch.zeros(3, dtype=torch.int64 if name == "bitwise_not" else torch.float64)
    return getattr(aten, name)(zeros)


@pytest.mark.parametrize("name", sorted(ZERO_AT_ZERO))
def test_functions_listed_as_zero_at_zero_are(name):
    assert not at_zero(name).any()


@pytest.mark.parametrize("name", sorted(NOT_ZERO_AT_ZERO))
def test_functions_listed_as_not_zero_at_zero_are_not(name):
    assert at_zero(name).all()


@pytest.mark.parametrize(
    ("target", "arguments", "zero"),
    [
        (aten.relu.default, (), True),
        (aten.sigmoid.default, (), False),
        (aten.clamp.default, (-1, 1), True),
        (aten.clamp.default, (0, None), True),
        (aten.clamp.default, (0.5, None), False),
        (aten.clamp.default, (None, -0.5), False),
        (aten.clamp_min.default, (0.1,), False),
        (aten.clamp_max.default, (6,), True),
        (aten.hardtanh.default, (), True),
        (aten.hardtanh.default, (0.5, 1), False),
        (aten.pow.Tensor_Scalar, (2,), True),
        (aten.pow.Tensor_Scalar, (0,), False),
        (aten.pow.Tensor_Scalar, (-1,), False),
        (aten.add.Tensor, (0,), True),
        (aten.add.Tensor, (1,), False),
        (aten.rsub.Scalar, (1,), False),
        (aten.mul.Tensor, (3,), True),
        (aten.div.Tensor, (3,), True),
        (aten.eq.Scalar, (0,), False),
        (aten.fill.Scalar, (0,), True),
        (aten.sum.dim_IntList, ([2, 3],), True),
        (aten.mean.dim, ([2, 3],), True),
        (aten.amax.default, ([2, 3],), True),
        (aten.var.correction, ([2, 3],), True),
        (aten.prod.dim_int, (3,), False),
        (aten.logsumexp.default, ([2, 3],), False),
        (aten.softmax.int, (3,), False),
        (aten.cumsum.default, (3,), False),
        (aten.max_pool2d.default, ([2, 2],), True),
        (aten.avg_pool2d.default, ([2, 2],), True),
        (aten.adaptive_avg_pool2d.default, ([1, 1],), True),
        (aten.upsample_nearest2d.vec, (None, [2.0, 2.0]), True),
    ],
)
def test_zero_of_a_removed_unit_stays_zero_where_it_is_said_to(target, arguments, zero):
    claim = claim_of(target, [ONE], arguments)
    assert check_claims(claim, lambda x: target(x, *arguments)) < 1e-12
    assert [sheet.zero for sheet in claim.result.sheets] == [zero]
    assert len(claim.free) == 6


@pytest.mark.parametrize(
    ("target", "zeros", "zero"),
    [
        (aten.add.Tensor, (True, True), True),
        (aten.add.Tensor, (True, False), False),
        (aten.sub.Tensor, (True, True), True),
        (aten.maximum.default, (True, True), True),
        (aten.max.other, (True, True), True),
        (aten.min.other, (True, False), False),
        (aten.mul.Tensor, (True, False), True),
        (aten.mul.Tensor, (False, False), False),
        (aten.div.Tensor, (True, False), True),
        (aten.div.Tensor, (False, True), False),
        (aten.remainder.Tensor, (True, False), True),
        (aten.pow.Tensor_Tensor, (True, True), False),
        (aten.clamp_min.Tensor, (True, True), False),
        (aten.atan2.default, (True, True), False),
        (aten.gt.Tensor, (True, True), False),
    ],
)
def test_two_operands_unite_place_by_place(target, zeros, zero):
    ledger = Ledger()
    first, second = (labelled(ledger, IMAGES, (1,), flag) for flag in zeros)
    result = apply_rule(ledger, target, first, second)
    classes = units_of(ledger, result)
    assert [sheet.zero for sheet in result.sheets] == [zero]
    assert torch.equal(classes.of_label[:6], classes.of_label[6:])
    assert len(set(classes.of_label.tolist())) == 6
    assert not classes.reasons


@pytest.mark.parametrize(
    ("shape", "axes", "num_free"),
    [((6, 1, 1), (0,), 6), ((2, 6, 1, 1), (1,), 6), ((4, 4), (), 6), ((1, 1, 4), (2,), 6)],
)
def test_operand_is_broadcast_before_places_meet(shape, axes, num_free):
    claim = claim_of(aten.mul.Tensor, [ONE, (shape, axes)])
    assert check_claims(claim, torch.mul) < 1e-12
    assert len(claim.free) == num_free


def test_operand_with_a_width_of_its_own_holds_the_units():
    claim = claim_of(aten.add.Tensor, [ONE, ((6, 1, 1), ())])
    assert claim.free == []
    assert claim.reasons == {"they meet values that keep their width in the network"}


def test_number_in_front_of_a_remainder_makes_no_zero():
    ledger = Ledger()
    value = labelled(ledger, IMAGES)
    result = apply_rule(ledger, aten.remainder.Scalar_Tensor, 2, value)
    assert [sheet.zero for sheet in result.sheets] == [False]


@pytest.mark.parametrize(("number", "zero"), [(0, True), (1.5, False)])
def test_where_and_masked_fill_with_numbers(number, zero):
    ledger = Ledger()
    value, mask = labelled(ledger, IMAGES), Value(IMAGES[2:], (), torch.ones(4, 4).bool())
    filled = apply_rule(ledger, aten.masked_fill.Scalar, value, mask, number)
    chosen = apply_rule(ledger, aten.where.ScalarOther, mask, value, number)
    assert [sheet.zero for sheet in filled.sheets] == [zero]
    assert not any(sheet.zero for sheet in chosen.sheets) or zero
    assert len(units_of(ledger).reasons) == 0


def test_mask_of_every_element_has_the_units_of_what_it_was_computed_from():
    ledger = Ledger()
    value = labelled(ledger, IMAGES)
    found = apply_rule(ledger, aten.gt.Scalar, value, 0)
    mask = Value(IMAGES, found.sheets, torch.ones(IMAGES).bool())
    result = apply_rule(ledger, aten.where.self, mask, value, value)
    assert torch.equal(result.sheets[0].labels, value.sheets[0].labels)
    assert not units_of(ledger, result).reasons


@pytest.mark.parametrize(
    ("target", "arguments", "zero", "num_free"),
    [
        (aten.sum.dim_IntList, ([1],), True, 6),
        (aten.sum.dim_IntList, ([1],), False, 0),
        (aten.sum.default, (), True, 6),
        (aten.linalg_vector_norm.default, (2, [1]), True, 6),
        (aten.mean.dim, ([1],), True, 0),
        (aten.amax.default, ([1],), True, 0),
        (aten.prod.dim_int, (1,), True, 0),
        (aten.var.correction, ([1],), True, 0),
        (aten.softmax.int, (1,), True, 0),
        (aten.cumsum.default, (1,), True, 0),
        (aten.argmax.default, (1,), True, 0),
        (aten.adaptive_avg_pool1d.default, ([2],), True, 6),
    ],
)
def test_reduction_over_units_lets_go_of_those_that_are_zeros_of_a_sum(
    target, arguments, zero, num_free
):
    shape = (2, 6, 4) if "pool" in str(target) else IMAGES
    claim = claim_of(target, [(shape, (1,), zero)], arguments)
    assert len(claim.free) == num_free
    assert check_claims(claim, lambda x: target(x, *arguments)) < 1e-12
    assert all(reason.endswith("in the network") for reason in claim.reasons)


def test_reason_names_the_operator_that_runs_over_units():
    claim = claim_of(aten.mean.dim, [ONE], ([1],))
    assert claim.reasons == {"mean runs over them in the network"}


def test_reduction_over_one_of_two_labelled_axes_lets_the_other_go():
    claim = claim_of(aten.mean.dim, [(IMAGES, (1, 2))], ([2],))
    assert len(claim.free) == 6
    assert set(claim.classes.reasons) == {6, 7, 8, 9}


@pytest.mark.parametrize("keepdim", [False, True])
def test_reduced_axes_leave_the_labels_or_stay_with_size_one(keepdim):
    ledger = Ledger()
    value = labelled(ledger, IMAGES, (2,))
    result = apply_rule(ledger, aten.sum.dim_IntList, value, [1, 3], keepdim)
    assert result.shape == ((2, 1, 4, 1) if keepdim else (2, 4))
    expected = value.sheets[0].labels.amax((1, 3), keepdim=keepdim)
    assert torch.equal(result.sheets[0].labels, expected)


def test_values_and_places_of_a_maximum_have_the_same_labels():
    ledger = Ledger()
    values, places = apply_rule(ledger, aten.max.dim, labelled(ledger, IMAGES), 3)
    assert torch.equal(values.sheets[0].labels, places.sheets[0].labels)


def test_largest_entries_along_an_axis_without_units():
    ledger = Ledger()
    value = labelled(ledger, IMAGES)
    values, _ = apply_rule(ledger, aten.topk.default, value, 2, 3)
    assert values.sheets[0].labels.shape == values.shape == (2, 6, 4, 2)
    assert torch.equal(values.sheets[0].labels, value.sheets[0].labels[..., :2])


def test_axis_that_pooling_slides_over_stays():
    claim = claim_of(aten.max_pool2d.default, [(IMAGES, (2,))], ([2, 2],))
    assert claim.reasons == {"max_pool2d mixes them in the network"}


def test_places_where_an_image_is_read_stay():
    ledger = Ledger()
    value, grid = labelled(ledger, IMAGES), labelled(ledger, (2, 3, 3, 2), (3,))
    apply_rule(ledger, aten.grid_sampler.default, value, grid, 0, 0, False)
    assert set(units_of(ledger).reasons) == {6, 7}


def test_slopes_of_a_prelu_leave_with_their_channels():
    claim = claim_of(aten.prelu.default, [ONE, ((6,), (0,))])
    assert check_claims(claim, torch.prelu) < 1e-12
    assert len(claim.free) == 6
    assert [sheet.zero for sheet in claim.result.sheets] == [True]


def test_one_slope_for_all_channels_stays():
    claim = claim_of(aten.prelu.default, [ONE, ((1,), ())])
    assert check_claims(claim, torch.prelu) < 1e-12
    assert len(claim.free) == 6


@pytest.mark.parametrize(
    ("target", "kind"), [(aten.mul.Tensor, "scale"), (aten.add.Tensor, "shift")]
)
def test_bare_parameter_is_a_scale_in_a_product_and_a_shift_in_a_sum(target, kind):
    ledger = Ledger()
    value = Value((2, 6, 4))
    apply_rule(ledger, target, value, labelled(ledger, (6, 1), (0,)))
    assert [ledger.role(owned) for owned in ledger.owned] == [kind]


def test_constants_are_computed():
    first, second = (Value((3,), (), torch.tensor(data)) for data in ([1, 2, 3], [0, 2, 4]))
    result = apply_rule(Ledger(), aten.sub.Tensor, first, second)
    assert torch.equal(result.constant, torch.tensor([1, 0, -1]))


def test_constant_and_a_value_give_no_constant():
    first = Value((3,), (), torch.tensor([1, 2, 3]))
    call = make_call(aten.add.Tensor, first, Value((3,)))
    assert apply_rule(Ledger(), call.target, first, Value((3,))).constant is None


def test_claims_are_really_put_to_the_test():
    """A sum over values that are not zero, claimed free all the same, is found out."""
    claim = claim_of(aten.sum.dim_IntList, [ONE], ([1],))
    wrong = Claim([value_without_zero(claim.values[0])], claim.result, claim.classes)
    assert check_claims(wrong, lambda x: x.sum(1)) > 0.1


def value_without_zero(value):
    return Value(value.shape, tuple(sheet.with_zero(zero=False) for sheet in value.sheets))
