"""The certificate catches what it is there for."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Agreement, Couplings
from compressor.couplings.index_flow import index_flow
from compressor.errors import CheckError
from compressor.strip.apply import apply
from compressor.strip.certificate import (
    Certificate,
    certify,
    compare,
    relative_difference,
    weights_sha256,
)
from compressor.strip.plan import make_plan
from compressor.strip.trial import shake
from compressor.structure import Structure

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
    assert certificate.inputs == 2 * 6
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


def test_class_numbers_are_compared_too():
    assert relative_difference(torch.tensor([1, 4]), torch.tensor([2, 4])) == 0.25


class Anywhere(nn.Module):
    """A network for images of any size, with a norm over its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3)
        self.norm, self.head = nn.GroupNorm(2, 8), nn.Linear(6, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.relu(self.second(x)).mean(dim=(2, 3)))


def certified(net, images, form="module", **more):
    couplings = replace(index_flow(net, images), form=form)
    keep = {c.name: torch.arange(c.num_units) % 3 > 0 for c in couplings.free}
    return certify(net, couplings, Structure(keep), [images], **more)


@pytest.fixture
def anywhere(images):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return shake(Anywhere(), images, seed=1)


@pytest.mark.parametrize("form", ["module", "graph"])
def test_each_kind_of_input_has_figures_of_its_own(anywhere, images, form):
    found = certified(anywhere, images, form)
    found.check()
    kinds = {"given": 8, "random": 8} | ({"other size": 12} if form == "module" else {})
    assert {entry.kind: entry.shapes[0][-1] for entry in found.by_input} == kinds
    assert found.max_rel_diff_fp64 == max(entry.max_rel_diff_fp64 for entry in found.by_input)
    assert all(entry.output_spread > 1e-3 for entry in found.by_input)
    assert (found.form, found.inputs) == (form, 8)
    assert found.kept_divisors == (("norm",) if form == "module" else ("group_norm",))


def test_captured_graph_is_certified_at_one_size(anywhere, images):
    assert certified(anywhere, images).sizes == "second size 12 x 12"
    assert certified(anywhere, images, "graph").sizes.startswith("one size: the captured graph")


def test_network_of_one_size_says_so(net, couplings, make_structure, images):
    found = certify(net, couplings, make_structure(1), [images])
    assert found.sizes.startswith("one size: the network does not run on [12, 12] pixels (mat1 ")
    assert [entry.kind for entry in found.by_input] == ["given", "random"]


def test_cut_that_holds_at_one_size_only_is_caught(anywhere, images):
    class Demanding(Anywhere):
        def forward(self, x):
            x = torch.relu(self.norm(self.first(x)))
            if x.shape[1] < x.shape[2] - 3:
                raise ValueError("too narrow")
            return self.head(torch.relu(self.second(x)).mean(dim=(2, 3)))

    net = Demanding()
    net.load_state_dict(anywhere.state_dict())
    with pytest.raises(CheckError, match=r"kind 'other size', and once .* \(too narrow\)"):
        certified(net, images)


def test_random_statistics_find_what_those_of_a_new_network_hide(make_net, couplings, images):
    new = make_net(0)
    wrong = with_members(
        couplings, lambda m: replace(m, kind="statistic") if m.kind in ("shift", "input") else m
    )
    keep = {c.name: torch.arange(c.num_units) % 2 == 0 for c in couplings.free}
    hidden = certify(new, wrong, Structure(keep), [images])
    hidden.check()
    found = certify(new, wrong, Structure(keep), [images], statistics="random")
    assert found.statistics == "random"
    with pytest.raises(CheckError, match="not the masked one"):
        found.check()


def test_fingerprints_are_those_of_the_dense_and_of_the_slim_weights(
    net, couplings, make_structure, images
):
    structure = make_structure(1)
    found = certify(net, couplings, structure, [images])
    slim = apply(make_plan(net, couplings, structure), net)
    assert found.dense_sha256 == weights_sha256(net)
    assert found.slim_sha256 == weights_sha256(slim) != found.dense_sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"b": state["a"]},
        lambda state: {"a": state["a"].reshape(1, 2)},
        lambda state: {"a": state["a"].double()},
        lambda state: {"a": state["a"] + 1e-6},
    ],
)
def test_fingerprint_notices_name_shape_type_and_value(change):
    class Holder(nn.Module):
        def __init__(self, state):
            super().__init__()
            for name, value in state.items():
                self.register_buffer(name, value)

    state = {"a": torch.tensor([1.0, 2.0])}
    assert weights_sha256(Holder(state)) == weights_sha256(Holder({"a": state["a"].clone()}))
    assert weights_sha256(Holder(change(state))) != weights_sha256(Holder(state))


def test_certificate_is_plain_json_with_what_the_second_engine_said(
    net, couplings, make_structure, images
):
    asked = replace(couplings, agreement=Agreement(("index-flow", "torch-pruning"), same=2))
    found = certify(net, asked, make_structure(1), [images]).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["agreement"]["same"] == 2
    assert found["torch"] == torch.__version__
    assert [entry["kind"] for entry in found["by_input"]] == ["given", "random"]
    assert found == certify(net, asked, make_structure(1), [images]).to_json()


def test_half_precision_network_is_compared_in_float32(net, couplings, make_structure, images):
    certificate = certify(net.bfloat16(), couplings, make_structure(1), [images])
    certificate.check()
    assert net.head.weight.dtype == torch.bfloat16
