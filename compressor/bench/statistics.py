"""Figures of one subject's samples beyond its percentiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compressor.bench.stopwatch import MS_PER_SECOND
from compressor.bench.timer import Latency

MAX_VARIATION = 0.025
"""Above it trtexec too calls a measurement unstable (its warning at 2.5 %)."""


PASSING = ("wall", "realtime")
"""Clocks that show the time that passes."""


def variation(samples_ms: Sequence[float]) -> float:
    """Coefficient of variation: standard deviation of all samples over their mean, >= 0.

    That of a mean of 0 is 0: a clock that shows nothing is refused where samples are compared.
    """
    mean = float(np.mean(samples_ms))
    return float(np.std(samples_ms)) / mean if mean else 0.0


def throughput(samples_ms: Sequence[float], batch_size: int) -> float:
    """Images in one second if one run follows the other, none waiting beside it."""
    return batch_size * len(samples_ms) * MS_PER_SECOND / sum(samples_ms)


def figures(samples_ms: Sequence[float], batch_size: int, clock: str) -> dict[str, Any]:
    """Latency, throughput and how far the samples vary, ready for JSON.

    ``latency_ms`` is that of ``Latency.to_json``; a series is ``stable`` up to `MAX_VARIATION`.
    ``images_per_second`` is ``None`` under a clock that does not show all the time that passes: one
    of the processor or of the GPU alone says nothing of throughput.

    Args:
        samples_ms: Milliseconds of each run.
        batch_size: Images in one run.
        clock: Name of the clock that they were taken with.
    """
    spread = variation(samples_ms)
    return {
        "latency_ms": Latency.of(samples_ms).to_json(),
        "images_per_second": throughput(samples_ms, batch_size) if clock in PASSING else None,
        "variation": spread,
        "stable": spread <= MAX_VARIATION,
    }


def transfer_figures(
    copies_ms: Mapping[str, Sequence[float]], compute_ms: Sequence[float]
) -> dict[str, Any] | None:
    """Latency of the copies to and from a GPU, ready for JSON; ``None`` if none were timed.

    Args:
        copies_ms: Samples of ``h2d`` and ``d2h``.
        compute_ms: Samples of the runs between them.

    Returns:
        ``h2d`` and ``d2h`` as ``latency_ms`` is; ``latency_mean``: in, run and out, the sum of the
        three means. Means add up whatever was timed together, percentiles do not.
    """
    if not copies_ms:
        return None
    series = (*copies_ms.values(), compute_ms)
    return {
        **{name: Latency.of(samples).to_json() for name, samples in copies_ms.items()},
        "latency_mean": sum(float(np.mean(samples)) for samples in series),
    }
