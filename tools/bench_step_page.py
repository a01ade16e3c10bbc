"""The rows of the step benchmark: what they miss, as lines, and as a page."""

import datetime
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchvision
from bench_step_cases import in_words

from compressor.bench.environment import environment

Row = Mapping[str, Any]

STEP_BARS = {"dessilbi": 1.10}
"""What a whole training step may take over one of plain SGD."""

OTHERS_BAR = 1.25
"""For the methods that are not named above."""

MEMORY_SHARE = 0.05
"""Of SGD's peak, what a twin may take beside one tensor as large as what is twinned."""


ALONE = 1.5
"""Average load up to which this program had the machine for itself."""


def missed(row: Row) -> list[str]:
    """The bars that a row misses, in words; usually none."""
    bar, found = STEP_BARS.get(row["method"], OTHERS_BAR), []
    if row["step_ratio"] > bar:
        found.append(f"step {row['step_ratio']:.3f} > {bar:.2f}")
    if row["twinned_bytes"] is not None:
        extra = row["peak_bytes"] - row["sgd_peak_bytes"]
        allowed = row["twinned_bytes"] + MEMORY_SHARE * row["sgd_peak_bytes"]
        if extra > allowed:
            found.append(f"memory +{extra / 1e6:.1f} MB > {allowed / 1e6:.1f} MB")
    return found


def about(arguments: str, device: torch.device, batch_size: int, rounds: int) -> dict[str, Any]:
    """Where the table comes from and what it was measured on; no names of machines."""
    here = environment()
    return {
        "command": f"tools/bench_step {arguments}".rstrip(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "device": here["gpu"] if device.type == "cuda" else "cpu",
        **{name: here[name] for name in ("cpu", "cores", "torch_threads", "isa_flags")},
        "load_average": here["load_average"],
        "batch": batch_size,
        "rounds": rounds,
    }


def in_short(row: Row) -> str:
    """A row in one line of text."""
    name = ", ".join([row["model"], row["method"], row["level"], *in_words(row["form"])])
    low, high = row["step_ratio_quartiles"]
    rare = "" if row["update_ratio"] is None else f", with an update {row['update_ratio']:.2f}"
    bars = "".join(f"; MISSED: {bar}" for bar in row["missed"])
    return (
        f"{name}: step {row['step_ratio']:.3f} ({low:.3f} to {high:.3f}){rare}, optimiser "
        f"{row['optimizer_ratio']:.2f} (+{row['optimizer_share']:.1%} of a step), memory "
        f"{row['memory_ratio']:.3f}, state {row['state_bytes'] / 1e6:.2f} MB{bars}"
    ).replace("+-", "-")


def as_markdown(table: Mapping[str, Any]) -> str:
    """The table as a page."""
    about_it, rows = table["about"], table["rows"]
    numbers = ", ".join(f"{name} {number}" for name, number in about_it["versions"].items())
    failing = sum(bool(row["missed"]) for row in rows)
    lines = [
        "# What each method costs in a training step",
        "",
        f"`{about_it['command']}`, {about_it['date']}, {numbers}, {_machine(about_it)}.",
        "",
        f"torchvision's networks at 32 x 32 pixels and ten classes, batches of {about_it['batch']} "
        "random images, SGD with momentum 0.9 and weight decay 5e-4, float32, channels-last. The "
        "method and plain SGD take turns in one process, and who is first changes; figures are "
        f"medians of the ratios of {about_it['rounds']} rounds, with the quartiles in brackets. "
        "On a CPU with one thread time is that of the processor, not of the clock.",
        "",
        *_company(about_it["load_average"]),
        "* **step**: a whole training step (forward, backward, the optimiser's step with all "
        "hooks, clearing gradients) over that of SGD. The rows of `dense`, which does nothing, "
        "say how far noise alone goes.",
        "* **optimiser**: the optimiser's step with all hooks over that of SGD, and what it takes "
        "more as a share of SGD's whole step, which noise hardly touches.",
        "* **update**: a whole step in which masks change, over one of SGD, for methods that "
        "change them in one of many steps; these are not among the others.",
        "* **memory**: peak of all tensors in a whole step over that of SGD, counted tensor by "
        "tensor as each operator ends (on CUDA by the allocator). What a kernel uses within "
        "itself is not in it on a CPU.",
        "* **state**: bytes that stay between two steps, beyond SGD's.",
        "",
        f"A step may take {STEP_BARS['dessilbi']:g} times SGD's with dessilbi and {OTHERS_BAR:g} "
        "times with the others, and the peak of dessilbi may lie above SGD's by one tensor as "
        f"large as the twinned parameters and {MEMORY_SHARE:.0%} of SGD's peak. "
        + (f"{failing} of {len(rows)} rows miss a bar." if failing else "No row misses a bar."),
        "",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        chosen = [row for row in rows if row["model"] == model]
        lines += [*_section(model, chosen), ""]
    return "\n".join(lines).rstrip() + "\n"


def _company(load_average: Sequence[float] | None) -> list[str]:
    """Says where others had the machine as well."""
    if load_average is None or load_average[0] <= ALONE:
        return []
    return [
        f"Other programs ran at the same time ({load_average[0]:g} on average as it began), which "
        "shows in the ratios of whole steps: run it again on an idle machine.",
        "",
    ]


def _machine(about_it: Mapping[str, Any]) -> str:
    if about_it["device"] != "cpu":
        return str(about_it["device"])
    name = f"{about_it['cpu']}, " if about_it["cpu"] else ""
    return f"{name}{about_it['cores']} cores, threads used {about_it['torch_threads']}"


def _section(model: str, rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    return [
        f"## {model}",
        "",
        f"SGD: about {first['sgd_step_ms']:.0f} ms for a step, peak "
        f"{first['sgd_peak_bytes'] / 1e6:.1f} MB.",
        "",
        "| method | level | step | optimiser | update | memory | state, MB | twinned, MB | over |",
        "| --- " * 9 + "|",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]


def _cells(row: Row) -> list[str]:
    low, high = row["step_ratio_quartiles"]
    twinned = row["twinned_bytes"]
    return [
        " ".join([row["method"], *(f"`{words}`" for words in in_words(row["form"]))]),
        row["level"],
        f"{row['step_ratio']:.3f} ({low:.3f} to {high:.3f})",
        f"{row['optimizer_ratio']:.2f}, {row['optimizer_share']:+.1%}",
        "" if row["update_ratio"] is None else f"{row['update_ratio']:.2f}",
        f"{row['memory_ratio']:.3f}",
        f"{row['state_bytes'] / 1e6:.2f}",
        "" if twinned is None else f"{twinned / 1e6:.2f}",
        "; ".join(row["missed"]),
    ]
