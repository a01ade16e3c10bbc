"""Branches that a structure leaves nothing of go as blocks: from the budget to the slim network."""

import copy
import json

import onnxruntime
import pytest
import torch
from torch import nn

from compressor.count import count, layer_macs
from compressor.couplings.branch import Branch, dead_branches, without_dead
from compressor.couplings.coupling import check_fit, mask_
from compressor.errors import StripError, StructureError
from compressor.strip.apply import apply
from compressor.strip.budget import Cost, StripSettings, solve
from compressor.strip.certificate import certify
from compressor.strip.compare import compare
from compressor.strip.find import find_couplings
from compressor.strip.hold import hold
from compressor.strip.plan import StripPlan, make_plan
from compressor.strip.trial import shake
from compressor.structure import Path, Structure


def layer(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block with two couplings of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = layer(8, 12), layer(12, 10), layer(10, 8)

    def forward(self, x):
        inside = torch.relu(self.second(torch.relu(self.first(x))))
        return torch.relu(x + self.last(inside))


class Residual(nn.Module):
    """A stem, two residual blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = layer(3, 8), nn.Sequential(Block(), Block())
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.stem(x))).mean(dim=(2, 3)))


FIRST, SECOND = "blocks.0.first.0", "blocks.0.second.0"


@pytest.fixture(scope="module")
def net(images):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return shake(Residual(), images, seed=1)


@pytest.fixture(scope="module")
def couplings(net, images):
    return find_couplings(net, images, "index-flow", depth="remove")


@pytest.fixture(scope="module")
def emptied(couplings):
    """One coupling of the first block without units, the others with some half of theirs."""
    keep = {c.name: torch.arange(c.num_units) % 3 != 1 for c in couplings.free}
    return Structure({**keep, SECOND: torch.zeros(10, dtype=torch.bool)})


@pytest.fixture(scope="module")
def plan(net, couplings, emptied):
    return StripPlan.from_json(json.loads(json.dumps(make_plan(net, couplings, emptied).to_json())))


def test_branches_are_offered_only_if_they_are_asked_for(net, couplings, images):
    assert [b.couplings for b in couplings.branches] == [
        (FIRST, SECOND),
        ("blocks.1.first.0", "blocks.1.second.0"),
    ]
    assert find_couplings(net, images, "index-flow").branches == ()
    with pytest.raises(StripError, match="Use the engine index-flow"):
        find_couplings(net, images, "torch-pruning", depth="remove")


def test_plan_takes_the_whole_branch_and_cuts_nothing_in_it(net, couplings, emptied, plan):
    assert plan == make_plan(net, couplings, emptied)
    assert (plan.form, [b.name for b in plan.branches]) == ("graph", ["blocks.0"])
    assert not [cut.tensor for cut in plan.cuts if cut.tensor.startswith("blocks.0")]
    assert {w.coupling for w in plan.widths if not w.kept} == {FIRST, SECOND}


def test_network_without_the_branch_is_the_masked_one(net, couplings, emptied, plan, images):
    net, images = copy.deepcopy(net).double(), images.double()
    slim, masked = apply(plan, net), copy.deepcopy(net)
    mask_(masked, couplings, emptied)
    assert (slim(images) - masked(images)).abs().max() <= 1e-10
    assert (slim(images) - net(images)).abs().max() > 1e-3


def test_certificate_holds_and_names_the_branch(net, couplings, emptied, images):
    certificate = certify(net, couplings, emptied, [images])
    certificate.check()
    assert (certificate.form, certificate.branches) == ("graph", ("blocks.0",))


def test_fresh_network_takes_the_weights_of_the_slim_one(net, plan, images):
    slim, fresh = apply(plan, net), apply(plan, Residual().eval())
    assert not torch.allclose(slim(images), fresh(images))
    fresh.load_state_dict(slim.state_dict())
    assert torch.equal(slim(images), fresh(images))
    assert not any(name.startswith("blocks.0") for name in slim.state_dict())


def test_macs_fall_by_those_of_the_branch(net, couplings, images):
    keep = {**couplings.everything().keep, FIRST: torch.zeros(12, dtype=torch.bool)}
    slim = apply(make_plan(net, couplings, Structure(keep)), net)
    macs = layer_macs(net, images)
    inside = sum(amount for name, amount in macs.items() if name.startswith("blocks.0"))
    assert count(net, images).macs - count(slim, images).macs == inside > 0


def test_file_without_the_branch_gives_what_the_network_gives(net, plan, images, tmp_path):
    slim, path = apply(plan, net), str(tmp_path / "slim.onnx")
    torch.onnx.export(slim, (images,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert torch.allclose(torch.from_numpy(found), slim(images), atol=1e-5)


def test_coupling_outside_of_branches_keeps_a_unit(couplings):
    keep = {**couplings.everything().keep, "stem.0": torch.zeros(8, dtype=torch.bool)}
    with pytest.raises(StructureError, match="stem.0: the structure keeps none of its 8 units"):
        check_fit(couplings, Structure(keep))


def solved(net, couplings, images, scores, **settings):
    cost = Cost.of(net, couplings, layer_macs(net, images))
    path, settings = Path.of_scores("planted", scores), StripSettings(depth="remove", **settings)
    structure = solve(couplings, cost, path, couplings.everything(), settings)
    removed = {name: kept.numel() - int(kept.sum()) for name, kept in structure.keep.items()}
    return structure, cost.macs(removed) / cost.macs({})


def test_tight_budget_gives_up_the_branch_with_the_lower_scores(net, couplings, images):
    scores = {c.name: torch.arange(c.num_units).double() for c in couplings.free}
    scores[SECOND] = torch.zeros(10).double()
    structure, share = solved(net, couplings, images, scores, keep_macs=0.3, round_to=1)
    assert [b.name for b in dead_branches(couplings.branches, structure)] == ["blocks.0"]
    assert structure.widths()[FIRST] == structure.widths()[SECOND] == 0
    assert all(width for name, width in structure.widths().items() if "blocks.0" not in name)
    assert 0.98 * 0.3 <= share <= 0.3
    assert compare(net, couplings, structure, [images.double()])[0] <= 1e-10


def test_wide_budget_gives_up_nothing(net, couplings, images):
    scores = {c.name: torch.arange(c.num_units).double() for c in couplings.free}
    structure, _ = solved(net, couplings, images, scores, keep_macs=0.7, round_to=1)
    assert all(structure.widths().values())


def test_budget_below_all_floors_is_met_without_branches(net, couplings, images):
    scores = {c.name: torch.ones(c.num_units).double() for c in couplings.free}
    structure, share = solved(net, couplings, images, scores, keep_macs=0.1, floor_share=0.9)
    assert len(dead_branches(couplings.branches, structure)) == 2
    assert share <= 0.1


def test_branch_without_support_goes_and_others_keep_theirs(net, couplings, images):
    scores = {c.name: torch.ones(c.num_units).double() for c in couplings.free}
    support = {**couplings.everything().keep, FIRST: torch.zeros(12, dtype=torch.bool)}
    cost = Cost.of(net, couplings, layer_macs(net, images))
    path = Path.of_scores("planted", scores)
    settings = StripSettings(depth="remove")
    structure = solve(couplings, cost, path, Structure(support), settings)
    assert structure.widths() == {**couplings.everything().widths(), FIRST: 0, SECOND: 0}


@pytest.mark.parametrize("word", ["keep", "freeze"])
def test_branch_with_a_held_layer_stays(net, couplings, word):
    held = hold(couplings, net, StripSettings(**{word: ("blocks.0.last",)})).couplings
    assert [branch.name for branch in held.branches] == ["blocks.1"]


def branch(name, couplings, calls):
    return Branch(name, name, "add", 0, tuple(calls), (), tuple(couplings), (), ())


@pytest.mark.parametrize(("empty", "dead"), [("in", {"inner"}), ("out", {"inner", "outer"})])
def test_smallest_branch_around_an_empty_coupling_goes_with_all_inside_it(empty, dead):
    branches = (branch("inner", ["in"], "ab"), branch("outer", ["in", "out"], "abcd"))
    whole = {name: torch.ones(2, dtype=torch.bool) for name in ("in", "out", "beside")}
    structure = Structure({**whole, empty: torch.zeros(2, dtype=torch.bool)})
    found = dead_branches(branches, structure)
    assert {b.name for b in found} == dead
    gone = {name for b in found for name in b.couplings}
    widths = without_dead(branches, structure).widths()
    assert {name for name, width in widths.items() if not width} == gone
