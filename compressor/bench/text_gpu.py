"""What a page says of files on a GPU, line by line."""

from collections.abc import Iterator
from typing import Any

FIGURES = {
    "sm_mhz": ("SM clock", "MHz"),
    "memory_mhz": ("memory clock", "MHz"),
    "temperature_c": ("temperature", "C"),
    "power_w": ("power", "W"),
}
"""Figure of the GPU's state -> its name on the page, its unit."""


def gpu_lines(record: dict[str, Any]) -> list[str]:
    """Launches, transfers, what of NVIDIA's tools is comparable, clocks; none without a GPU.

    Args:
        record: Of ``bench_files``.
    """
    lines: list[str] = []
    for row in record["subjects"]:
        if row["runner"].get("launched") is None:
            continue
        lines += [_launched(row), *_transfers(row)]
    return [*lines, *(_state(record["gpu"]) if record["gpu"] else ())]


def _launched(row: dict[str, Any]) -> str:
    runner = row["runner"]
    way = (
        "from a CUDA graph" if runner["launched"] == "graph" else "kernel by kernel, no CUDA graph"
    )
    return f"{row['name']}: launched {way}."


def _transfers(row: dict[str, Any]) -> Iterator[str]:
    """Copies, and what is comparable; nothing for clocks that are not the GPU's."""
    copies = row["transfers_ms"]
    if copies is None:
        return
    to_gpu, from_gpu = copies["h2d"]["p50"], copies["d2h"]["p50"]
    yield (
        f"{row['name']}: transfers apart, H2D {to_gpu:.4g} ms and D2H {from_gpu:.4g} ms (p50); "
        f"in, run and out {copies['latency_mean']:.4g} ms (mean)."
    )
    yield _comparable(row)


def _comparable(row: dict[str, Any]) -> str:
    told = row["trtexec"]
    if told["tool"] is None:
        return f"{row['name']}: not comparable to NVIDIA's tools: {told['why_not']}."
    flags = " ".join(told["flags"]) or "no switches: its defaults"
    return (
        f"{row['name']}: comparable to {told['figure']} of {told['tool']} under {flags}; to its "
        f"{told['transfers']}."
    )


def _state(gpu: dict[str, Any]) -> Iterator[str]:
    device = gpu["device"]
    capability = ".".join(map(str, device["capability"]))
    driver = device["driver"] or "of unknown version"
    yield f"GPU: {device['name']}, compute capability {capability}, driver {driver}."
    if gpu["unavailable"] is not None:
        yield f"The GPU's clocks and throttling were not looked at: {gpu['unavailable']}"
        return
    known = [name for name in FIGURES if gpu["worst"][name] is not None]
    told = [f"{FIGURES[name][0]} {_walk(gpu, name)} {FIGURES[name][1]}" for name in known]
    if told:
        yield f"Before, after (worst of {gpu['looks']} looks): {', '.join(told)}."
    if gpu["throttled"] is None:
        yield "Whether the GPU throttled is not known."
    elif gpu["throttled"]:
        yield (
            f"The GPU throttled ({', '.join(gpu['throttled'])}): trust the ratios at most, and "
            "measure again with lower clocks locked."
        )
    else:
        yield "No throttling at any look."
    for name, why in gpu["refused"].items():
        yield f"NVML did not give {name}: {why}."


def _walk(gpu: dict[str, Any], name: str) -> str:
    before, after, worst = (_number(gpu[when][name]) for when in ("before", "after", "worst"))
    return f"{before}, {after} ({worst})"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"
