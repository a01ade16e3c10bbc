"""The text of a `torch.export` program: which of it torch may be given.

Reading a program, torch evaluates sizes as Python, looks functions up by name, imports what a
structure of inputs names, and writes names of nodes and inputs into source that it compiles. Every
text of the archive is therefore held against what torch writes there, and a text of which nothing
is known against the narrowest: a name.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from compressor.errors import CheckError
from compressor.package.expressions import is_guard, is_size
from compressor.package.pickles import BROKEN, broken_archive

SHOWN = 80
"""Letters of an offending text that a message shows."""

OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")

OF_FILES = ("from_file", "save")
"""Operators of aten that open or write a file."""

FUNCTIONS = re.compile(
    r"_operator\.(?:eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|truediv|mod|pow|and_|or_|lshift"
    r"|rshift|getitem)"
    r"|math\.(?:trunc|floor|ceil|sqrt|pow)"
    r"|torch\.sym_(?:int|float|ite|max|min|not|sqrt|sum)|torch\._sym_sqrt"
    r"|torch\.ops\.higher_order\.(?:cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
)
"""Arithmetic of sizes, and what runs a part of the graph under another setting."""

CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
"""Types of a structure of inputs; others import what they name."""

NODE_OF_STRUCTURE = {"type", "context", "children_spec"}


def foreign_in(path: Path) -> Iterator[tuple[str, str]]:
    """Texts that no plain network needs, each with the key under which it stands.

    Nothing of the archive is executed, imported or looked up but operators of aten.

    Raises:
        CheckError: The archive is broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".json")]
            texts = {found for name in names for found in _texts(_value(archive, name), "")}
    except BROKEN as failure:
        raise broken_archive(path, failure) from failure
    for key, text in sorted(texts):
        if not RULES.get(key, is_dotted)(text):
            yield key, text


def check_text(path: Path) -> None:
    """Raise unless every text of the program is such as torch writes of a plain network.

    Raises:
        CheckError: Names the first text that is not, or the archive is broken.
    """
    for key, text in foreign_in(path):
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        raise CheckError(
            f"{path}: {key or 'a name'} {shown!r} is nothing that a plain network needs, and torch "
            "may run it as code when it reads the program. Do not use this package."
        )


def _value(archive: zipfile.ZipFile, name: str) -> Any:
    # As torch decodes it: `json.loads` of bytes would take other encodings too.
    return json.loads(archive.read(name).decode())


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    """All texts below ``value`` with their keys; the keys of objects stand under ``KEY``."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry, key)
    elif isinstance(value, dict):
        if key == EXPRESSION:
            # Sympy evaluates what a mapping holds, under whatever keys.
            yield key, json.dumps(value)
        for name, entry in value.items():
            yield KEY, name
            yield from _texts(entry, name)


def is_name(text: str) -> bool:
    """Whether it is letters, digits and underscores: a name in compiled source."""
    return bool(re.fullmatch(r"\w*", text))


def is_dotted(text: str) -> bool:
    """Whether it is names, dots and signs, as of versions."""
    return bool(re.fullmatch(r"[\w.+-]*", text))


def is_quotable(text: str) -> bool:
    """Whether it ends no quotation and no line, as names of parameters."""
    return text.isprintable() and not re.search(r"[\"'`\\{}]", text)


def is_function(text: str) -> bool:
    """Whether it names an operator on tensors, or arithmetic of sizes."""
    if (found := OPERATOR.fullmatch(text)) is None:
        return bool(FUNCTIONS.fullmatch(text))
    name, overload = found.groups()
    operator = getattr(getattr(torch.ops.aten, name, None), overload, None)
    return name not in OF_FILES and isinstance(operator, torch._ops.OpOverload)


def is_structure(text: str) -> bool:
    """Whether it is the structure of inputs or outputs, made of plain containers."""
    try:
        version, node = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return False
    return isinstance(version, int) and _is_container(node)


def _is_container(node: object) -> bool:
    if not isinstance(node, dict) or set(node) != NODE_OF_STRUCTURE:
        return False
    children = node["children_spec"]
    return (
        node["type"] in CONTAINERS
        and _is_context(node["context"])
        and isinstance(children, list)
        and all(map(_is_container, children))
    )


def _is_context(text: object) -> bool:
    """Whether it says nothing, or the keys of a mapping."""
    if text is None:
        return True
    if not isinstance(text, str):
        return False
    try:
        keys = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return keys is None or (
        isinstance(keys, list)
        and all(isinstance(key, int) or (isinstance(key, str) and is_name(key)) for key in keys)
    )


KEY, EXPRESSION = "", "expr_str"

RULES: dict[str, Callable[[str], bool]] = {
    KEY: is_quotable,
    EXPRESSION: is_size,
    "guards_code": is_guard,
    **dict.fromkeys(("target", "as_operator"), is_function),
    **dict.fromkeys(("in_spec", "out_spec"), is_structure),
    **dict.fromkeys(("name", "as_name", "forward_arg_names"), is_name),
    **dict.fromkeys(("fqn", "parameter_name", "buffer_name", "tensor_constant_name"), is_quotable),
    # Handed on as values, or kept beside nodes and only shown: torch looks nothing of them up.
    **dict.fromkeys(
        ("as_string", "as_strings", "nn_module_stack", "torch_fn", "from_node", "custom"),
        str.isprintable,
    ),
}
"""Key of an object -> what its text may be; of other keys it is a name with dots."""
