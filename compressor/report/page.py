"""What a report consists of, before it is Markdown or HTML; all text here is unescaped."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


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
    """A figure and, for those who do not see it, one sentence on what it shows."""

    description: str
    figure: "Figure"


@dataclass(frozen=True)
class Listing:
    """Text whose spaces matter, which opens on demand."""

    caption: str
    text: str


@dataclass(frozen=True)
class Section:
    """One heading with what stands under it, in this order: text, figure, tables, listing."""

    anchor: str
    title: str
    text: tuple[str, ...] = ()
    plot: Plot | None = None
    tables: tuple[Table, ...] = ()
    listing: Listing | None = None


@dataclass(frozen=True)
class Fact:
    """A figure and what it is a figure of: ``3.98x`` and ``fewer MACs``."""

    value: str
    label: str

    def __str__(self) -> str:
        return f"{self.value} {self.label}"


@dataclass(frozen=True)
class Report:
    """A page: its title, the sentence that sums it up, the figures on top, and the sections."""

    title: str
    headline: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
