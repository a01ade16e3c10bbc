"""The certificate catches what it is there for."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Couplings
from compressor.errors import CheckError
from compressor.strip.certificate import Certificate, certify, compare, relative_difference

GOOD = Certificate(1e-7, 1e-15, 4, 0.1)
NAN = float("nan")


def with_members(couplings, change):
    """The couplings with each member of the wide one put through ``change``."""
    stem, wide = couplings.free
    return Couplings((stem, replace(wide, members=tuple(map(change, wide.members)))))


def test_sound_couplings_pass_with_room_to_spare(net, couplings, make_structure, images):
    certificate = certify(net, couplings, make_structure(1), [images, images[:2]])
    certificate.check()
    assert certificate.max_rel_diff_fp64 < 1e-13
    assert certificate.max_rel_diff_fp32 < 1e-6
    assert certificate.inputs == 6
    assert certificate.to_json()["bound_fp64"] == 1e-10


def test_plan_for_other_positions_than_the_mask_is_caught(net, couplings, make_structure, images):
    wrong = with_members(
        couplings, lambda m: replace(m, index=m.index.roll(1, 0)) if m.kind == "input" else m
    )
    certificate = certify(net, wrong, make_structure(1), [images])
    assert certificate.max_rel_diff_fp64 > 1e-3
    with pytest.raises(CheckError, match=r"not the masked one: max_rel_diff_fp32 is [\d.]+, the "):
        certificate.check()


def test_shift_that_is_not_zeroed_is_caught_where_its_readers_are_not(
    net, couplings, make_structure, images
):
    forgotten = ("shift", "input")
    wrong = with_members(
        couplings, lambda m: replace(m, kind="statistic") if m.kind in forgotten else m
    )
    difference, _ = compare(net, wrong, make_structure(1), [images])
    assert difference > 1e-3


def test_constant_outputs_are_refused(net, couplings, make_structure, images):
    nn.init.zeros_(net.head.weight)
    certificate = certify(net, couplings, make_structure(1), [images])
    assert certificate.max_rel_diff_fp64 == 0
    with pytest.raises(CheckError, match="certificate is empty: .* vary over the images by 0, "):
        certificate.check()


@pytest.mark.parametrize("broken", [NAN, float("inf")])
def test_weights_that_are_no_numbers_fail_the_check(net, couplings, make_structure, images, broken):
    nn.init.constant_(net.branch.weight, broken)
    with pytest.raises(CheckError):
        certify(net, couplings, make_structure(1), [images]).check()


def test_nan_in_the_last_batch_is_not_lost(net, couplings, make_structure, images):
    batches = [images.double(), images.double() * NAN]
    difference, spread = compare(net, couplings, make_structure(1), batches)
    assert difference != difference
    assert spread != spread


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_rel_diff_fp32", 2e-5),
        ("max_rel_diff_fp32", NAN),
        ("max_rel_diff_fp64", 2e-10),
        ("max_rel_diff_fp64", NAN),
        ("output_spread", 1e-6),
        ("output_spread", NAN),
    ],
)
def test_each_figure_has_a_bound_and_nan_passes_none(field, value):
    GOOD.check()
    with pytest.raises(CheckError):
        replace(GOOD, **{field: value}).check()


def test_network_keeps_its_weights_type_and_mode(net, couplings, make_structure, images):
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    certify(net, couplings, make_structure(1), [images])
    assert net.training
    assert net.stem.weight.dtype == torch.float32
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def test_difference_is_relative_to_the_largest_output():
    expected, found = torch.tensor([1.0, -4.0]), torch.tensor([1.5, -4.0])
    assert relative_difference(expected, found) == 0.125
    assert relative_difference(torch.zeros(2), torch.zeros(2)) == 0


def test_outputs_of_other_shapes_are_refused():
    with pytest.raises(CheckError, match=r"shapes \(2, 3\) and \(2, 2\)"):
        relative_difference(torch.zeros(2, 3), torch.zeros(2, 2))
