"""Which texts of a program are plain arithmetic of sizes; torch evaluates them as Python."""

import ast
import re

SYMBOL, FLOAT = "Symbol", "Float"

CALLS = re.compile(
    # of sympy, as its `srepr` writes them
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Mod|Abs|Min|Max|floor|ceiling|And|Or|Not"
    r"|Equality|Unequality|(?:Strict)?(?:Less|Greater)Than|Piecewise|ExprCondPair"
    # of torch, whose loader hands them to sympy
    r"|FloorDiv|ModularIndexing|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift"
    r"|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator"
    r"|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat|Identity"
    # of guards, which are Python
    r"|min|max|float|int|round|trunc|ceil|sqrt|cast_symbool_to_symint_guardless"
)
"""Functions of numbers; none takes a text but those of ``TEXTS``."""

TEXTS = {SYMBOL: re.compile(r"[A-Za-z_]\w*"), FLOAT: re.compile(r"-?\d+\.?\d*(e[+-]?\d+)?")}
"""What is made from a text -> what that text is."""

NAMES = re.compile(r"[a-z]{1,4}\d+|true|false|oo|int_oo|inf")
"""Symbols, as torch numbers them, and constants."""

OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)

ARITHMETIC = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Load, *OPERATORS)
"""Parts of a tree that do nothing but join other parts."""

SIZE_OF_INPUT = re.compile(
    r"\bL(?:\['\w+'\]|\[\d+\])+(?:\.(?:size|stride)\(\)\[\d+\]|\.storage_offset\(\))?"
)
"""How a guard names a size of an input."""

MATH = re.compile(r"\bmath\.(?=(?:trunc|floor|ceil|sqrt)\()")

ODD = re.compile(r"[^ -~]|[#\\]")
"""Letters that two readers may take differently."""


def is_size(text: str) -> bool:
    """Whether ``text`` is arithmetic of numbers and symbols, and no other Python."""
    # Sympy drops line ends before it reads a text, and Python takes other letters for plain ones.
    if ODD.search(text):
        return False
    try:
        tree = ast.parse(text, mode="eval")
        return _is_plain(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def is_guard(text: str) -> bool:
    """Whether ``text`` is a condition on sizes of inputs, and no other Python."""
    if ODD.search(text):
        return False
    # Set apart by spaces, so that nothing joins what stands before or behind.
    return is_size(MATH.sub("", SIZE_OF_INPUT.sub(" s0 ", text)).strip())


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _is_plain_call(node)
    if isinstance(node, ast.Name):
        return bool(NAMES.fullmatch(node.id))
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    return isinstance(node, ARITHMETIC) and all(map(_is_plain, ast.iter_child_nodes(node)))


def _is_plain_call(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Name) or not CALLS.fullmatch(call.func.id):
        return False
    values = [keyword.value for keyword in call.keywords]
    if not all(keyword.arg for keyword in call.keywords) or not all(map(_is_number, values)):
        return False
    if (pattern := TEXTS.get(call.func.id)) is None:
        return all(map(_is_plain, call.args))
    return len(call.args) == 1 and _is_text(call.args[0], pattern)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _is_text(node: ast.AST, pattern: re.Pattern[str]) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(pattern.fullmatch(node.value))
    )
