"""Single operator calls with labels, and what their rules claim, put to the test by force.

A rule claims: once all slices of some units are zero, cutting them away changes nothing that is
left, and what it marks as zero is zero. ``check_claims`` does both to real tensors and compares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressor.couplings.call import Call, operator_name
from compressor.couplings.classes import Classes, classes_of
from compressor.couplings.flow import Flow, follow
from compressor.couplings.ledger import Ledger
from compressor.couplings.rules import RULES
from compressor.couplings.sheets import Sheet, Value, along_axis

aten = torch.ops.aten


def labelled(
    ledger: Ledger, shape: Sequence[int], axes: Sequence[int] = (1,), zero: bool = True
) -> Value:
    """A tensor with labels of its own along ``axes``, one sheet for each."""
    name = f"tensor{len(ledger.owned)}"
    sheets = [
        Sheet(along_axis(ledger.own(name, axis, shape[axis]), axis, shape), zero) for axis in axes
    ]
    return Value(tuple(shape), tuple(sheets))


def make_call(target: Any, *args: Any, **kwargs: Any) -> Call:
    """The call of ``target``; output shapes are those of a run on ones."""
    named = dict(kwargs)
    for parameter, value in zip(target._schema.arguments, args, strict=False):
        named[parameter.name] = value
    given = {name: _data(value) for name, value in named.items()}
    result = target(**given)
    results = result if isinstance(result, list | tuple) else [result]
    for parameter in target._schema.arguments:
        if parameter.has_default_value():
            named.setdefault(parameter.name, parameter.default_value)
    shapes = tuple(tuple(tensor.shape) for tensor in results)
    return Call(operator_name(target), target, named, shapes)


def _data(argument: Any) -> Any:
    if isinstance(argument, Value):
        return torch.ones(argument.shape) if argument.constant is None else argument.constant
    if isinstance(argument, list | tuple):
        return [_data(item) for item in argument]
    return argument


def apply_rule(ledger: Ledger, target: Any, *args: Any, **kwargs: Any) -> Any:
    """What ``target`` gives after its rule, which it must have."""
    call = make_call(target, *args, **kwargs)
    assert call.name in RULES
    return follow(ledger, call)


def units_of(ledger: Ledger, *values: Value) -> Classes:
    """Classes of all labels; ``values`` are those whose rows must leave whole."""
    return classes_of(Flow(ledger, dict(enumerate(values))))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Claim:
    """What a rule says of one call: its operands, its result, and which units are free."""

    values: Sequence[Value]
    result: Value
    classes: Classes

    @property
    def free(self) -> list[int]:
        """Units that may go, of those that the operands have labels of."""
        return [
            number
            for number in range(int(self.classes.of_label.max()) + 1)
            if number not in self.classes.reasons
        ]

    @property
    def reasons(self) -> set[str]:
        """Why others may not."""
        return set(self.classes.reasons.values())

    def places(self, value: Value, gone: set[int]) -> list[tuple[int, Tensor]]:
        """For each axis with labels which places stay; a place goes whole or not at all."""
        found = []
        for sheet in value.sheets:
            numbers = self.classes.of(sheet.labels)
            out = torch.isin(numbers, torch.tensor(sorted(gone), dtype=torch.int64))
            for axis in sheet.axes:
                rows = out.movedim(axis, 0).reshape(out.shape[axis], -1)
                if (rows.all(1) == rows.any(1)).all():
                    found.append((axis, ~rows.any(1)))
                    break
            else:
                assert not out.any(), "units are neither rows nor columns"
        return found

    def masked(self, value: Value, tensor: Tensor, gone: set[int]) -> Tensor:
        """``tensor`` with zeros for the units that go, where its sheets say so."""
        result = tensor.clone()
        for sheet in value.sheets:
            numbers = self.classes.of(sheet.labels)
            if sheet.zero:
                result[torch.isin(numbers, torch.tensor(sorted(gone), dtype=torch.int64))] = 0
        return result

    def cut(self, value: Value, tensor: Tensor, gone: set[int]) -> Tensor:
        """``tensor`` without them."""
        for axis, stays in self.places(value, gone):
            tensor = tensor.index_select(axis, stays.nonzero().flatten())
        return tensor


def claim_of(target: Any, specs: Sequence[Any], arguments: Sequence[Any] = ()) -> Claim:
    """The claim of a call; a spec is (shape, axes with labels, zero) of an operand or None."""
    ledger = Ledger()
    values = [None if spec is None else labelled(ledger, *spec) for spec in specs]
    result = apply_rule(ledger, target, *values, *arguments)
    found = [value for value in values if value is not None]
    return Claim(found, result, units_of(ledger, result))


def check_claims(claim: Claim, run: Callable[..., Tensor], seed: int = 0) -> float:
    """The largest difference of masked and cut over several choices of units; 0 where all holds.

    Elements marked as zero in the result count with their absolute value.
    """
    generator = torch.Generator().manual_seed(seed)
    worst = 0.0
    for _ in range(5):
        count = len(claim.free)
        order = torch.randperm(count, generator=generator)[: count // 2].tolist()
        gone = {claim.free[place] for place in order}
        tensors = [
            torch.randn(v.shape, generator=generator, dtype=torch.float64) for v in claim.values
        ]
        pairs = list(zip(claim.values, tensors, strict=True))
        if any(0 in claim.cut(value, tensor, gone).shape for value, tensor in pairs):
            continue
        whole = run(*(claim.masked(value, tensor, gone) for value, tensor in pairs))
        small = run(*(claim.cut(value, tensor, gone) for value, tensor in pairs))
        whole, small = whole.double(), small.double()
        left = claim.cut(claim.result, whole, gone)
        assert left.shape == small.shape
        worst = max(worst, float((left - small).abs().max()), _not_zero(claim, whole, gone))
    return worst


def _not_zero(claim: Claim, whole: Tensor, gone: set[int]) -> float:
    largest = 0.0
    for sheet in claim.result.sheets:
        numbers = claim.classes.of(sheet.labels)
        out = torch.isin(numbers, torch.tensor(sorted(gone), dtype=torch.int64))
        if sheet.zero and out.any():
            largest = max(largest, float(whole[out].abs().max()))
    return largest
