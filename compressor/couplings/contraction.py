"""Operators that sum over products: linear layers, matrix products, attention."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from compressor.couplings.call import Call, Result
from compressor.couplings.ledger import Ledger
from compressor.couplings.meeting import Joined, Party, broadcast_party, meet
from compressor.couplings.sheets import Sheet, Value, along_axis, settle


@dataclass(frozen=True)
class Letters:
    """Axes of two operands and of the result, a letter each, as in an einsum."""

    first: str
    second: str
    result: str

    @property
    def joint(self) -> str:
        """All letters, those of the first operand first."""
        return self.first + "".join(letter for letter in self.second if letter not in self.first)

    @property
    def summed(self) -> set[str]:
        """Letters that the result lacks."""
        return set(self.joint) - set(self.result)


def contract(
    ledger: Ledger, first: Value, second: Value, letters: Letters, shape: Sequence[int]
) -> Value:
    """Result of an einsum of two tensors.

    What the sum runs over may go where one side is zero there. Where a sheet changes along summed
    and other axes (entries of heads), what lies along the summed ones is one unit; or, where heads
    shall stay whole in number, what lies along the axes of the batch.
    """
    joint = letters.joint
    parties = [_party(first, letters.first, joint, second, letters.second)]
    parties.append(_party(second, letters.second, joint, first, letters.first))
    shared = frozenset(joint.index(x) for x in letters.first if x in letters.second)
    summed = [joint.index(letter) for letter in letters.summed]
    batch = shared.difference(summed)
    sheets = []
    for joined in meet(ledger, parties, shared):
        sheet = _after_sum(ledger, _of_heads(ledger, joined, batch), summed)
        if sheet is not None:
            sheets.append(Sheet(_in_order(sheet.labels, letters, shape), sheet.zero))
    return Value(tuple(shape), tuple(sheets))


def _of_heads(ledger: Ledger, joined: Joined, batch: frozenset[int]) -> Joined:
    """Where all heads stay: what is at the same place of every matrix of a batch is one unit."""
    sheet = Sheet(settle(joined.labels), zero=False)
    inside = [axis for axis in sheet.axes if axis not in batch]
    if ledger.heads == "whole" or not inside:
        return joined
    return replace(joined, labels=ledger.collapse(sheet, sorted(batch)).labels)


def _after_sum(ledger: Ledger, joined: Joined, summed: Sequence[int]) -> Sheet | None:
    zero = any(entry is True for entry in joined.zeros)
    sheet = Sheet(settle(joined.labels), zero)
    over = [axis for axis in sheet.axes if axis in summed]
    if over and len(over) == len(sheet.axes):
        if not zero:
            ledger.freeze_sheet(sheet, "a sum runs over values that are not zero when masked")
        return None
    return ledger.collapse(sheet, over)


def _party(value: Value, own: str, joint: str, other: Value, others: str) -> Party:
    sizes = dict(zip(others, other.shape, strict=True)) | dict(zip(own, value.shape, strict=True))
    # Broadcast batch axes: the larger size is the joint one.
    for letter, size in zip(others, other.shape, strict=True):
        sizes[letter] = max(sizes[letter], size)
    shape = tuple(sizes[letter] for letter in joint)
    sheets = tuple(
        Sheet(_spread(sheet.labels, own, joint, shape), sheet.zero) for sheet in value.sheets
    )
    extends = frozenset(
        joint.index(letter) for letter, size in zip(own, value.shape, strict=True) if size > 1
    )
    return Party(sheets, extends)


def _spread(labels: Tensor, own: str, joint: str, shape: Sequence[int]) -> Tensor:
    order = [own.index(letter) for letter in joint if letter in own]
    laid = labels.permute(order)
    for place, letter in enumerate(joint):
        if letter not in own:
            laid = laid.unsqueeze(place)
    return laid.expand(tuple(shape))


def _in_order(labels: Tensor, letters: Letters, shape: Sequence[int]) -> Tensor:
    joint = letters.joint
    small = labels
    for place in reversed(range(len(joint))):
        if joint[place] not in letters.result:
            small = small.narrow(place, 0, 1).squeeze(place)
    left = [letter for letter in joint if letter in letters.result]
    return small.permute([left.index(letter) for letter in letters.result]).expand(tuple(shape))


def linear(ledger: Ledger, call: Call) -> Result:
    """``linear``: the weight's rows are the result's channels, its columns read the input's."""
    value, weight, bias = call["input"], call["weight"], call.get("bias")
    ledger.reads(weight, 0, "filter")
    ledger.reads(weight, 1, "input")
    lead = "abcdefgh"[: len(value.shape) - 1]
    result = contract(ledger, value, weight, Letters(f"{lead}i", "oi", f"{lead}o"), call.shape)
    return add_bias(ledger, result, bias, len(call.shape) - 1)


