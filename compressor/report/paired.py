"""How much two networks differ on the same images, with an interval."""

import math
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95

Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Change:
    """Accuracy of the second network minus that of the first, with the ends of its interval."""

    value: float
    low: float
    high: float


def paired_change(both: int, only_first: int, only_second: int, neither: int) -> Change:
    """The change of a share on the same images, with the interval of Newcombe's method 10.

    Wilson's score intervals of the two shares, joined with the correlation that pairing brings.
    Unlike a normal interval it stays within -1 and 1 and is not of no width where nothing changed.
    R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions
    based on paired data, Statistics in Medicine 17 (1998), 2635-2650.

    Args:
        both: Images that both networks get right.
        only_first: Those that the first alone does.
        only_second: Those that the second alone does.
        neither: Those that none does; the four make at least one image.
    """
    num_images = both + only_first + only_second + neither
    first, second = (both + only_first) / num_images, (both + only_second) / num_images
    first_low, first_high = wilson(both + only_first, num_images)
    second_low, second_high = wilson(both + only_second, num_images)
    phi = _correlation(both, only_first, only_second, neither)
    value = second - first
    down = _joined(second - second_low, first_high - first, phi)
    up = _joined(second_high - second, first - first_low, phi)
    return Change(value, value - down, value + up)


def _joined(one: float, other: float, phi: float) -> float:
    # Rounding may leave less than nothing where both are equal and phi is one.
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def wilson(right: int, num_images: int) -> tuple[float, float]:
    """Wilson's score interval of a share of ``num_images`` >= 1."""
    share, square = right / num_images, Z**2
    centre = 2 * right + square
    spread = Z * math.sqrt(square + 4 * right * (1 - share))
    scale = 2 * (num_images + square)
    return (centre - spread) / scale, (centre + spread) / scale


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Phi of the two answers; towards zero by half an image's weight where it is positive."""
    sides = (
        (both + only_first) * (only_second + neither) * (both + only_second)
        * (only_first + neither)
    )  # fmt: skip
    if not sides:
        return 0.0
    product = float(both * neither - only_first * only_second)
    if product > 0:
        num_images = both + only_first + only_second + neither
        product = max(product - num_images / 2, 0.0)
    return product / math.sqrt(sides)
