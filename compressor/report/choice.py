"""One drawing out of several, chosen by buttons that work without a script."""

from collections.abc import Mapping

from markupsafe import Markup

from compressor.report.markup import element, void


def draw_choice(legend: str, name: str, panels: Mapping[str, Markup]) -> Markup:
    """Radio buttons, and under them the panel of the chosen one; on paper there are all.

    Args:
        legend: What is chosen.
        name: Of the buttons, unique on the page.
        panels: Label of a button -> what it shows; at most four.
    """
    buttons = [part for number, label in enumerate(panels) for part in _button(name, number, label)]
    shown = (
        element("div", {"class": "panel"}, element("p", {"class": "panel-title"}, label), panel)
        for label, panel in panels.items()
    )
    return element(
        "fieldset",
        {"class": "choice"},
        element("legend", {}, legend),
        *buttons,
        element("div", {"class": "panels"}, *shown),
    )


def _button(name: str, number: int, label: str) -> tuple[Markup, Markup]:
    own = f"{name}-{number}"
    checked = {"checked": ""} if number == 0 else {}
    radio = void("input", {"type": "radio", "name": name, "id": own, **checked})
    return radio, element("label", {"for": own}, label)
