"""A report as GitHub-flavoured Markdown: every table and every sentence, no figures."""

import html
import re
from itertools import chain

from compressor.report.page import Badge, Listing, Report, Section, Table

SPECIAL = re.compile(r"([\\`*|~\[\]])")
STATES = {"holds": "Holds:", "broken": "Broken:", "told": "Told:"}
LOOSE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore that may start italics: one that does not stand between letters or digits."""


def render(report: Report) -> str:
    """The whole page."""
    blocks = [f"# {_text(report.title)}", f"**{_text(report.headline)}**"]
    if report.badges:
        blocks.append("\n".join(map(_badge, report.badges)))
    blocks.extend(chain.from_iterable(_section(section) for section in report.sections))
    return "\n\n".join(blocks) + "\n"


def _badge(badge: Badge) -> str:
    return f"- {STATES[badge.state]} **{_text(badge.kind)}** {_text(badge.text)}"


def _section(section: Section) -> list[str]:
    blocks = [f"## {_text(section.title)}", *(_text(line) for line in section.text)]
    blocks.extend(_table(table) for table in section.tables)
    blocks.extend(_listing(listing) for listing in section.listings)
    return blocks


def _table(table: Table) -> str:
    num_figures = len(table.columns) - table.text_columns
    rule = ["---"] * table.text_columns + ["---:"] * num_figures
    cells = "\n".join([_row(table.columns), f"| {' | '.join(rule)} |", *map(_row, table.rows)])
    if table.folded:
        return _folded(table.caption, cells)
    return f"{_text(table.caption)}:\n\n{cells}"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(_text(cell) for cell in cells)} |"


def _listing(listing: Listing) -> str:
    longest = max((len(run) for run in re.findall("`+", listing.text)), default=0)
    fence = "`" * max(3, longest + 1)
    block = f"{fence}{listing.language}\n{listing.text.rstrip()}\n{fence}"
    return _folded(listing.caption, block) if listing.folded else block


def _folded(caption: str, content: str) -> str:
    return f"<details><summary>{_text(caption)}</summary>\n\n{content}\n\n</details>"


def _text(text: str) -> str:
    """``text`` on one line, so that Markdown shows it as it is."""
    one_line = " ".join(text.split())
    marked = LOOSE_UNDERSCORE.sub(r"\\_", SPECIAL.sub(r"\\\1", one_line))
    return html.escape(marked, quote=False)