def addmm(ledger: Ledger, call: Call) -> Result:
    """``addmm``: bias plus a product of matrices."""
    result = _product(ledger, call["mat1"], call["mat2"], call.shape)
    return add_bias(ledger, result, call["self"], len(call.shape) - 1)


def add_bias(ledger: Ledger, result: Value, bias: Value | None, axis: int) -> Value:
    """``result`` plus a vector along ``axis``."""
    if bias is None:
        return result
    ledger.reads(bias, len(bias.shape) - 1, "bias")
    shape = result.shape
    laid = tuple(
        Sheet(along_axis(sheet.labels.flatten(), axis, shape), sheet.zero) for sheet in bias.sheets
    )
    whole = Party(result.sheets, frozenset(range(len(shape))))
    joined = meet(ledger, [whole, Party(laid, frozenset({axis}))], frozenset(range(len(shape))))
    sheets = tuple(Sheet(settle(j.labels), all(z is True for z in j.zeros)) for j in joined)
    return Value(shape, sheets)


def matmul(ledger: Ledger, call: Call) -> Result:
    """``matmul``, ``mm``, ``bmm``."""
    first, second = call.values[:2]
    return _product(ledger, first, second, call.shape)


def _product(ledger: Ledger, first: Value, second: Value, shape: Sequence[int]) -> Value:
    one, two = len(first.shape), len(second.shape)
    batch = "abcdefgh"[: max(one, two, 2) - 2]
    own = batch[len(batch) - max(one - 2, 0) :] + ("mk" if one > 1 else "k")
    others = batch[len(batch) - max(two - 2, 0) :] + ("kn" if two > 1 else "k")
    result = batch + ("m" if one > 1 else "") + ("n" if two > 1 else "")
    letters = Letters(own, others, result)
    _note_roles(ledger, (first, second), letters)
    return contract(ledger, first, second, letters, shape)


def _note_roles(ledger: Ledger, values: Sequence[Value], letters: Letters) -> None:
    """A bare parameter as a factor is a layer: it reads what is summed and makes the rest."""
    for value, own in zip(values, (letters.first, letters.second), strict=True):
        for axis, letter in enumerate(own):
            ledger.reads_if_bare(value, axis, "input" if letter in letters.summed else "filter")


def einsum(ledger: Ledger, call: Call) -> Result:
    """``einsum`` of two tensors without repeated letters."""
    equation, operands = call["equation"].replace(" ", ""), call["tensors"]
    inputs, _, result = equation.partition("->")
    names = inputs.split(",")
    if (
        len(operands) != 2
        or "." in equation
        or not result
        or any(len(set(name)) < len(name) for name in names)
    ):
        for value in operands:
            for sheet in value.sheets:
                ledger.freeze_sheet(sheet, f"einsum {equation}")
        return Value(call.shape)
    letters = Letters(names[0], names[1], result)
    _note_roles(ledger, operands, letters)
    return contract(ledger, operands[0], operands[1], letters, call.shape)


def attention(ledger: Ledger, call: Call) -> Result:
    """Scaled dot-product attention: ``softmax(q k' scale + mask) v``; whole heads are the units."""
    query, key, value = call["query"], call["key"], call["value"]
    lead = "abcdef"[: len(query.shape) - 2]
    scores_shape = (*query.shape[:-1], key.shape[-2])
    key, value = (_repeat_heads(operand, query) for operand in (key, value))
    scores = contract(
        ledger, query, key, Letters(f"{lead}nd", f"{lead}md", f"{lead}nm"), scores_shape
    )
    mask = call.get("attn_mask")
    sheets = scores.sheets
    if mask is not None:
        parties = [broadcast_party(scores, scores_shape), broadcast_party(mask, scores_shape)]
        joined = meet(ledger, parties, frozenset(range(len(scores_shape))))
        sheets = tuple(Sheet(settle(entry.labels), zero=False) for entry in joined)
    last = len(scores_shape) - 1
    weights = tuple(
        ledger.collapse(sheet, [last - 1, last]).with_zero(zero=False) for sheet in sheets
    )
    return contract(
        ledger,
        Value(scores_shape, weights),
        value,
        Letters(f"{lead}nm", f"{lead}md", f"{lead}nd"),
        call.shape,
    )


def _repeat_heads(operand: Value, query: Value) -> Value:
    """Keys and values of grouped-query attention, each repeated for the queries that share it."""
    if len(operand.shape) < 3 or operand.shape[-3] == query.shape[-3]:
        return operand
    times = query.shape[-3] // operand.shape[-3]
    sheets = tuple(
        Sheet(settle(sheet.labels.repeat_interleave(times, -3)), sheet.zero)
        for sheet in operand.sheets
    )
    return Value((*operand.shape[:-3], query.shape[-3], *operand.shape[-2:]), sheets)
