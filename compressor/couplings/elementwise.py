"""Operators that work element by element, reductions, and pooling."""

from collections.abc import Callable

from compressor.couplings.call import Call, Result, constant_result
from compressor.couplings.coupling import Kind
from compressor.couplings.ledger import Ledger
from compressor.couplings.meeting import Joined, broadcast_party, meet
from compressor.couplings.sheets import Sheet, Value, along_axis, first_along, resized, settle

ZERO_AT_ZERO = frozenset(
    [
        "relu",
        "relu6",
        "gelu",
        "silu",
        "hardswish",
        "tanh",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "mish",
        "hardshrink",
        "softshrink",
        "abs",
        "neg",
        "negative",
        "sign",
        "sgn",
        "sqrt",
        "square",
        "erf",
        "sin",
        "tan",
        "sinh",
        "asin",
        "atan",
        "floor",
        "ceil",
        "round",
        "trunc",
        "frac",
        "expm1",
        "log1p",
        "nan_to_num",
        "isnan",
        "isinf",
        "rrelu",
    ]
)
"""Functions with f(0) = 0."""

NOT_ZERO_AT_ZERO = frozenset(
    [
        "sigmoid",
        "hardsigmoid",
        "exp",
        "exp2",
        "cos",
        "cosh",
        "log",
        "log2",
        "log10",
        "softplus",
        "reciprocal",
        "rsqrt",
        "log_sigmoid",
        "erfc",
        "logical_not",
        "isfinite",
        "bitwise_not",
    ]
)

PRODUCTS = frozenset({"mul", "multiply"})
SUMS = frozenset({"add", "sub", "subtract", "rsub", "maximum", "minimum", "where", "hypot"})
QUOTIENTS = frozenset({"div", "divide", "true_divide", "floor_divide", "remainder", "fmod"})
OTHERS = frozenset(
    [
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "logical_and",
        "logical_or",
        "logical_xor",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "and",
        "or",
        "xor",
        "atan2",
    ]
)

ZeroRule = Callable[[Joined], bool]


def unary(zero_at_zero: bool) -> Callable[[Ledger, Call], Result]:
    """The rule of a function of one tensor."""

    def rule(_ledger: Ledger, call: Call) -> Result:
        value = call.values[0]
        sheets = (sheet.with_zero(sheet.zero and zero_at_zero) for sheet in value.sheets)
        return Value(call.shape, tuple(sheets))

    return rule


def clamp(ledger: Ledger, call: Call) -> Result:
    """``clamp`` and ``hardtanh``: zero stays zero where it lies between the bounds."""
    if len(call.values) > 1:
        return other(ledger, call)
    low = next((call[key] for key in ("min", "min_val") if call.get(key) is not None), None)
    high = next((call[key] for key in ("max", "max_val") if call.get(key) is not None), None)
    keeps = (low is None or low <= 0) and (high is None or high >= 0)
    value = call.values[0]
    sheets = (sheet.with_zero(sheet.zero and keeps) for sheet in value.sheets)
    return Value(call.shape, tuple(sheets))


def power(ledger: Ledger, call: Call) -> Result:
    """``pow``: zero stays zero under a positive number as exponent."""
    if len(call.values) > 1:
        return other(ledger, call)
    value, exponent = call.values[0], call.get("exponent")
    keeps = isinstance(exponent, int | float) and exponent > 0
    sheets = (sheet.with_zero(sheet.zero and keeps) for sheet in value.sheets)
    return Value(call.shape, tuple(sheets))


def masked_fill(ledger: Ledger, call: Call) -> Result:
    """Elements replaced by a number."""
    keeps = call.get("value") == 0
    return _together(ledger, call, lambda joined: keeps and joined.zeros[0] is True)


def product(ledger: Ledger, call: Call) -> Result:
    """Zero where any factor is."""
    return _together(ledger, call, lambda joined: any(zero is True for zero in joined.zeros))


def total(ledger: Ledger, call: Call) -> Result:
    """Sums and the like: zero where all operands are; a number added is none."""
    alone = any(
        isinstance(call.get(key), int | float) and call.get(key) != 0 for key in ("other", "self")
    )
    return _together(
        ledger, call, lambda joined: not alone and all(zero is True for zero in joined.zeros)
    )


def quotient(ledger: Ledger, call: Call) -> Result:
    """Zero where the numerator is."""
    of_number = isinstance(call.get("self"), int | float)
    return _together(ledger, call, lambda joined: not of_number and joined.zeros[0] is True)


def other(ledger: Ledger, call: Call) -> Result:
    """Comparisons and the like: never known to be zero."""
    return _together(ledger, call, lambda _joined: False)


