"""A network that is masked for a while."""

import dataclasses

import pytest
import torch

from compressor.couplings.branch import Branch
from compressor.couplings.coupling import mask_, named_tensors
from compressor.errors import StructureError
from compressor.train.masking import masked, masked_accuracy, some_inputs


@pytest.fixture
def couplings(toy_couplings):
    return toy_couplings["residual"]


@pytest.fixture
def model(toy_net):
    model = toy_net("residual").eval()
    with torch.no_grad():
        # A zero with a sign would be lost by any arithmetic.
        next(model.parameters()).flatten()[::2] = -0.0
    return model


@pytest.fixture
def first_half(couplings):
    structure = couplings.everything()
    for kept in structure.keep.values():
        kept[len(kept) // 2 :] = False
    return structure


def bits(model):
    tensors = {name: t for name, t in named_tensors(model).items() if t.is_floating_point()}
    return {name: t.detach().clone().view(torch.int32) for name, t in tensors.items()}


def places(model):
    return {name: t.data_ptr() for name, t in named_tensors(model).items()}


def test_inside_the_network_is_the_masked_one(model, couplings, first_half, toy_net, same):
    other = toy_net("residual").eval()
    other.load_state_dict(model.state_dict())
    mask_(other, couplings, first_half)
    with masked(model, couplings, first_half):
        assert same(dict(model.state_dict()), dict(other.state_dict()))


def test_afterwards_every_bit_is_back_where_it_was(model, couplings, first_half, same):
    before, where = bits(model), places(model)
    with masked(model, couplings, first_half):
        assert not same(bits(model), before)
    assert same(bits(model), before)
    assert places(model) == where


def test_statistics_estimated_inside_are_gone_afterwards(model, couplings, first_half, toy_task):
    def statistics(model):
        return {name: buffer.clone() for name, buffer in model.named_buffers()}

    before, inside = statistics(model), []

    def look(model):
        inside.append(statistics(model))
        return 0.5

    inputs = some_inputs(toy_task, 16, 3, 2, lambda images: images)
    assert masked_accuracy(model, couplings, first_half, inputs, look) == 0.5
    assert inside[0].keys() == before.keys() == statistics(model).keys()
    assert not any(torch.equal(before[name], value) for name, value in inside[0].items())
    assert all(torch.equal(before[name], value) for name, value in statistics(model).items())
    assert not any(module.training for module in model.modules())


def test_a_failure_inside_leaves_the_network_as_it_was(model, couplings, first_half, same):
    before = bits(model)
    with pytest.raises(ZeroDivisionError), masked(model, couplings, first_half):
        raise ZeroDivisionError
    assert same(bits(model), before)


def test_a_structure_that_empties_a_coupling_is_refused_and_changes_nothing(
    model, couplings, first_half, same
):
    before = bits(model)
    next(iter(first_half.keep.values()))[:] = False
    with pytest.raises(StructureError, match="keeps none"), masked(model, couplings, first_half):
        pass
    assert same(bits(model), before)


def test_a_branch_that_goes_comes_back(model, couplings, first_half, same):
    name, last = couplings.free[-1].name, next(name for name, _ in model.named_parameters())
    branch = Branch("b", "add", "aten.add.Tensor", 1, ("c",), (), (name,), (), (last,))
    with_branch = dataclasses.replace(couplings, branches=(branch,))
    first_half.keep[name][:] = False
    before, where = bits(model), places(model)
    with masked(model, with_branch, first_half):
        assert not named_tensors(model)[last].any()
    assert same(bits(model), before)
    assert places(model) == where
