"""Gated linear units: one half of the channels is the gate of the other."""

from compressor.couplings.call import Call, Result
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Sheet, Value, settle


def gate(ledger: Ledger, call: Call) -> Result:
    """``glu``: the same place in both halves is one unit, zero where the first half is."""
    value = call.values[0]
    axis = call.axis("dim", len(value.shape))
    half = value.shape[axis] // 2
    sheets = []
    for sheet in value.sheets:
        first, second = (sheet.labels.narrow(axis, start, half) for start in (0, half))
        ledger.unite(first, second)
        sheets.append(Sheet(settle(first), sheet.zero))
    return Value(call.shape, tuple(sheets))
