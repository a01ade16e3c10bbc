"""Which figure of NVIDIA's own timing tools a plan's time can be held against, and how to get it.

``trtexec`` changed its defaults in 11.0: until 10.x a query holds its transfers, the CPU sleeps
while it waits, and there is no CUDA graph; since 11.0 it is the other way round in all three, with
other switches. TensorRT-RTX has a tool of its own, ``tensorrt_rtx``, with the defaults of 11.x and
CUDA graphs that the engine itself captures.
"""

from collections.abc import Mapping
from typing import Any

from compressor.bench.cuda_stopwatch import CUDA_EVENTS
from compressor.tensorrt.runner import Launch

FIGURE = "GPU Compute Time"

TOOLS: Mapping[str, Mapping[str, str]] = {
    "tensorrt": {"10": "trtexec 10.x", "11": "trtexec 11.x"},
    "tensorrt-rtx": {"1": "tensorrt_rtx 1.x"},
}
"""Engine -> its major release -> the tool that times its plans: a plan is loaded by no other."""

COMPUTE_FLAGS: dict[str, dict[Launch, tuple[str, ...]]] = {
    "trtexec 10.x": {
        "graph": ("--noDataTransfers", "--useSpinWait", "--useCudaGraph"),
        "stream": ("--noDataTransfers", "--useSpinWait"),
    },
    "trtexec 11.x": {"graph": (), "stream": ("--noCudaGraph",)},
    "tensorrt_rtx 1.x": {"graph": (), "stream": ("--rtxCudaGraphStrategy=disable",)},
}
"""Tool -> way of launching -> switches under which it times what is timed here; none: defaults."""

TRANSFER_FLAGS: dict[str, str] = {
    "trtexec 10.x": "without --noDataTransfers",
    "trtexec 11.x": "with --includeDataTransfers",
    "tensorrt_rtx 1.x": "with --includeDataTransfers",
}
"""Tool -> how it is made to show transfers."""

DIFFERENCES = (
    "one query at a time here, two in flight there: throughput is not comparable, and where "
    "launches take longer than kernels the wait for the CPU stands in the time here alone",
    "medians are nearest rank here, the mean of the middle two there",
    "subjects take turns here, with an untimed run before each timed one",
)
"""What stays different under the same switches."""


def comparable(flavour: str, clock: str, runner: Mapping[str, Any]) -> dict[str, Any]:
    """What of NVIDIA's tools a row's ``latency_ms`` can be held against, ready for JSON.

    Args:
        flavour: The row's engine.
        clock: Name of the clock.
        runner: What the row's runner says of its runs: ``launched`` and ``engine_version``.

    Returns:
        ``tool``, ``figure``, ``flags`` and ``transfers``, all ``None`` where nothing is comparable,
        and then ``why_not``; ``differences`` that stay.
    """
    tool, why_not = _tool(flavour, clock, str(runner.get("engine_version", "")))
    if tool is None:
        nothing = dict.fromkeys(("tool", "figure", "flags", "transfers"))
        return {**nothing, "why_not": why_not, "differences": []}
    return {
        "tool": tool,
        "figure": FIGURE,
        "flags": list(COMPUTE_FLAGS[tool]["graph" if runner["launched"] == "graph" else "stream"]),
        "transfers": f"H2D Latency and D2H Latency, {TRANSFER_FLAGS[tool]}",
        "why_not": None,
        "differences": list(DIFFERENCES),
    }


def _tool(flavour: str, clock: str, version: str) -> tuple[str | None, str | None]:
    """The tool, or why there is none."""
    if flavour not in TOOLS:
        return None, "CPU"
    if clock != CUDA_EVENTS:
        return None, f"the clock {clock} holds each output's copy to the CPU and the wait for it"
    tool = TOOLS[flavour].get(version.partition(".")[0])
    return tool, None if tool else f"the defaults of {flavour} {version}'s tool are not known here"


def gpu_facts(clock: str) -> dict[str, str]:
    """What a record says of a GPU's engine where times are taken by CUDA events.

    The same keys as ``FileEngine.facts`` has; none for other clocks, whose facts stand there.
    """
    if clock != CUDA_EVENTS:
        return {}
    return {
        "transfers": "apart: each subject's transfers_ms; latency_ms holds none",
        "spin": "CUDA's default: the CPU polls or yields, and does not sleep until an interrupt",
        "comparable_to_trtexec": f"{FIGURE}, under the switches said for each subject",
    }
