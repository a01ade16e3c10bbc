"""What contractions claim of units, against the operators themselves."""

from functools import partial

import pytest
import torch
from torch.nn import functional

from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Value

from .calls import Claim, apply_rule, aten, check_claims, claim_of, labelled, units_of

IMAGES = (2, 8, 5, 5)


def grouped(x, weight, bias):
    """A convolution whose groups follow from what is left, as in the slim network."""
    return functional.conv2d(x, weight, bias, groups=x.shape[1] // weight.shape[1])


def transposed(groups):
    return lambda x, weight, bias: functional.conv_transpose2d(x, weight, bias, groups=groups)


@pytest.mark.parametrize(
    ("target", "specs", "arguments", "run", "num_free"),
    [
        (aten.linear.default, [((2, 3, 6), (2,)), ((5, 6), (0, 1)), ((5,), (0,))], (), None, 11),
        (aten.linear.default, [((4, 6), (1,), False), ((5, 6), (0, 1)), None], (), None, 11),
        (aten.linear.default, [((2, 3, 6), (1, 2)), ((5, 6), (0, 1))], (), None, 14),
        (aten.addmm.default, [((5,), (0,)), ((4, 6), (1,)), ((6, 5), (0, 1))], (), None, 11),
        (aten.mm.default, [((4, 6), (0, 1)), ((6, 5), (0, 1))], (), None, 15),
        (aten.bmm.default, [((2, 4, 6), (1, 2)), ((2, 6, 5), (1, 2))], (), None, 15),
        (aten.matmul.default, [((2, 3, 4, 6), (1, 3)), ((6, 5), (0, 1))], (), None, 14),
        (aten.matmul.default, [((3, 4, 6), (2,)), ((6,), (0,))], (), None, 6),
        (aten.matmul.default, [((6,), (0,)), ((6, 5), (0, 1))], (), None, 11),
        (aten.matmul.default, [((2, 3, 4, 6), (1,)), ((1, 3, 6, 5), (1, 3))], (), None, 8),
        (aten.conv2d.default, [(IMAGES,), ((6, 8, 3, 3), (0, 1)), ((6,), (0,))], (), None, 14),
        (aten.conv2d.default, [(IMAGES, (1,), False), ((6, 8, 1, 1), (0, 1))], (), None, 14),
        (aten.conv1d.default, [((2, 8, 5),), ((6, 8, 3), (0, 1))], (), None, 14),
        (aten.conv1d.default, [((8, 5), (0,)), ((6, 8, 3), (0, 1))], (), None, 14),
        (
            aten.conv2d.default,
            [(IMAGES,), ((8, 1, 3, 3), (0,)), ((8,), (0,))],
            ([1, 1], [0, 0], [1, 1], 8),
            grouped,
            8,
        ),
        (
            aten.conv2d.default,
            [(IMAGES,), ((12, 2, 3, 3), (0,)), ((12,), (0,))],
            ([1, 1], [0, 0], [1, 1], 4),
            grouped,
            4,
        ),
        (
            aten.conv2d.default,
            [(IMAGES,), ((6, 4, 3, 3), (0, 1)), ((6,), (0,))],
            ([1, 1], [0, 0], [1, 1], 2),
            grouped,
            7,
        ),
        (
            aten.conv_transpose2d.input,
            [(IMAGES,), ((8, 6, 2, 2), (0, 1)), ((6,), (0,))],
            (),
            transposed(1),
            14,
        ),
        (
            aten.conv_transpose2d.input,
            [(IMAGES,), ((8, 3, 2, 2), (0, 1)), ((6,), (0,))],
            ([1, 1], [0, 0], [0, 0], 2),
            transposed(2),
            7,
        ),
    ],
)
def test_units_without_trace_in_what_is_left(target, specs, arguments, run, num_free):
    claim = claim_of(target, specs, arguments)
    assert check_claims(claim, run or target) < 1e-12
    assert len(claim.free) == num_free


@pytest.mark.parametrize(
    ("equation", "shapes", "num_free"),
    [
        ("bnd,do->bno", (((2, 4, 6), (2,)), ((6, 5), (0, 1))), 11),
        ("bhnd,bhmd->bhnm", (((2, 3, 4, 5), (1, 3)), ((2, 3, 6, 5), (1, 3))), 8),
        ("nchw,ck->nkhw", ((IMAGES,), ((8, 5), (0, 1))), 13),
        ("bnd, om -> bdom", (((2, 4, 6), (1, 2)), ((5, 3), (0, 1))), 18),
    ],
)
def test_einsum_of_two_tensors(equation, shapes, num_free):
    ledger = Ledger()
    first, second = (labelled(ledger, *spec) for spec in shapes)
    result = apply_rule(ledger, aten.einsum.default, equation, [first, second])
    claim = Claim([first, second], result, units_of(ledger, result))
    assert check_claims(claim, lambda x, y: torch.einsum(equation, x, y)) < 1e-12
    assert len(claim.free) == num_free


@pytest.mark.parametrize("equation", ["bii,io->bo", "...d,do->...o", "bnd,do"])
def test_einsum_that_is_not_understood_freezes_by_its_equation(equation):
    ledger = Ledger()
    first, second = labelled(ledger, (2, 4, 4)), labelled(ledger, (4, 5))
    apply_rule(ledger, aten.einsum.default, equation, [first, second])
    classes = units_of(ledger)
    assert set(classes.reasons) == set(range(9))
    assert f"einsum {equation} in " in classes.reasons[0]


def attend(query, key, value):
    """With the scale of the network before anything went."""
    return functional.scaled_dot_product_attention(query, key, value, scale=0.5)


@pytest.mark.parametrize(
    ("specs", "num_free"),
    [
        ([((2, 3, 5, 4), (1,))] * 3, 3),
        ([((2, 3, 5, 4), (3,))] * 3, 8),
        ([((2, 3, 5, 4), (1, 3)), ((2, 3, 6, 4), (1, 3)), ((2, 3, 6, 7), (1, 3))], 14),
    ],
)
def test_attention_loses_heads_or_entries_that_are_zero(specs, num_free):
    target = aten.scaled_dot_product_attention.default
    ledger = Ledger()
    values = [labelled(ledger, *spec) for spec in specs]
    result = apply_rule(ledger, target, *values, scale=0.5)
    claim = Claim(values, result, units_of(ledger, result))
    assert check_claims(claim, attend) < 1e-12
    assert len(claim.free) == num_free


def test_queries_of_a_shared_key_are_one_unit():
    target = aten.scaled_dot_product_attention.default
    ledger = Ledger()
    query = labelled(ledger, (2, 6, 5, 4))
    key, value = (labelled(ledger, (2, 2, 5, 4)) for _ in range(2))
    result = apply_rule(ledger, target, query, key, value, scale=0.5, enable_gqa=True)
    claim = Claim([query, key, value], result, units_of(ledger, result))
    attend_shared = partial(attend_grouped, enable_gqa=True)
    assert check_claims(claim, attend_shared) < 1e-12
    assert len(claim.free) == 2


def attend_grouped(query, key, value, enable_gqa):
    times = query.shape[1] // key.shape[1]
    key, value = (operand.repeat_interleave(times, 1) for operand in (key, value))
    return attend(query, key, value)


def test_mask_of_attention_with_heads_of_its_own_holds_all_heads():
    ledger = Ledger()
    query, key, value = (labelled(ledger, (2, 3, 5, 4)) for _ in range(3))
    mask = Value((2, 3, 5, 5))
    target = aten.scaled_dot_product_attention.default
    result = apply_rule(ledger, target, query, key, value, mask)
    classes = units_of(ledger, result)
    assert set(classes.reasons) == set(range(6))
    assert "they meet values that keep their width" in classes.reasons[0]


def test_sum_over_values_that_are_not_zero_freezes_them():
    claim = claim_of(aten.mm.default, [((4, 6), (1,), False), ((6, 5), (0,), False)])
    assert claim.free == []
    assert claim.reasons == {
        "a sum runs over values that are not zero when masked in the network",
    }


@pytest.mark.parametrize("zero", [True, False])
def test_result_is_zero_where_its_bias_is(zero):
    specs = [((4, 6), (1,)), ((5, 6), (0, 1)), ((5,), (0,), zero)]
    claim = claim_of(aten.linear.default, specs)
    assert check_claims(claim, functional.linear) < 1e-12
    assert [sheet.zero for sheet in claim.result.sheets] == [zero]


def test_inputs_of_a_layer_that_reads_images_stay():
    claim = claim_of(aten.linear.default, [((4, 6), ()), ((5, 6), (0, 1))])
    assert len(claim.free) == 5
    assert check_claims(claim, torch.nn.functional.linear) < 1e-12


def test_axes_that_a_convolution_slides_over_stay():
    claim = claim_of(aten.conv2d.default, [(IMAGES, (1, 2)), ((6, 8, 3, 3), (0, 1, 3))])
    assert len(claim.free) == 14
    assert claim.reasons == {
        "a convolution mixes them in the network",
        "places of a kernel in the network",
    }


def test_groups_that_read_what_stays_stay():
    claim = claim_of(
        aten.conv2d.default,
        [(IMAGES, ()), ((8, 1, 3, 3), (0,)), None],
        ([1, 1], [0, 0], [1, 1], 8),
    )
    assert claim.free == []
    assert claim.reasons == {"each reads a group of values that stay in the network"}


def test_roles_of_a_layer_follow_from_what_it_does_with_its_tensors():
    ledger = Ledger()
    value, weight, bias = (
        labelled(ledger, *spec) for spec in [((4, 6),), ((5, 6), (0, 1)), ((5,), (0,))]
    )
    apply_rule(ledger, aten.linear.default, value, weight, bias)
    kinds = [(owned.name, owned.axis, ledger.role(owned)) for owned in ledger.owned]
    assert kinds[1:] == [
        ("tensor1", 0, "filter"),
        ("tensor1", 1, "input"),
        ("tensor3", 0, "bias"),
    ]


def test_bare_parameter_as_a_factor_is_a_layer():
    ledger = Ledger()
    weight = labelled(ledger, (6, 5), (0, 1))
    value = Value((4, 6))
    apply_rule(ledger, aten.matmul.default, value, weight)
    assert [ledger.role(owned) for owned in ledger.owned] == ["input", "filter"]
