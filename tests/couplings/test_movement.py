"""Operators that move data: what happens to labels is what happens to the data."""

import pytest
import torch

from compressor.couplings.call import Call
from compressor.couplings.ledger import Ledger
from compressor.couplings.movement import MOVES, SAME
from compressor.couplings.rules import RULES
from compressor.couplings.sheets import NO_LABEL, Value, varying

from .calls import (
    Claim,
    apply_rule,
    aten,
    check_claims,
    claim_of,
    labelled,
    make_call,
    units_of,
)

SHAPE = (2, 6, 4, 4)
OTHER = Value((2, 6, 3, 4))
MATRIX = (6, 4)

SAMPLES = {
    "view": (aten.view.default, SHAPE, ([2, 3, 2, 16],)),
    "reshape": (aten.reshape.default, SHAPE, ([2, 24, 4],)),
    "unsafe_view": (aten._unsafe_view.default, SHAPE, ([12, 4, 4],)),
    "permute": (aten.permute.default, SHAPE, ([0, 2, 3, 1],)),
    "transpose": (aten.transpose.int, SHAPE, (1, 3)),
    "t": (aten.t.default, MATRIX, ()),
    "swapaxes": (aten.swapaxes.default, SHAPE, (1, 2)),
    "swapdims": (aten.swapdims.default, SHAPE, (1, -1)),
    "movedim": (aten.movedim.int, SHAPE, (1, 3)),
    "moveaxis": (aten.moveaxis.int, SHAPE, (-1, 1)),
    "flatten": (aten.flatten.using_ints, SHAPE, (1, 2)),
    "unflatten": (aten.unflatten.int, SHAPE, (1, [3, 2])),
    "squeeze": (aten.squeeze.dim, (2, 6, 1, 4), (2,)),
    "unsqueeze": (aten.unsqueeze.default, SHAPE, (2,)),
    "expand": (aten.expand.default, (2, 6, 1, 4), ([2, 6, 3, 4],)),
    "expand_as": (aten.expand_as.default, (2, 6, 1, 4), (OTHER,)),
    "view_as": (aten.view_as.default, (2, 6, 12), (OTHER,)),
    "reshape_as": (aten.reshape_as.default, (2, 18, 4), (OTHER,)),
    "slice": (aten.slice.Tensor, SHAPE, (1, 1, 5)),
    "select": (aten.select.int, SHAPE, (2, 1)),
    "narrow": (aten.narrow.default, SHAPE, (1, 1, 4)),
    "split": (aten.split.Tensor, SHAPE, (2, 1)),
    "split_with_sizes": (aten.split_with_sizes.default, SHAPE, ([2, 4], 1)),
    "unbind": (aten.unbind.int, SHAPE, (2,)),
    "roll": (aten.roll.default, SHAPE, ([1, 2], [2, 3])),
    "flip": (aten.flip.default, SHAPE, ([1],)),
    "repeat": (aten.repeat.default, SHAPE, ([1, 2, 1, 1],)),
    "tile": (aten.tile.default, SHAPE, ([2, 1, 2],)),
    "repeat_interleave": (aten.repeat_interleave.self_int, SHAPE, (2, 1)),
    "pixel_shuffle": (aten.pixel_shuffle.default, (2, 8, 3, 3), (2,)),
    "pixel_unshuffle": (aten.pixel_unshuffle.default, SHAPE, (2,)),
    "channel_shuffle": (aten.channel_shuffle.default, SHAPE, (2,)),
    "diagonal": (aten.diagonal.default, SHAPE, (0, 2, 3)),
    "rot90": (aten.rot90.default, SHAPE, (1, [2, 3])),
    "numpy_T": (aten.numpy_T.default, MATRIX, ()),
    "mT": (aten.mT.default, SHAPE, ()),
    "adjoint": (aten.adjoint.default, SHAPE, ()),
    "unsafe_split": (aten.unsafe_split.Tensor, SHAPE, (2, 1)),
    "unsafe_split_with_sizes": (aten.unsafe_split_with_sizes.default, SHAPE, ([5, 1], 1)),
    "tensor_split": (aten.tensor_split.sections, SHAPE, (3, 1)),
    "unfold": (aten.unfold.default, SHAPE, (1, 2, 2)),
    "chunk": (aten.chunk.default, SHAPE, (2, 1)),
}


def test_every_operator_that_moves_has_a_sample():
    assert SAMPLES.keys() == MOVES.keys()


def results(target, tensor, arguments):
    data = [torch.ones(a.shape) if isinstance(a, Value) else a for a in arguments]
    found = target(tensor, *data)
    return found if isinstance(found, list | tuple) else [found]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", SAMPLES)
