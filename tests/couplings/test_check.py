"""Each check fires on a planted fault, and on nothing else."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.check import check_couplings, clashes, fault_of
from compressor.couplings.coupling import (
    Coupling,
    Couplings,
    FrozenCoupling,
    Member,
    named_tensors,
)
from compressor.errors import CouplingError


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def positions(*units: int) -> torch.Tensor:
    return torch.tensor([[unit] for unit in units])


FILTER = Member("0.weight", 0, positions(0, 1, 2, 3), "filter")
INPUT = Member("2.weight", 1, positions(0, 1, 2, 3), "input")
SOUND = Coupling("0", 4, (FILTER, INPUT))


def with_filter(**changes: object) -> Coupling:
    return Coupling("0", 4, (replace(FILTER, **changes), INPUT))


def test_sound_couplings_pass():
    held = FrozenCoupling("2", 2, "these channels are an output of the network")
    check_couplings(Couplings((SOUND,), (held,)), net())
    assert fault_of(SOUND, named_tensors(net())) is None


@pytest.mark.parametrize(
    ("coupling", "fault"),
    [
        (Coupling("0", 0, (FILTER,)), "no unit"),
        (Coupling("0", 4, (INPUT,)), "no layer produces the units"),
        (Coupling("0", 4, ()), "no layer produces the units"),
        (with_filter(tensor="5.weight"), "member 5.weight is not a tensor of the network"),
        (with_filter(index=positions(0, 1, 2)), r"index of shape \(3, 1\) for 4 units"),
        (with_filter(index=torch.arange(4)), r"index of shape \(4,\) for 4 units"),
        (with_filter(index=torch.zeros(4, 0).long()), r"index of shape \(4, 0\) for 4 units"),
        (with_filter(axis=2), "0.weight has 2 axes, and its member lies along axis 2"),
        (with_filter(axis=-1), "lies along axis -1"),
        (with_filter(index=positions(0, 1, 2, 4)), "index 4 is outside axis 0 of 0.weight, which "),
        (with_filter(index=positions(0, -1, 2, 3)), "index -1 is outside axis 0 of 0.weight"),
        (with_filter(index=positions(0, 1, 1, 3)), "claim the same position on axis 0 of 0.weight"),
    ],
)
def test_fault_in_one_coupling_is_named(coupling, fault):
    with pytest.raises(CouplingError, match=f"^0: .*{fault}.*\\. Trace the network") as error:
        check_couplings(Couplings((coupling,)), net())
    assert "\n" not in str(error.value)


def test_position_that_two_couplings_claim_is_named():
    other = Coupling("2", 1, (Member("2.weight", 1, positions(3), "filter"),))
    couplings = Couplings((SOUND, other))
    with pytest.raises(CouplingError, match=r"position 3 on axis 1 of 2\.weight belongs to "):
        check_couplings(couplings, net())
    assert clashes(couplings) == {
        "0": "position 3 on axis 1 of 2.weight belongs to 2 as well",
        "2": "position 3 on axis 1 of 2.weight belongs to 0 as well",
    }


def test_couplings_side_by_side_on_one_axis_do_not_clash():
    halves = [
        Coupling(name, 2, (Member("0.weight", 0, positions(*units), "filter"),))
        for name, units in (("a", (0, 1)), ("b", (2, 3)))
    ]
    assert clashes(Couplings(tuple(halves))) == {}


@pytest.mark.parametrize(
    "couplings",
    [
        Couplings((SOUND,), (FrozenCoupling("0", 4, "a reason"),)),
        Couplings((SOUND, replace(SOUND, members=(FILTER,)))),
    ],
)
def test_name_that_stands_twice_is_refused(couplings):
    with pytest.raises(CouplingError, match="^0: the coupling is listed twice, free or frozen"):
        check_couplings(couplings, net())
