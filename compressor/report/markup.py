"""Elements of a page as text; whatever is put into them is escaped."""

from collections.abc import Mapping

from markupsafe import Markup, escape

Value = str | float
"""Of an attribute; numbers are written short."""


def element(name: str, attributes: Mapping[str, Value], *inside: str) -> Markup:
    """``<name ...>inside</name>``; what is inside is escaped unless it is markup itself."""
    return Markup(f"{void(name, attributes)}{Markup().join(inside)}</{name}>")


def void(name: str, attributes: Mapping[str, Value]) -> Markup:
    """``<name ...>`` alone, for elements that hold nothing."""
    given = "".join(f' {key}="{escape(_text(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>")


def percent_of(share: float) -> str:
    """A share as a length of CSS, to a hundredth of a percent."""
    return f"{100 * share:.6g}%" if abs(share) >= 1e-6 else "0%"


def _text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
