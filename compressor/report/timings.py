"""What was timed in a run, as its files hold it."""

from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, field_validator

from compressor.report.part import Part

UNSAID = "the record does not say"


class Percentiles(Part):
    """Latencies of one batch, in milliseconds."""

    p50: NonNegativeFloat
    p90: NonNegativeFloat
    p99: NonNegativeFloat
    p99_reliable: bool = True
    """Whether it is of enough samples; where a run does not say, it is shown unmarked."""


class SpeedUp(Part):
    """Dense time over slim time: median and the two ends of its interval."""

    median: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat


class ChainLink(Percentiles):
    """Times of one file or network beside the dense network in PyTorch."""

    speedup: SpeedUp


class Chain(Part):
    """All that was timed beside the dense network in PyTorch, by batch size and name."""

    reference: str
    unmeasured: dict[str, str]
    """Name of a file -> why it was not timed."""
    latency: dict[int, dict[str, ChainLink]]

    @field_validator("unmeasured", mode="before")
    @classmethod
    def _of_older_runs(cls, value: object) -> object:
        """Runs once listed the names alone."""
        return dict.fromkeys(value, UNSAID) if isinstance(value, list) else value


class Latency(Part):
    """``bench/latency.json``: the speed-up goes by engine and batch size."""

    speedup: dict[str, dict[int, SpeedUp]]
    environment: dict[str, Any]
    method: dict[str, Any]
    chain: Chain | None = None
