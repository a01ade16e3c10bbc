"""What norms claim of units, against torch's norms on masked and on cut tensors."""

import pytest
import torch
from torch.nn import functional

from compressor.couplings.ledger import Ledger
from compressor.strip.norm_functions import group_norm, layer_norm

from .calls import Claim, apply_rule, aten, check_claims, claim_of, labelled, units_of

IMAGES = (3, 8, 4, 4)
VECTOR = ((8,), (0,))
STATISTIC = ((8,), (0,), False)
NOT_ZERO = "the norm runs over values that are not zero when masked in the network"


def batch(x, weight=None, bias=None, mean=None, var=None):
    var = torch.ones(x.shape[1], dtype=x.dtype) if var is None else var.abs() + 1
    mean = torch.zeros_like(var) if mean is None else mean
    return functional.batch_norm(x, mean, var, weight, bias)


def as_claim(ledger, result, *values):
    return Claim(values, result, units_of(ledger, result))


def test_batch_norm_takes_each_channel_by_itself():
    specs = [(IMAGES, (1,), False), VECTOR, VECTOR, STATISTIC, STATISTIC]
    claim = claim_of(aten.batch_norm.default, specs, (False, 0.1, 1e-5, False))
    assert check_claims(claim, batch) < 1e-12
    assert len(claim.free) == 8
    assert [sheet.zero for sheet in claim.result.sheets] == [True]


def test_batch_norm_without_scale_shifts_zeros():
    specs = [(IMAGES,), None, None, STATISTIC, STATISTIC]
    claim = claim_of(aten.batch_norm.default, specs, (False, 0.1, 1e-5, False))
    run = lambda x, mean, var: batch(x, None, None, mean, var)  # noqa: E731
    assert check_claims(claim, run) < 1e-12
    assert len(claim.free) == 8
    assert [sheet.zero for sheet in claim.result.sheets] == [False]


@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_of_zeros_is_zero(affine):
    vectors = [VECTOR, VECTOR] if affine else [None, None]
    arguments = (None, None, True, 0.1, 1e-5, False)
    claim = claim_of(aten.instance_norm.default, [(IMAGES,), *vectors], arguments)
    run = lambda x, *affine: functional.instance_norm(x, None, None, *affine)  # noqa: E731
    assert check_claims(claim, run) < 1e-12
    assert len(claim.free) == 8
    assert [sheet.zero for sheet in claim.result.sheets] == [True]


def test_instance_norm_runs_over_places():
    arguments = (None, None, None, None, True, 0.1, 1e-5, False)
    claim = claim_of(aten.instance_norm.default, [(IMAGES, (1, 3))], arguments)
    assert len(claim.free) == 8
    assert claim.reasons == {"the norm runs over them in the network"}


def test_layer_norm_is_exact_with_the_old_divisor():
    ledger = Ledger()
    value, weight, bias = (labelled(ledger, *spec) for spec in [((2, 5, 8), (2,)), VECTOR, VECTOR])
    result = apply_rule(ledger, aten.layer_norm.default, value, [8], weight, bias)
    claim = as_claim(ledger, result, value, weight, bias)
    run = lambda x, w, b: layer_norm(x, w.shape, w, b, 1e-5, 8)  # noqa: E731
    assert check_claims(claim, run) < 1e-12
    assert len(claim.free) == 8
    assert [sheet.zero for sheet in result.sheets] == [True]


def test_rms_norm_is_zero_where_its_scale_is():
    ledger = Ledger()
    value, weight = labelled(ledger, (2, 5, 8), (2,)), labelled(ledger, *VECTOR)
    result = apply_rule(ledger, aten.rms_norm.default, value, [8], weight)
    assert [sheet.zero for sheet in result.sheets] == [True]
    assert len(as_claim(ledger, result, value).free) == 8
    kinds = [ledger.role(owned) for owned in ledger.owned]
    assert kinds == ["shift", "scale"]