def _together(ledger: Ledger, call: Call, zero_of: ZeroRule) -> Result:
    shape = call.shape
    _note_roles(ledger, call)
    parties = [broadcast_party(value, shape) for value in call.values]
    joined = meet(ledger, parties, frozenset(range(len(shape))))
    sheets = tuple(Sheet(settle(entry.labels), zero_of(entry)) for entry in joined)
    constant = constant_result(call) if call.values else None
    return Value(shape, sheets, constant)


def _note_roles(ledger: Ledger, call: Call) -> None:
    # A parameter of the network's own; whatever passed a layer has a role already.
    kind: Kind = "scale" if call.name in PRODUCTS else "shift"
    for value in call.values:
        for axis in range(len(value.shape)):
            ledger.reads_if_bare(value, axis, kind)


def reduce(ledger: Ledger, call: Call) -> Result:
    """Reductions. What they run over goes into the result, so it may leave only as zeros of a sum.

    ``sum`` and norms do not notice zeros; a mean has a divisor, extremes and products do.
    ``max`` and ``min`` of two tensors go element by element.
    """
    if len(call.values) > 1:
        return total(ledger, call)
    value = call.values[0]
    axes = _reduced_axes(call, len(value.shape))
    keeps_axes = bool(call.get("keepdim"))
    sums = call.name in {"sum", "linalg_vector_norm", "norm", "nansum"}
    sheets = []
    for sheet in value.sheets:
        over = [axis for axis in sheet.axes if axis in axes]
        if over and len(over) == len(sheet.axes):
            if not (sums and sheet.zero):
                ledger.freeze_sheet(sheet, f"{call.name} runs over them")
            continue
        kept = ledger.collapse(sheet, over)
        labels = first_along(kept.labels, axes)
        for axis in sorted(axes, reverse=True):
            labels = labels.narrow(axis, 0, 1)
            labels = labels if keeps_axes else labels.squeeze(axis)
        zero = sheet.zero and call.name not in {"prod", "logsumexp"}
        sheets.append(Sheet(labels.expand(call.shape), zero))
    return _repeat(call, tuple(sheets))


def _repeat(call: Call, sheets: tuple[Sheet, ...]) -> Result:
    values = tuple(Value(shape, sheets) for shape in call.shapes)
    return values if len(values) > 1 else values[0]


def _reduced_axes(call: Call, dims: int) -> list[int]:
    dim = call.get("dim")
    if dim is None or dim == []:
        return list(range(dims))
    return sorted({int(axis) % dims for axis in (dim if isinstance(dim, list | tuple) else [dim])})


def softmax(ledger: Ledger, call: Call) -> Result:
    """Softmax and cumulative sums: entries along ``dim`` weigh on each other."""
    value = call.values[0]
    axis = call.axis("dim", len(value.shape))
    sheets = []
    for sheet in value.sheets:
        if sheet.axes == (axis,):
            ledger.freeze_sheet(sheet, f"{call.name} runs over them")
            continue
        kept = ledger.collapse(sheet, [axis])
        # topk is shorter along dim.
        sheets.append(Sheet(resized(kept.labels, call.shape, [axis]), zero=False))
    return _repeat(call, tuple(sheets))


def pool(ledger: Ledger, call: Call) -> Result:
    """Pooling and resizing: each channel by itself, along axes of which the size changes."""
    value = call.values[0]
    for grid in call.values[1:]:
        for sheet in grid.sheets:
            ledger.freeze_sheet(sheet, f"{call.name} takes them for places")
    spatial = list(range(2 if len(value.shape) > 2 else 1, len(value.shape)))
    if call.name in {"adaptive_avg_pool1d", "max_pool1d", "avg_pool1d", "adaptive_max_pool1d"}:
        spatial = [len(value.shape) - 1]
    sheets = []
    for sheet in value.sheets:
        over = [axis for axis in sheet.axes if axis in spatial]
        if over and len(over) == len(sheet.axes):
            ledger.freeze_sheet(sheet, f"{call.name} mixes them")
            continue
        kept = ledger.collapse(sheet, over)
        sheets.append(Sheet(resized(kept.labels, call.shape, spatial), sheet.zero))
    return _repeat(call, tuple(sheets))


def slopes(ledger: Ledger, call: Call) -> Result:
    """PReLU: one slope for each channel, or one for all."""
    value, weight = call["self"], call["weight"]
    sheets = []
    for sheet in value.sheets:
        if len(weight.shape) and weight.shape[-1] > 1 and 1 in sheet.axes:
            ledger.reads(weight, len(weight.shape) - 1, "statistic")
            slope = along_axis(weight.sheets[0].labels.flatten(), 1, value.shape)
            sheet = ledger.collapse(sheet, [axis for axis in sheet.axes if axis != 1])
            ledger.unite(slope, sheet.labels)
        sheets.append(sheet)
    return Value(call.shape, tuple(sheets))
