"""The few figures that stand on top of a report, and the sentence made of them."""

from compressor.engines import ENGINES
from compressor.report import formats
from compressor.report.given import given_facts
from compressor.report.page import Fact
from compressor.report.run_files import Summary
from compressor.report.timings import Latency

ENGINE_NAMES = {name: engine.title for name, engine in ENGINES.items()}
HEADLINE_ENGINE = "onnxruntime"
"""The engine that every run has."""


def engine_name(key: str) -> str:
    """What an engine calls itself; the key where that is not known."""
    return ENGINE_NAMES.get(key, key)


def sentence(summary: Summary, latency: Latency) -> str:
    """One sentence: compute, speed and accuracy of the slim network against the dense one."""
    parts = (macs_fact(summary), *speed_facts(latency), accuracy_fact(summary))
    return ", ".join(str(part) for part in parts) + "."


def facts(summary: Summary, latency: Latency) -> tuple[Fact, ...]:
    """The figures on top: compute, speed, file, accuracy; weights where some are zero; as given."""
    size = _fact(summary.dense.bytes, summary.slim.bytes, formats.SIZE_WORDS, "ONNX file")
    speed, weights = speed_facts(latency), weights_facts(summary)
    return (
        macs_fact(summary),
        *speed,
        size,
        *weights,
        accuracy_fact(summary),
        *given_facts(summary),
    )


def weights_facts(summary: Summary) -> tuple[Fact, ...]:
    """Which share of the slim network's parameters is not zero; empty where units are kept."""
    if not summary.weights.masked:
        return ()
    return (Fact(formats.percent(summary.weights.share_of_slim), "of its parameters not zero"),)


def macs_fact(summary: Summary) -> Fact:
    """How many times fewer multiply-accumulates the slim network needs."""
    return _fact(summary.dense.macs, summary.slim.macs, formats.COUNT_WORDS, "MACs")


def _fact(dense: int, slim: int, words: tuple[str, str], noun: str) -> Fact:
    less, more = words
    if slim == dense:
        return Fact(formats.factor(1), f"the {noun} of dense")
    if slim < dense:
        return Fact(formats.factor(dense / slim), f"{less} {noun}")
    return Fact(formats.factor(slim / dense), f"{more} {noun}")


def speed_facts(latency: Latency) -> tuple[Fact, ...]:
    """The speed-up at the largest batch, worded by its interval; empty where nothing was timed."""
    timed = {engine: batches for engine, batches in latency.speedup.items() if batches}
    if not timed:
        return ()
    engine = HEADLINE_ENGINE if HEADLINE_ENGINE in timed else next(iter(timed))
    batch = max(timed[engine])
    speedup = timed[engine][batch]
    place = f"in {engine_name(engine)} at batch {batch}"
    if speedup.low > 1:
        return (Fact(formats.factor(speedup.median), f"faster {place}"),)
    if speedup.high < 1:
        return (Fact(formats.factor(1 / speedup.median), f"slower {place}"),)
    interval = f"{formats.factor(speedup.low)} to {formats.factor(speedup.high)}"
    label = f"the speed of dense {place} ({interval}: no clear difference)"
    return (Fact(formats.factor(speedup.median), label),)


def accuracy_fact(summary: Summary) -> Fact:
    """How many percentage points the slim network is below or above the dense one."""
    points = round(100 * (summary.slim.accuracy - summary.dense.accuracy), 2)
    side = "below" if points < 0 else "above" if points > 0 else "from"
    images = formats.integer(summary.test_images)
    return Fact(f"{abs(points):.2f} points", f"{side} dense on {images} test images")
