"""A report as one HTML file that needs no network: style, script and figures inside it."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compressor.report.page import Report, Section

TEMPLATE_FOLDER = Path(__file__).parent
PLOT_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
}


def render(report: Report) -> str:
    """The whole page; every name in it is escaped by the template."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(report=report, plots=_plots(report.sections))


def _plots(sections: tuple[Section, ...]) -> dict[str, Markup]:
    """HTML of each figure by its section's anchor; the first one brings the script for all."""
    plots: dict[str, Markup] = {}
    for section in sections:
        if section.plot is not None:
            markup = section.plot.figure.to_html(
                config=PLOT_CONFIG,
                full_html=False,
                include_plotlyjs=False if plots else "inline",
                # A fixed name: the same run gives the same bytes.
                div_id=f"plot-{section.anchor}",
            )
            plots[section.anchor] = Markup(markup)
    return plots
