"""Round numbers along an axis."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

STEPS = (1, 2, 2.5, 5, 10)
"""What one tick may be further than the one before, times a power of ten."""

SAME = 1e-9
"""Two numbers that differ by this part of them, or less, are one on an axis."""


@dataclass(frozen=True)
class Scale:
    """A stretch of numbers and where each stands in it.

    Attributes:
        low: The number at the start.
        high: The number at the end, above ``low``.
        ticks: Round numbers in between, rising.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Where ``value`` stands: 0 at the start, 1 at the end."""
        return (value - self.low) / (self.high - self.low)


def scale_of(low: float, high: float, num_ticks: int = 5) -> Scale:
    """A scale from a round number to a round number that holds ``low`` and ``high``.

    Args:
        low: Smallest number to be shown.
        high: Largest one, >= ``low``.
        num_ticks: About as many ticks; up to twice as few or as many.
    """
    return _rounded(*_apart(low, high), num_ticks)


def scale_of_shares(shares: Iterable[float]) -> Scale:
    """A scale for parts of a whole, of which there are some; it never leaves [0, 1]."""
    shares = tuple(shares)
    low, high = _apart(min(shares), max(shares))
    # Round steps up to a fifth divide 1, so rounding outwards ends at 0 and at 1.
    return _rounded(max(low, 0.0), min(high, 1.0), num_ticks=5)


def _apart(low: float, high: float) -> tuple[float, float]:
    """The two, or if they are one number, two on both sides of it."""
    # What differs in the last digits alone has no round numbers in between.
    if high - low > SAME * max(abs(low), abs(high)):
        return low, high
    pad = abs(low) / 10 or 1.0
    return low - pad, high + pad


def _rounded(low: float, high: float, num_ticks: int) -> Scale:
    rough = (high - low) / num_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in STEPS if power * factor >= rough * (1 - 1e-9))
    # In steps from zero, so that ticks of one step agree whatever the ends are.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Rounded away: 3 * 0.1 is not 0.3.
    digits = 1 - math.floor(math.log10(step))
    ticks = tuple(round(number * step, digits) for number in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)
