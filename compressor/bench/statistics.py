"""Figures of one subject's samples beyond its percentiles."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from compressor.bench.stopwatch import MS_PER_SECOND
from compressor.bench.timer import Latency

MAX_VARIATION = 0.025
"""Above it trtexec too calls a measurement unstable (its warning at 2.5 %)."""


def variation(samples_ms: Sequence[float]) -> float:
    """Coefficient of variation: standard deviation of all samples over their mean, >= 0.

    That of a mean of 0 is 0: a clock that shows nothing is refused where samples are compared.
    """
    mean = float(np.mean(samples_ms))
    return float(np.std(samples_ms)) / mean if mean else 0.0


def throughput(samples_ms: Sequence[float], batch_size: int) -> float:
    """Images in one second if one run follows the other, none waiting beside it."""
    return batch_size * len(samples_ms) * MS_PER_SECOND / sum(samples_ms)


def figures(samples_ms: Sequence[float], batch_size: int) -> dict[str, Any]:
    """Latency, throughput and how far the samples vary, ready for JSON.

    ``latency_ms`` is that of ``Latency.to_json``; a series is ``stable`` up to `MAX_VARIATION`.
    """
    spread = variation(samples_ms)
    return {
        "latency_ms": Latency.of(samples_ms).to_json(),
        "images_per_second": throughput(samples_ms, batch_size),
        "variation": spread,
        "stable": spread <= MAX_VARIATION,
    }
