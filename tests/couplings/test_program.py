"""What is kept of a captured network knows the unit of each label."""

import torch
from torch import nn

from compressor.couplings.index_flow import index_flow
from compressor.couplings.sheets import Value

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def couplings():
    layers = nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.Flatten(), nn.Linear(144, 2)
    return index_flow(nn.Sequential(*layers), IMAGES)


def kept_of(program, name, kept):
    """Which labels of a node's value are kept, in the value's shape."""
    value = next(value for node, value in program.values.items() if node.name == name)
    return kept[value.sheets[0].labels]


def test_units_of_a_tensor_follow_from_its_labels():
    found = couplings()
    keep = {"0": torch.tensor([1, 0, 1, 1, 0, 0]).bool()}
    kept = found.program.kept_labels(keep)
    assert torch.equal(kept_of(found.program, "conv2d", kept)[0, :, 0, 0], keep["0"])
    assert torch.equal(kept_of(found.program, "relu", kept)[1, :, 3, 2], keep["0"])


def test_flattened_units_keep_their_blocks():
    found = couplings()
    keep = {"2": torch.tensor([0, 1, 0, 1]).bool()}
    kept = kept_of(found.program, "flatten", found.program.kept_labels(keep))
    assert torch.equal(kept[0], keep["2"].repeat_interleave(36))


def test_couplings_that_are_not_named_stay_whole():
    found = couplings()
    assert found.program.kept_labels({}).all()
    kept = found.program.kept_labels({"0": torch.zeros(6).bool()})
    assert kept_of(found.program, "conv2d_1", kept).all()


def test_frozen_labels_are_in_no_coupling():
    program = couplings().program
    output = next(v for n, v in program.values.items() if n.name == "linear")
    assert (program.coupling_of_label[output.sheets[0].labels] == -1).all()


def test_program_has_the_calls_of_the_graph_with_a_value_for_each():
    program = couplings().program
    assert [node.op for node in program.nodes] == ["call_function"] * len(program.nodes)
    assert program.names == ("0", "2")
    assert all(isinstance(program.values[node], Value) for node in program.nodes)
    assert dict(program.unknown) == {}