def test_labels_move_as_the_data_do(name, axis):
    target, shape, arguments = SAMPLES[name]
    ledger = Ledger()
    value = labelled(ledger, shape, (axis % len(shape),))
    found = apply_rule(ledger, target, value, *arguments)
    expected = results(target, value.sheets[0].labels.double(), arguments)
    unit = units_of(ledger).of
    for part, labels in zip(found if isinstance(found, tuple) else [found], expected, strict=True):
        assert part.shape == labels.shape
        for sheet in part.sheets:
            assert torch.equal(unit(sheet.labels), unit(labels.long()))
        if not part.sheets:
            # A single unit of its axis is never cut.
            assert len(set(labels.flatten().tolist()) - set_of(ledger.frozen)) == 0


def set_of(frozen):
    return {label for labels, _ in frozen for label in labels.tolist()}


@pytest.mark.parametrize("name", SAMPLES)
def test_axes_without_labels_keep_stride_zero(name):
    target, shape, arguments = SAMPLES[name]
    value = labelled(Ledger(), shape)
    found = apply_rule(Ledger(), target, value, *arguments)
    for part in found if isinstance(found, tuple) else [found]:
        for sheet in part.sheets:
            moved = [axis for axis in varying(sheet.labels) if part.shape[axis] > 1]
            assert sheet.axes == tuple(moved)
            firsts = [sheet.labels.narrow(axis, 0, 1) for axis in moved]
            assert all(bool((first != sheet.labels).any()) for first in firsts)


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        (aten.permute.default, ([0, 2, 3, 1],)),
        (aten.flatten.using_ints, (2, 3)),
        (aten.slice.Tensor, (1, 1, 5)),
        (aten.unflatten.int, (1, [3, 2])),
        (aten.expand.default, ([2, 6, 2**20, 2**10],)),
        (aten.roll.default, ([1], [2])),
        (aten.chunk.default, (2, 1)),
        (aten.select.int, (3, 0)),
    ],
)
def test_labels_of_large_tensors_are_small(target, arguments):
    ledger = Ledger()
    shape = (2, 6, 1, 2**10) if target is aten.expand.default else (2, 6, 2**8, 2**10)
    found = apply_rule(ledger, target, labelled(ledger, shape), *arguments)
    part = found[0] if isinstance(found, tuple) else found
    assert all(sheet.labels.untyped_storage().nbytes() <= 6 * 8 for sheet in part.sheets)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_constants_move_as_well(name):
    target, shape, arguments = SAMPLES[name]
    data = torch.arange(torch.Size(shape).numel()).reshape(shape)
    found = apply_rule(Ledger(), target, Value(shape, (), data), *arguments)
    parts = found if isinstance(found, tuple) else [found]
    for part, expected in zip(parts, results(target, data, arguments), strict=True):
        assert torch.equal(part.constant, expected)


@pytest.mark.parametrize(
    "target", [aten.clone.default, aten.detach.default, aten.alias.default, aten.contiguous.default]
)
def test_copies_have_the_labels_of_what_they_copy(target):
    value = labelled(Ledger(), SHAPE)
    assert apply_rule(Ledger(), target, value).sheets == value.sheets
    assert target._schema.name.removeprefix("aten::") in SAME


@pytest.mark.parametrize(("sizes", "num_free"), [([2, 3, 2, 4], 3), ([2, 2, 3, 4], 3)])
def test_view_of_one_axis_as_two_leaves_rows_of_the_longer_one(sizes, num_free):
    claim = claim_of(aten.view.default, [((2, 6, 4),)], (sizes,))
    left = [place for place in range(2) if sizes[1 + place] == 3][0]
    assert len(claim.free) == num_free
    units = claim.classes.of_label.view(sizes[1:3]).movedim(left, 0)
    assert all(len(set(unit.tolist())) == 1 for unit in units)


def test_only_unit_of_its_axis_stays():
    claim = claim_of(aten.select.int, [(SHAPE,)], (1, 2))
    assert len(claim.free) == 5
    assert claim.reasons == {"the only one of its axis in the network"}


def test_axes_that_are_folded_together_cannot_both_lose_units():
    claim = claim_of(aten.flatten.using_ints, [(SHAPE, (1, 2))], (1, 2))
    assert len(claim.free) == 6
    assert claim.reasons == {"they share an axis with other channels in the network"}


@pytest.mark.parametrize(
    ("amounts", "mode", "value", "zero"),
    [
        ([1, 2, 1, 1], "constant", None, True),
        ([1, 2], "constant", 3.0, False),
        ([1, 2, 1, 1], "reflect", None, True),
        ([0, 0, 0, 0, 1, 2], "constant", None, True),
    ],
)
def test_padding_goes_around_units(amounts, mode, value, zero):
    claim = claim_of(aten.pad.default, [(SHAPE,)], (amounts, mode, value))
    run = lambda x: torch.nn.functional.pad(x, amounts, mode, value)  # noqa: E731
    assert check_claims(claim, run) == 0
    assert len(claim.free) == 6
    assert [sheet.zero for sheet in claim.result.sheets] == [zero]


