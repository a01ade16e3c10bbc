"""The figures of a report; colours that read on a light and on a dark page, names escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from compressor.report.run_files import EntryPath, Epoch, Width

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

DEPTH_COLOURS = ("#7c5cff", "#2f86eb", "#12a594", "#6aa52c", "#dd9a00", "#e5534b")
"""From the first coupling of a network to its last."""

STAGE_COLOURS = {"Dense": "#8b95a5", "Sparse training": "#dd7a00", "Tuning": "#2f86eb"}
DENSE_COLOUR, KEPT_COLOUR = "rgba(139, 149, 165, 0.45)", "#2f86eb"
CLEAR = "rgba(0, 0, 0, 0)"

MAX_NAMED_LINES = 16
"""With more lines than this a legend pushes the figure off the screen; pointing names a line."""

MAX_LABEL = 22
"""Characters of a tick label; a longer one leaves no room for the bars on a narrow screen."""

TICKS = {"automargin": True, "ticks": "outside", "ticklen": 4, "tickcolor": CLEAR}
HEIGHT_PX = 420
BAR_PX = 24
AROUND_BARS_PX = 110


def path_figure(path: EntryPath, end_time: float) -> Figure:
    """Share of the units of each coupling in the support over path time, as steps."""
    from plotly.colors import sample_colorscale
    from plotly.graph_objects import Figure, Scatter

    num_lines = len(path.couplings)
    places = [line / max(num_lines - 1, 1) for line in range(num_lines)]
    colours = sample_colorscale(list(DEPTH_COLOURS), places)
    figure = Figure(layout=_layout(HEIGHT_PX, "Path time", "Units in the support"))
    for (name, entries), colour in zip(path.couplings.items(), colours, strict=True):
        times, shares = share_steps(entries.times(), len(entries.entry_step), end_time)
        line = {"shape": "hv", "color": colour, "width": 2}
        lines = Scatter(x=times, y=shares, name=_text(name), mode="lines", line=line)
        figure.add_trace(lines.update(hovertemplate="%{y:.1%} at %{x:.4g}"))
    figure.update_layout(showlegend=num_lines <= MAX_NAMED_LINES)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    return figure


def share_steps(
    times: list[float], num_units: int, end_time: float
) -> tuple[list[float], list[float]]:
    """Corners of the step line that counts ``times``, from 0 to ``end_time``, as shares of units.

    Units that enter at the same time make one corner; a coupling without units stays at 0.
    """
    corners = {0.0: 0.0}
    for rank, time in enumerate(times, start=1):
        corners[time] = rank / num_units
    corners[end_time] = len(times) / num_units if num_units else 0.0
    return list(corners), list(corners.values())


def width_figure(widths: list[Width]) -> Figure:
    """Units of each coupling as bars: the dense ones behind, the kept ones before them."""
    from plotly.graph_objects import Bar, Figure

    height = AROUND_BARS_PX + BAR_PX * len(widths)
    # Bars stand at numbers, not names: two long names may shorten to the same label.
    rows = list(range(len(widths)))
    names = [_text(width.coupling) for width in widths]
    figure = Figure(layout=_layout(height, "Units", ""))
    label = "%{customdata}: %{x}"
    units, kept = [width.units for width in widths], [width.kept for width in widths]
    for name, counts, colour in (("Dense", units, DENSE_COLOUR), ("Kept", kept, KEPT_COLOUR)):
        bars = Bar(x=counts, y=rows, name=name, orientation="h", customdata=names)
        figure.add_trace(bars.update(marker_color=colour, hovertemplate=label))
    labels = [_text(_short(width.coupling)) for width in widths]
    figure.update_layout(barmode="overlay", bargap=0.3)
    figure.update_yaxes(tickvals=rows, ticktext=labels, autorange="reversed", showgrid=False)
    return figure


def accuracy_figure(histories: dict[str, list[Epoch]]) -> Figure:
    """Validation accuracy after each epoch, one line for each stage."""
    from plotly.graph_objects import Figure, Scatter

    figure = Figure(layout=_layout(HEIGHT_PX, "Epoch", "Validation accuracy"))
    for stage, history in histories.items():
        lines = Scatter(
            x=[epoch.epoch for epoch in history],
            y=[epoch.validation_accuracy for epoch in history],
            name=stage,
            mode="lines+markers",
            marker={"size": 5},
            line={"color": STAGE_COLOURS[stage], "width": 2},
            hovertemplate="%{y:.2%} after epoch %{x}",
        )
        figure.add_trace(lines)
    figure.update_yaxes(tickformat=".1~%")
    return figure


def _layout(height_px: int, x_title: str, y_title: str) -> dict[str, Any]:
    return {
        "template": "none",
        "height": height_px,
        "margin": {"l": 8, "r": 8, "t": 32, "b": 8},
        "modebar": {"bgcolor": CLEAR, "color": DENSE_COLOUR, "activecolor": KEPT_COLOUR},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": "system-ui, sans-serif", "size": 13},
        # Dragging would zoom; on a small screen it has to scroll the page.
        "dragmode": False,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#1f2733", "font": {"color": "#ffffff"}, "namelength": -1},
        "showlegend": True,
        # Below the figure: the buttons stand above it.
        "legend": {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        "xaxis": {"title": {"text": x_title}, "rangemode": "tozero", **TICKS},
        "yaxis": {"title": {"text": y_title}, **TICKS},
    }


def _text(name: str) -> str:
    # Plotly reads a few HTML tags and entities in names.
    return html.escape(name, quote=False)


def _short(name: str) -> str:
    """The end of a long name: the layers of one network begin alike."""
    return name if len(name) <= MAX_LABEL else f"…{name[1 - MAX_LABEL :]}"
