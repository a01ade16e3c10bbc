"""The README and the pages under docs, taken apart: code blocks, commands, figures."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

WRITTEN_BY_TOOLS = {
    *("bench_step", "claims", "compare", "latency", "methods", "orders", "transfer", "zoo"),
    *("sizes-cifar10-resnet20", "sizes-fashion-mnist", "given-photos", "trial"),
}
"""Tables, by the names of their pages."""

TABLES = {name: ROOT / "docs" / f"{name}.md" for name in sorted(WRITTEN_BY_TOOLS)}

PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path not in TABLES.values() and path.parent.name != "reference"
}
"""What people wrote, by its place."""

FIGURE = re.compile(
    r"\d+\.\d+%? ± \d+\.\d+%?|\d+\.\d+ \(\d+\.\d+ to \d+\.\d+\)|\d+\.\d+%|(?<![\d.,])\d+%"
    r"|(?<![\d.])\d+\.\d{2,3}(?![\d.])|(?<![\d.])\d+\.\d(?=x| times)"
)
"""A measured figure: with its error or its interval, a percentage, of two or three digits, or how
many times."""

LINK = re.compile(r"\]\((?:[\w./-]*/)?([\w-]+)\.md(?:#[\w-]*)?\)")


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """Every command of the ``sh`` blocks, without comments, its words quoted in one way."""
    lines = "".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def prose(text: str) -> str:
    """The text without blocks and inline code."""
    return re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def figures(text: str) -> list[str]:
    """Measured figures of a page, without spaces."""
    return [squeezed(figure) for figure in FIGURE.findall(" ".join(prose(text).split()))]


def unknown(text: str, tables: str) -> list[str]:
    """Figures of ``text`` that stand nowhere in ``tables``, whole or rounded to tenths."""
    known = squeezed(tables)
    tenths = {f"{float(number):.1f}" for number in re.findall(r"(?<![\d.,])\d+\.\d+", known)}
    return [
        figure
        for figure in figures(text)
        if figure not in tenths and not re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d)", known)
    ]


def with_tables(text: str) -> list[tuple[str, list[str]]]:
    """Rows of tables and items of lists that link tables, with the names of these."""
    # An item goes on in the lines that are set in.
    parts = re.findall(r"^\|.*$|^\* .*(?:\n  .*)*", text, flags=re.MULTILINE)
    linked = [(part, [name for name in LINK.findall(part) if name in TABLES]) for part in parts]
    return [(part, names) for part, names in linked if names]


def squeezed(text: str) -> str:
    """Without white space, which tables and sentences set differently."""
    return "".join(text.split())