def test_layer_norm_without_scale_shifts_zeros():
    ledger = Ledger()
    value = labelled(ledger, (2, 5, 8), (2,))
    result = apply_rule(ledger, aten.layer_norm.default, value, [8])
    assert [sheet.zero for sheet in result.sheets] == [False]
    assert not units_of(ledger, result).reasons


@pytest.mark.parametrize(
    ("shape", "axes", "zero", "normalized", "num_free"),
    [
        ((2, 5, 8), (2,), False, [8], 0),
        ((2, 5, 8), (1,), True, [8], 5),
        ((2, 5, 8), (1, 2), True, [5, 8], 0),
        ((2, 5, 8), (1, 2), True, [8], 13),
    ],
)
def test_layer_norm_needs_zeros_along_its_own_axis(shape, axes, zero, normalized, num_free):
    ledger = Ledger()
    value = labelled(ledger, shape, axes, zero)
    result = apply_rule(ledger, aten.layer_norm.default, value, normalized)
    claim = as_claim(ledger, result, value)
    assert len(claim.free) == num_free
    assert claim.reasons <= {NOT_ZERO}


def test_norm_over_the_entries_of_heads_leaves_whole_heads():
    ledger = Ledger()
    flat = labelled(ledger, (2, 5, 12), (2,))
    value = apply_rule(ledger, aten.view.default, flat, [2, 5, 3, 4])
    weight = labelled(ledger, (4,), (0,))
    result = apply_rule(ledger, aten.rms_norm.default, value, [4], weight)
    classes = units_of(ledger, result)
    assert torch.equal(classes.of_label[:12].view(3, 4).float().std(1), torch.zeros(3))
    assert len(set(classes.of_label[:12].tolist())) == 3
    assert not classes.reasons


@pytest.mark.parametrize(("groups", "num_free"), [(8, 8), (4, 4), (2, 4), (1, 8)])
def test_group_norm_loses_whole_groups_or_places(groups, num_free):
    ledger = Ledger()
    value, weight, bias = (labelled(ledger, *spec) for spec in [(IMAGES,), VECTOR, VECTOR])
    result = apply_rule(ledger, aten.group_norm.default, value, groups, weight, bias)
    claim = as_claim(ledger, result, value, weight, bias)
    per_group = 8 // groups

    def run(x, weight, bias):
        left = x.shape[1] // per_group if groups >= per_group else groups
        return group_norm(x, left, weight, bias, 1e-5, per_group)

    assert check_claims(claim, run) < 1e-12
    assert len(claim.free) == num_free
    assert [sheet.zero for sheet in result.sheets] == [True]


@pytest.mark.parametrize(("groups", "num_free"), [(4, 4), (2, 0)])
def test_group_norm_of_values_that_are_not_zero_loses_only_whole_groups(groups, num_free):
    ledger = Ledger()
    value = labelled(ledger, IMAGES, (1,), False)
    result = apply_rule(ledger, aten.group_norm.default, value, groups)
    claim = as_claim(ledger, result, value)
    assert len(claim.free) == num_free
    assert claim.reasons <= {NOT_ZERO}


def test_group_norm_runs_over_places():
    ledger = Ledger()
    value = labelled(ledger, IMAGES, (3,))
    apply_rule(ledger, aten.group_norm.default, value, 2)
    assert set(units_of(ledger).reasons.values()) == {"the norm runs over them in the network"}


def test_vectors_of_a_norm_have_their_roles():
    ledger = Ledger()
    value, *vectors = (labelled(ledger, *spec) for spec in [(IMAGES,)] + [VECTOR] * 4)
    apply_rule(ledger, aten.batch_norm.default, value, *vectors, False, 0.1, 1e-5, False)
    kinds = [ledger.role(owned) for owned in ledger.owned[1:]]
    assert kinds == ["scale", "shift", "statistic", "statistic"]
