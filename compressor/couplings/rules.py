"""The one table: operator -> what it does to labels. An operator without a row freezes them."""

from collections.abc import Callable

from compressor.couplings import contraction, convolution, elementwise, movement, normalization
from compressor.couplings.call import Call, Result, constant_result
from compressor.couplings.gate import gate
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Value

Rule = Callable[[Ledger, Call], Result]


def refuse(ledger: Ledger, call: Call) -> Result:
    """No rule: what reaches the operator stays."""
    for value in call.values:
        for sheet in value.sheets:
            ledger.freeze(sheet.labels, f"the operator {call.name} ({ledger.place}) has no rule")
    values = tuple(Value(shape) for shape in call.shapes)
    return values if len(values) != 1 else values[0]


def fill(ledger: Ledger, call: Call) -> Result:
    """Writing zeros in place leaves labels as they are; other numbers freeze them."""
    value, number = call.values[0], call.get("value")
    if call.name == "zero" or number == 0:
        return Value(call.shape, value.sheets)
    for sheet in value.sheets:
        ledger.freeze_sheet(sheet, f"overwritten with {number}")
    return Value(call.shape)


def create(_ledger: Ledger, call: Call) -> Result:
    """New tensors of fixed values: nothing in them can shrink; small whole ones are kept."""
    constant = None
    if call.name in {"arange", "scalar_tensor"} and all(
        not isinstance(argument, Value) for argument in call.arguments.values()
    ):
        constant = constant_result(call)
    return Value(call.shape, (), constant)


RULES: dict[str, Rule] = {
    **dict.fromkeys(movement.SAME, movement.same),
    **dict.fromkeys(movement.MOVES, movement.move),
    **dict.fromkeys(("pad", "constant_pad_nd"), movement.pad),
    "index": movement.index,
    **dict.fromkeys(("index_select", "embedding"), movement.select_rows),
    **dict.fromkeys(("cat", "concat", "stack"), movement.concatenate),
    **dict.fromkeys(elementwise.ZERO_AT_ZERO, elementwise.unary(zero_at_zero=True)),
    **dict.fromkeys(elementwise.NOT_ZERO_AT_ZERO, elementwise.unary(zero_at_zero=False)),
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max", "hardtanh"), elementwise.clamp),
    "pow": elementwise.power,
    "masked_fill": elementwise.masked_fill,
    **dict.fromkeys(elementwise.PRODUCTS, elementwise.product),
    **dict.fromkeys(elementwise.SUMS, elementwise.total),
    **dict.fromkeys(elementwise.QUOTIENTS, elementwise.quotient),
    **dict.fromkeys(elementwise.OTHERS, elementwise.other),
    "prelu": elementwise.slopes,
    "glu": gate,
    **dict.fromkeys(
        [
            "mean",
            "sum",
            "nansum",
            "amax",
            "amin",
            "max",
            "min",
            "var",
            "std",
            "norm",
            "linalg_vector_norm",
            "prod",
            "logsumexp",
            "var_mean",
            "std_mean",
            "any",
            "all",
            "argmax",
            "argmin",
        ],
        elementwise.reduce,
    ),
    **dict.fromkeys(
        ("softmax", "log_softmax", "cumsum", "cumprod", "sort", "topk"), elementwise.softmax
    ),
    **dict.fromkeys(
        [
            "max_pool1d",
            "max_pool2d",
            "max_pool3d",
            "max_pool2d_with_indices",
            "avg_pool1d",
            "avg_pool2d",
            "avg_pool3d",
            "adaptive_avg_pool1d",
            "adaptive_avg_pool2d",
            "adaptive_avg_pool3d",
            "adaptive_max_pool2d",
            "upsample_nearest1d",
            "upsample_nearest2d",
            "upsample_nearest3d",
            "upsample_bilinear2d",
            "upsample_bicubic2d",
            "upsample_trilinear3d",
            "upsample_linear1d",
            "upsample_bilinear2d_aa",
            "grid_sampler",
        ],
        elementwise.pool,
    ),
    **dict.fromkeys(
        [
            "conv1d",
            "conv2d",
            "conv3d",
            "convolution",
            "conv_transpose1d",
            "conv_transpose2d",
            "conv_transpose3d",
        ],
        convolution.convolution,
    ),
    "linear": contraction.linear,
    "addmm": contraction.addmm,
    **dict.fromkeys(("matmul", "mm", "bmm"), contraction.matmul),
    "einsum": contraction.einsum,
    **dict.fromkeys(("zero", "fill"), fill),
    "scaled_dot_product_attention": contraction.attention,
    **dict.fromkeys(("batch_norm", "instance_norm"), normalization.batch_norm),
    **dict.fromkeys(("layer_norm", "rms_norm"), normalization.layer_norm),
    "group_norm": normalization.group_norm,
    **dict.fromkeys(
        [
            "zeros",
            "ones",
            "full",
            "empty",
            "arange",
            "linspace",
            "eye",
            "scalar_tensor",
            "zeros_like",
            "ones_like",
            "full_like",
            "empty_like",
            "new_zeros",
            "new_ones",
            "new_full",
            "new_empty",
            "rand",
            "randn",
            "rand_like",
            "randn_like",
        ],
        create,
    ),
}
"""By operator name, as ``Call.name`` has it."""
