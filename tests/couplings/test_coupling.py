"""Members, masks and fits, by hand."""

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import (
    Coupling,
    Couplings,
    Member,
    check_fit,
    gather,
    mask_,
    named_tensors,
    tied_tensors,
    unit_norms,
)
from compressor.errors import StructureError
from compressor.structure import Structure

PAIRS = Member("w", 1, torch.tensor([[0, 1], [2, 3]]), "input")


def matrix() -> torch.Tensor:
    return torch.arange(8.0).reshape(2, 4)


def test_rows_of_a_member_are_its_blocks_flattened():
    assert PAIRS.rows(matrix()).tolist() == [[0, 4, 1, 5], [2, 6, 3, 7]]


def test_adding_rows_of_a_member_to_zero_gives_the_tensor_back():
    target = torch.zeros(2, 4)
    PAIRS.add_rows_(target, PAIRS.rows(matrix()), alpha=2.0)
    assert torch.equal(target, 2 * matrix())


def test_zeroing_units_leaves_the_others():
    tensor = matrix()
    PAIRS.zero_(tensor, torch.tensor([False, True]))
    assert tensor.tolist() == [[0, 1, 0, 0], [4, 5, 0, 0]]


def test_norm_of_a_unit_is_over_all_its_members():
    tensors = {"w": matrix(), "b": torch.tensor([3.0, 4.0])}
    members = (Member("b", 0, torch.tensor([[0], [1]]), "bias"), PAIRS)
    assert gather(tensors, members).shape == (2, 5)
    squares = torch.tensor([9 + 0 + 16 + 1 + 25.0, 16 + 4 + 36 + 9 + 49.0])
    assert torch.allclose(unit_norms(tensors, members), squares.sqrt())


def two_layers() -> tuple[nn.Module, Couplings]:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    index = torch.arange(3).reshape(3, 1)
    places = [
        ("0.weight", 0, "filter"),
        ("0.bias", 0, "bias"),
        ("1.weight", 0, "scale"),
        ("1.bias", 0, "shift"),
        ("1.running_mean", 0, "statistic"),
        ("1.running_var", 0, "statistic"),
        ("2.weight", 1, "input"),
    ]
    members = tuple(Member(name, axis, index, kind) for name, axis, kind in places)
    return net, Couplings((Coupling("0", 3, members),))


def kept(*units: bool) -> Structure:
    return Structure({"0": torch.tensor(units)})


def test_mask_zeroes_every_member_but_statistics_and_only_of_removed_units():
    net, couplings = two_layers()
    nn.init.ones_(net[1].bias)
    nn.init.ones_(net[1].running_mean)
    before = {name: tensor.clone() for name, tensor in named_tensors(net).items()}
    mask_(net, couplings, kept(True, False, True))
    for member in couplings.free[0].members:
        rows = member.rows(named_tensors(net)[member.tensor])
        expected = member.rows(before[member.tensor])
        if member.kind != "statistic":
            expected[1] = 0
        assert torch.equal(rows, expected)
    assert torch.equal(net[2].bias, before["2.bias"])


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (kept(True, False), "^0: the structure is for 2 of its 3 units"),
        (kept(False, False, False), "^0: the structure keeps none of its 3 units"),
        (Structure({}), "^0: the structure is for none of its 3 units"),
        (
            Structure({"0": torch.ones(3).bool(), "7": torch.ones(3).bool()}),
            "^7: the structure names a coupling that the network does not have",
        ),
    ],
)
def test_structure_that_does_not_fit_is_refused_before_anything_changes(structure, message):
    net, couplings = two_layers()
    before = net[0].weight.clone()
    with pytest.raises(StructureError, match=message):
        check_fit(couplings, structure)
    with pytest.raises(StructureError, match=message):
        mask_(net, couplings, structure)
    assert torch.equal(net[0].weight, before)


def test_freezing_moves_a_coupling_and_keeps_its_reason():
    _, couplings = two_layers()
    frozen = couplings.freeze({"0": "a reason", "unknown": "another"})
    assert frozen.free == ()
    assert [(f.name, f.num_units, f.reason) for f in frozen.frozen] == [("0", 3, "a reason")]
    assert (couplings.num_units, frozen.num_units) == (3, 0)


def test_everything_keeps_all_units():
    _, couplings = two_layers()
    assert couplings.everything().widths() == {"0": 3}


def test_parameter_of_two_layers_is_tied_and_layer_of_two_names_is_not():
    shared = nn.Linear(2, 2)
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": shared, "d": shared})
    net["b"].weight = net["a"].weight
    assert tied_tensors(net) == {"a.weight": "b.weight", "b.weight": "a.weight"}
    assert {"c.weight", "d.weight"} <= named_tensors(net).keys()
