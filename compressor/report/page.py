"""What a report consists of, before it is Markdown or HTML; all text here is unescaped."""

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """Cells of text under named columns.

    The first ``text_columns`` are words and stand to the left, the others are figures and stand to
    the right. A ``folded`` table is long and opens on demand.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    folded: bool = False


@dataclass(frozen=True)
class Plot:
    """A drawing for the page, and one sentence on what it shows; a table has the same figures."""

    description: str
    markup: Markup


@dataclass(frozen=True)
class Listing:
    """Text in some ``language`` whose spaces matter; if ``folded`` it opens on demand."""

    caption: str
    text: str
    language: str
    folded: bool = True


@dataclass(frozen=True)
class Section:
    """One heading with what stands under it, in this order: text, drawings, tables, listings."""

    anchor: str
    title: str
    text: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    listings: tuple[Listing, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A figure and what it is a figure of: ``3.98x`` and ``fewer MACs``."""

    value: str
    label: str

    def __str__(self) -> str:
        return f"{self.value} {self.label}"


State = Literal["holds", "broken", "told"]
"""Of a check; ``told`` where there is a figure and no bound to it."""


@dataclass(frozen=True)
class Badge:
    """One thing that was checked: its kind, its figures, how it came out, the section behind it."""

    kind: str
    text: str
    state: State
    anchor: str


@dataclass(frozen=True)
class Report:
    """A page: its title, the sentence that sums it up, the figures on top, and the sections."""

    title: str
    headline: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    badges: tuple[Badge, ...] = ()
