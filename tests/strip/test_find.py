"""Couplings by two engines: they agree, one is refuted by cutting, or the run stops."""

from dataclasses import replace

import pytest
import torch
import torchvision
from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, Couplings
from compressor.couplings.index_flow import index_flow
from compressor.couplings.trace import trace
from compressor.errors import CouplingError
from compressor.strip import find
from compressor.strip.find import compare_units, find_couplings, units_of

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def built(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(torchvision.models, name)(weights=None, num_classes=10)


class Shuffled(nn.Module):
    """A channel shuffle between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)
        return self.head(torch.relu(self.body(x)).mean(dim=(2, 3)))


class Sum(nn.Module):
    """Two inputs, each with a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head((self.left(x) + self.right(y)).mean(dim=(2, 3)))


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3920, 4)
    )


@pytest.mark.parametrize(("name", "num_couplings"), [("resnet18", 12), ("mobilenet_v2", 25)])
def test_engines_agree_on_networks_that_both_master(name, num_couplings):
    agreement = find_couplings(built(name), IMAGES).agreement
    assert agreement.engines == ("index-flow", "torch-pruning")
    assert agreement.same == num_couplings
    assert (agreement.refuted, agreement.note) == ((), "")


def test_answer_that_cutting_shows_to_be_wrong_is_refuted():
    couplings = find_couplings(Shuffled(), IMAGES)
    assert {c.name: c.num_units for c in couplings.free} == {"stem": 4, "body": 5}
    assert couplings.agreement.refuted == ("stem",)
    assert couplings.agreement.same == 1


def test_answer_that_cutting_does_not_refute_is_a_contradiction(monkeypatch):
    """Where index flow lacks a member that torch-pruning has right, nobody goes on."""
    net = plain()
    right = index_flow(net, IMAGES)
    first = right.free[0]
    poor = replace(right, free=(replace(first, members=first.members[:-1]), *right.free[1:]))
    monkeypatch.setattr(find, "freeze_what_fails", lambda _model, couplings, _example: couplings)
    monkeypatch.setattr(find, "index_flow", lambda _model, _example, _heads: poor)
    message = (
        "^0: the coupling engines contradict each other: only torch-pruning has entry 0 on axis 1 "
        r"of 1\.weight in a unit\. Choose one with --engine\.$"
    )
    with pytest.raises(CouplingError, match=message):
        find_couplings(net, IMAGES)


def test_units_of_another_width_that_survive_the_trial_are_a_contradiction(monkeypatch):
    """Pairs of channels can be cut as well as channels: both engines are right, and differ."""

    def paired(model: nn.Module, example: Tensor, *, seconds: float) -> Couplings:
        found = trace(model, example, seconds=seconds)
        return replace(found, free=(pairs_of(found.free[0]), *found.free[1:]))

    monkeypatch.setattr(find, "trace", paired)
    with pytest.raises(CouplingError, match=r"^0: .* contradict each other: only torch-pruning"):
        find_couplings(plain(), IMAGES)


def pairs_of(coupling: Coupling) -> Coupling:
    members = tuple(replace(m, index=m.index.reshape(-1, 2)) for m in coupling.members)
    return Coupling(coupling.name, coupling.num_units // 2, members)


@pytest.mark.parametrize(
    ("net", "example", "seconds", "note"),
    [
        (Sum(), (IMAGES, IMAGES.flip(0)), 20.0, "torch-pruning takes one tensor, the network 2"),
        (built("resnet18"), IMAGES, 0.01, "took more than 0.01 s and was stopped at"),
    ],
)
def test_engine_without_an_answer_leaves_a_note(net, example, seconds, note):
    couplings = find_couplings(net, example, check_seconds=seconds)
    assert couplings.free
    assert note in couplings.agreement.note
    assert couplings.agreement.engines == ("index-flow",)
    assert "\n" not in couplings.agreement.note


def test_index_flow_alone_asks_nobody(monkeypatch):
    monkeypatch.setattr(find, "trace", None)
    couplings = find_couplings(plain(), IMAGES, engine="index-flow")
    assert [coupling.name for coupling in couplings.free] == ["0", "1"]
    assert couplings.agreement.engines == ("index-flow",)
    assert couplings.program is not None


@pytest.mark.parametrize("example", [IMAGES, (IMAGES,)])
def test_torch_pruning_alone_finds_the_same_units(example):
    net = plain()
    couplings = find_couplings(net, example, engine="torch-pruning")
    same, different = compare_units(index_flow(net, IMAGES), couplings)
    assert (same, different) == (2, ())
    assert couplings.agreement.engines == ("torch-pruning",)
    assert couplings.program is None


def test_torch_pruning_alone_freezes_what_fails_when_cut():
    couplings = find_couplings(Shuffled(), IMAGES, engine="torch-pruning")
    assert [coupling.name for coupling in couplings.free] == ["body"]
    assert {f.name for f in couplings.frozen} == {"stem", "head"}


def test_torch_pruning_refuses_two_inputs():
    with pytest.raises(CouplingError, match=r"takes one tensor, the network 2 inputs\. Use index"):
        find_couplings(Sum(), (IMAGES, IMAGES), engine="torch-pruning")


def test_torch_pruning_has_no_choice_of_what_leaves_attention():
    with pytest.raises(CouplingError, match='heads = "dimensions" needs index flow'):
        find_couplings(plain(), IMAGES, engine="torch-pruning", heads="dimensions")


def test_couplings_of_one_unit_and_frozen_ones_contradict_nothing():
    couplings = index_flow(plain(), IMAGES)
    first, second = couplings.free
    one = Coupling("0", 1, tuple(replace(m, index=m.index.reshape(1, -1)) for m in first.members))
    assert compare_units(couplings, Couplings((one,))) == (0, ())
    assert compare_units(couplings.freeze({"0": "held"}), Couplings((first, second))) == (1, ())


def test_units_are_sets_of_entries():
    first = index_flow(plain(), IMAGES).free[0]
    units = units_of(first)
    assert units[4] == {("0.weight", 0, 4), ("0.bias", 0, 4), ("1.weight", 1, 4)}