def test_padded_channels_have_no_label():
    result = claim_of(aten.constant_pad_nd.default, [(SHAPE,)], ([0, 0, 0, 0, 1, 2],)).result
    assert result.sheets[0].labels[0, :, 0, 0].tolist() == [NO_LABEL, *range(6), NO_LABEL, NO_LABEL]


def test_units_that_padding_copies_stay():
    claim = claim_of(aten.pad.default, [((2, 4, 6), (2,))], ([1, 1], "circular"))
    assert claim.free == []
    assert claim.reasons == {"padded with copies of them (circular) in the network"}


def test_indexing_with_constants_moves_labels():
    ledger = Ledger()
    value, place = labelled(ledger, SHAPE), Value((3,), (), torch.tensor([4, 0, 1]))
    result = apply_rule(ledger, aten.index.Tensor, value, [None, place])
    rows = apply_rule(ledger, aten.index_select.default, value, 1, place)
    for found in (result, rows):
        assert found.shape == (2, 3, 4, 4)
        assert found.sheets[0].labels[0, :, 0, 0].tolist() == [4, 0, 1]


def test_constants_that_are_made_whole_numbers_are_indices():
    ledger = Ledger()
    halves = Value((3,), (), torch.tensor([4.5, 0.5, 1.5]))
    place = apply_rule(ledger, aten.to.dtype, halves, torch.int64)
    assert place.constant.tolist() == [4, 0, 1]
    found = apply_rule(ledger, aten.index.Tensor, labelled(ledger, SHAPE), [None, place])
    assert found.sheets[0].labels[0, :, 0, 0].tolist() == [4, 0, 1]


def test_indexing_with_what_the_network_computes_holds_the_indexed_axis():
    ledger = Ledger()
    value = labelled(ledger, SHAPE, (1, 2))
    call = make_call(
        aten.index_select.default, value, 1, Value((3,), (), torch.zeros(3, dtype=torch.int64))
    )
    hidden = Call(call.name, call.target, {**call.arguments, "index": Value((3,))}, call.shapes)
    result = RULES["index_select"](ledger, hidden)
    classes = units_of(ledger, result)
    assert set(classes.reasons) == set(range(6))
    assert "indexed with values that the network computes" in classes.reasons[0]
    assert [sheet.axes for sheet in result.sheets] == [(2,)]


def test_embedding_keeps_the_width_of_its_table():
    ledger = Ledger()
    table = labelled(ledger, (9, 5), (0, 1))
    place = Value((2, 7), (), torch.zeros(2, 7, dtype=torch.int64))
    result = apply_rule(ledger, aten.embedding.default, table, place)
    assert result.shape == (2, 7, 5)
    assert result.sheets[-1].labels[0, 0].tolist() == list(range(9, 14))


@pytest.mark.parametrize(("axis", "num_free"), [(1, 12), (2, 6)])
def test_concatenation_puts_labels_side_by_side_or_unites_them(axis, num_free):
    ledger = Ledger()
    values = [labelled(ledger, SHAPE) for _ in range(2)]
    result = apply_rule(ledger, aten.cat.default, values, axis)
    claim = Claim(values, result, units_of(ledger, result))
    assert check_claims(claim, lambda *tensors: torch.cat(tensors, axis)) == 0
    assert len(claim.free) == num_free
    assert [sheet.zero for sheet in result.sheets] == [True]


def test_concatenation_with_what_has_no_labels_keeps_it():
    ledger = Ledger()
    values = [labelled(ledger, SHAPE), Value((2, 3, 4, 4))]
    result = apply_rule(ledger, aten.cat.default, values, 1)
    assert result.sheets[0].labels[0, :, 0, 0].tolist() == [*range(6), *[NO_LABEL] * 3]
    assert not units_of(ledger, result).reasons


def test_concatenation_beside_what_keeps_its_width_holds_units():
    ledger = Ledger()
    values = [labelled(ledger, SHAPE), Value(SHAPE)]
    result = apply_rule(ledger, aten.cat.default, values, 2)
    assert set(units_of(ledger).reasons) == set(range(6))
    assert result.sheets == ()


def test_stack_adds_an_axis_without_units():
    ledger = Ledger()
    values = [labelled(ledger, SHAPE) for _ in range(3)]
    result = apply_rule(ledger, aten.stack.default, values, 2)
    assert [sheet.axes for sheet in result.sheets] == [(1,)]
    assert len(Claim(values, result, units_of(ledger, result)).free) == 6
