"""Which texts count as arithmetic of sizes."""

import pytest
import sympy
from sympy.printing.repr import srepr
from torch.utils._sympy.functions import (
    CeilToInt,
    FloatTrueDiv,
    FloorDiv,
    IntTrueDiv,
    Max,
    Mod,
    ToFloat,
    TruncToInt,
    Where,
)

from compressor.package.expressions import is_guard, is_size

N = sympy.Symbol("s77", positive=True, integer=True)

SIZES = [
    *(N, -N, 3 * N + 2, N**2, N / 2, 0.5 * N, Max(N, 2), sympy.oo, sympy.true, sympy.Integer(-7)),
    *(FloorDiv(N + 6, 4), Mod(N, 3), CeilToInt(IntTrueDiv(N, 2)), sympy.floor(N / 2)),
    *(TruncToInt(FloatTrueDiv(ToFloat(N), 2.0)), Where(N < 2, N, 3), sympy.Min(768, 768 * N)),
    *(sympy.Eq(N, 2), sympy.Ne(N, 2), N < 2, N > 2, N >= 3, N <= 3, sympy.Not(sympy.Eq(N, 2))),
    *(sympy.And(N > 1, N < 9), sympy.Or(N < 2, N > 9), sympy.Piecewise((N, N < 2), (1, True))),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_sympy_writes_of_a_size_is_one(size):
    assert is_size(srepr(size))


@pytest.mark.parametrize("text", ["s0 + 1", "2*s0*(s1 // 4)", "s0 % 3", "u0", "12", "-1", "1.5"])
def test_plain_arithmetic_is_one(text):
    assert is_size(text)


@pytest.mark.parametrize(
    "text",
    [
        *("open('mark', 'w')", "eval('1')", "__import__('os')", "Add(__import__('os'), 1)", ""),
        *("Integer(1).func", "Symbol.__mro__", "Symbol('a b')", "Symbol('s0', func=open)"),
        *("Symbol('s0')('s1')", "Symbol(*[1])", "Symbol('s0', **{})", "Add('open(1)', 1)"),
        *("Integer('open(1)')", "Float('x')", "[1]", "(1, 2)", "{1}", "s0[0]", "lambda: 1"),
        *("f'{s0}'", "[s0 for s0 in s1]", "(s0 := 1)", "s0 if s0 else 1", "await s0", "b''"),
        *("Add(1, # open(1)\n2)", "1 \\\n + 2", "Symbol('s0'); 1", "1\n2", "Ｍul(1, 2)", "exit"),
        *("(" * 500 + "1" + ")" * 500, "1 +", "\0", "...", "None", "1j", "yield s0"),
    ],
)
def test_any_other_python_is_none(text):
    assert not is_size(text)
    assert not is_guard(text)


@pytest.mark.parametrize(
    "text",
    [
        "L['x'].size()[0] > 3",
        "((L['x'].size()[1]*L['x'].size()[0]) % (4*L['x'].size()[1])) == 0",
        "math.trunc(L['args'][0].size()[0] / 2) == 4",
        "((-1) + L['x'].stride()[0]) != L['x'].storage_offset()",
        "not (L['flat_args'][0].size()[0] >= 2 and Mod(L['x'].size()[0], 2) == 0)",
    ],
)
def test_conditions_on_sizes_of_inputs_are_guards(text):
    assert is_guard(text)
    assert not is_size(text)


@pytest.mark.parametrize(
    "text",
    [
        *("L['x'].tofile('mark')", "L['x'].size", "L", "L['x'].size()[0].real", "L[open('mark')]"),
        *("open(L['x'].size()[0])", "math.__loader__", "math.trunc", "torch.hub", "L['a\"b'] > 1"),
        *("xL['x'].size()[0]", "L['x'].size()[0](1)", "s0.math.trunc(1)", "L['x'] == 'text'"),
    ],
)
def test_anything_else_of_inputs_is_no_guard(text):
    assert not is_guard(text)
