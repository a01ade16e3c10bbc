"""Numbers as people read them: 1.23 M, 12.3 ms, 91.25 %."""

import json
from collections.abc import Mapping
from typing import Any

NOTHING = "–"
"""Stands where a run has no value."""

THOUSANDS = ("", "k", "M", "G", "T", "P", "E")
SIZE_WORDS, COUNT_WORDS = ("smaller", "larger"), ("fewer", "more")
SECONDS_PER_MINUTE = 60
MINUTES_PER_HOUR = 60


def three_digits(value: float) -> str:
    """``value`` >= 0 with three significant digits, and every digit above 100: 0.0123, 1,234."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if rounded >= 100:
        return f"{value:,.0f}"
    if rounded >= 10:
        return f"{value:.1f}"
    if rounded >= 1:
        return f"{value:.2f}"
    return f"{value:#.3g}"


def count(value: float) -> str:
    """A number of things with a decimal prefix: 512, 1.23 M, 3.07 G."""
    if value < 1000:
        return f"{value:.0f}"
    scaled, prefix = _scaled(value)
    return f"{three_digits(scaled)} {prefix}"


def size(num_bytes: float) -> str:
    """A number of bytes in decimal units: 512 B, 4.51 MB."""
    if num_bytes < 1000:
        return f"{num_bytes:.0f} B"
    scaled, prefix = _scaled(num_bytes)
    return f"{three_digits(scaled)} {prefix}B"


def _scaled(value: float) -> tuple[float, str]:
    # Rounded first: 999,999 is 1.00 M, not 1,000 k.
    power = 0
    while float(f"{value:.3g}") >= 1000 and power < len(THOUSANDS) - 1:
        value, power = value / 1000, power + 1
    return value, THOUSANDS[power]


def integer(value: int) -> str:
    """Every digit, in groups of three: 10,000."""
    return f"{value:,d}"


def percent(share: float) -> str:
    """A share in [0, 1] as percent with two decimals: 91.25 %."""
    return f"{100 * share:.2f} %"


def short_percent(share: float) -> str:
    """A share beside an axis: 92.5 %."""
    return f"{100 * share:.4g} %"


def signed_points(difference: float) -> str:
    """A difference between two shares in percentage points: -0.12 points."""
    points = round(100 * difference, 2)
    return f"{points:+.2f} points" if points else "0.00 points"


def milliseconds(value_ms: float) -> str:
    """A latency: 0.456 ms, 12.3 ms, 1,234 ms."""
    return f"{three_digits(value_ms)} ms"


def duration(seconds: float) -> str:
    """A time that people wait: 12.3 s, 3 min 05 s, 2 h 14 min."""
    # Rounded first: 59.97 s is 1 min 00 s, not 60.0 s.
    if round(seconds, 1) < SECONDS_PER_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
    if minutes < MINUTES_PER_HOUR:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, MINUTES_PER_HOUR)
    return f"{hours} h {minutes:02d} min"


def factor(value: float) -> str:
    """How many times: 3.98x."""
    return f"{three_digits(value)}x"


def comparison(dense: float, slim: float, words: tuple[str, str]) -> str:
    """How the slim value stands to the dense one: 3.98x smaller, 1.80x larger, the same.

    ``words`` say less and more: `SIZE_WORDS` or `COUNT_WORDS`.
    """
    if dense == slim:
        return "the same"
    if not dense or not slim:
        return NOTHING
    less, more = words
    return f"{factor(dense / slim)} {less}" if slim < dense else f"{factor(slim / dense)} {more}"


def difference(value: float) -> str:
    """A relative difference, which is often tiny: 3.1e-07."""
    return f"{value:.1e}" if value else "0"


def number(value: float) -> str:
    """Any other number with four significant digits: 0.1, 12.35, 1e-04."""
    return f"{value:.4g}"


def plain(value: Any) -> str:
    """A JSON value in a cell: text as it is, a list with commas, else as JSON writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value) or NOTHING
    return json.dumps(value, ensure_ascii=False)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Rows of a nested mapping, one for each leaf, keys joined by dots."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows.extend(flat(value, f"{prefix}{key}."))
        else:
            rows.append((f"{prefix}{key}", plain(value)))
    return rows
