"""The rows of the tool as lines and as a page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from latency_chain import PROFILE
from latency_judge import CONDITIONS, Row

COMPANY = 0.1
"""Cores that others may hold before the page says so."""

TITLES = {
    "macs": "A quarter of the MACs",
    "budget": "Half of the latency",
    "chain": "The whole way",
}


def in_short(row: Row) -> str:
    """A row in one line of text."""
    threads = f"{row['threads']} thread{'s' * (row['threads'] != 1)}"
    head = ", ".join([row["part"], *([row["network"]] if "network" in row else []), threads])
    if row["reason"]:
        return f"{head}: not measured: {row['reason']}"
    missed = "".join(f"; MISSED: {bar}" for bar in row["missed"])
    return f"{head}, {SHORT[row['part']](row)}{missed}"


def _macs_in_short(row: Row) -> str:
    return (
        f"round_to = {row['round_to']} ({row['multiple']}): {_times(row['latency_ratio'])} as fast "
        f"with {row['macs_ratio']:.2f} times fewer MACs, {_interval(row['worth'], '.3f')} of it"
    )


def _budget_in_short(row: Row) -> str:
    return (
        f"asked {row['asked']:.1%}, predicted {row['predicted']:.1%}, got {row['got']:.1%} "
        f"({row['error']:+.1%}), once more {row['again']['share']:.1%} ({row['again_error']:+.1%})"
    )


def _chain_in_short(row: Row) -> str:
    return (
        f"batch {row['batch']}: {_times(row['speedup'])} as fast, "
        f"{row['points_lost']:.2f} points lost ({row['source']})"
    )


SHORT: dict[str, Callable[[Row], str]] = {
    "macs": _macs_in_short,
    "budget": _budget_in_short,
    "chain": _chain_in_short,
}


def as_markdown(table: Mapping[str, Any]) -> str:
    """The table as a page."""
    about, rows = table["about"], table["rows"]
    numbers = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        "# What stripping is worth in time",
        "",
        f"`{about['command']}`, {about['date']}, {numbers}, {_machine(about)}.",
        "",
        "Everything that is compared takes turns in one process: one timed run of each in a round "
        f"after one that settles the caches, at most {about['rounds']} rounds and "
        f"{about['max_seconds']:g} seconds. Times are medians; ratios are those of the medians, "
        "with the 95% bootstrap interval over whole rounds in brackets. On one thread time is that "
        "of the processor, on several that of the clock, unless a table says otherwise.",
        "",
        _summary(rows),
        "",
        *_company(rows),
    ]
    for part, section in SECTIONS.items():
        chosen = [row for row in rows if row["part"] == part]
        lines += [f"## {TITLES[part]}", "", f"Condition: {CONDITIONS[part]}.", ""]
        lines += section([row for row in chosen if not row["reason"]])
        lines += [f"{in_short(row)}\n" for row in chosen if row["reason"]]
    return "\n".join(lines).rstrip() + "\n"


def _machine(about: Mapping[str, Any]) -> str:
    name = f"{about['cpu']}, " if about["cpu"] else ""
    flags = " ".join(about["isa_flags"] or [])
    return f"{name}{about['cores']} cores{f' ({flags})' if flags else ''}"


def _summary(rows: Sequence[Row]) -> str:
    """How many conditions hold, and what was not measured."""
    judged = [row for row in rows if row["holds"] is not None]
    failing = [row for row in judged if not row["holds"]]
    unmeasured = sum(bool(row["reason"]) for row in rows)
    parts = [f"{len(judged) - len(failing)} of {len(judged)} rows with a condition hold it"]
    parts += [f"measurements that could not be made: {unmeasured}"] if unmeasured else []
    return "; ".join(parts) + "."


def _company(rows: Sequence[Row]) -> list[str]:
    """Says where others had the machine as well."""
    busy = {
        (row["part"], row.get("network", ""), row["threads"]): row["others"]
        for row in rows
        # What was read was not disturbed by who was there meanwhile.
        if not row["reason"] and row["others"] > COMPANY and not row.get("recorded")
    }
    if not busy:
        return []
    places = "; ".join(
        f"{' '.join(filter(None, [part, network]))}, threads {threads}: {others:g}"
        for (part, network, threads), others in busy.items()
    )
    return [
        f"Other programs held part of the machine meanwhile (cores on average: {places}), which "
        "shows on several threads most: measure again on an idle machine.",
        "",
    ]


def _macs(rows: Sequence[Row]) -> list[str]:
    return [
        "Random weights, random norm scales and shifts, units in the order of their magnitude, "
        "ONNX Runtime, batch 1. *Aligned*: share of the MACs in weights whose widths suit the "
        "engine. *Of the MACs ratio*: latency ratio over MACs ratio.",
        "",
        *_table(
            ("network", "threads", "`round_to`", "aligned", "MACs kept", "dense, ms", "slim, ms")
            + ("times as fast", "MACs ratio", "of the MACs ratio", "holds"),
            (
                (
                    row["network"],
                    str(row["threads"]),
                    _rounding(row),
                    f"{row['aligned']:.0%}",
                    f"{row['macs_share']:.1%}",
                    f"{row['dense_ms']:.2f}",
                    f"{row['slim_ms']:.2f}",
                    _interval(row["latency_ratio"], ".2f"),
                    f"{row['macs_ratio']:.2f}",
                    _interval(row["worth"], ".3f"),
                    _answer(row),
                )
                for row in rows
            ),
        ),
        "",
    ]


def _rounding(row: Row) -> str:
    return f"auto: {row['multiple']}" if row["round_to"] == "auto" else str(row["round_to"])


def _budget(rows: Sequence[Row]) -> list[str]:
    return [
        "Networks made likewise, `keep_latency = 0.5`, `round_to = auto`; all shares are of the "
        "dense network's latency. *Predicted* and *first*: by the table of layers, and what the "
        "network made after it took. *Got*: the nearest of all networks that were made, as the "
        "solver measured it. *Once more*: that network and the dense one, measured again when all "
        "was over.",
        "",
        *_table(
            ("network", "threads", "dense, ms", "asked", "predicted", "first", "got", "off")
            + ("once more", "off", "networks made", "layers, s", "MACs kept", "holds"),
            (
                (
                    row["network"],
                    str(row["threads"]),
                    f"{row['dense_ms']:.2f}",
                    f"{row['asked']:.1%}",
                    f"{row['predicted']:.1%}",
                    f"{row['first']:.1%}",
                    f"{row['got']:.1%}",
                    f"{row['error']:+.1%}",
                    _shares(row["again"]),
                    f"{row['again_error']:+.1%}",
                    str(row["trials"]),
                    f"{row['layers_seconds']:.0f}",
                    f"{row['macs_share']:.1%}",
                    _answer(row),
                )
                for row in rows
            ),
        ),
        "",
    ]


def _shares(share: Mapping[str, float]) -> str:
    return f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def _chain(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    first = rows[0]
    cells = (
        (
            str(row["threads"]),
            str(row["batch"]),
            name,
            f"{link['p50']:.3f}",
            _interval(link["speedup"], ".2f"),
            f"{row['source']}, {row['clock']} clock",
            _answer(row) if name.startswith(f"slim {PROFILE}") else "",
        )
        for row in rows
        for name, link in row["links"].items()
    )
    columns = ("threads", "batch", "what, where", "p50, ms", "times as fast", "times from", "holds")
    return [
        f"A finished run of the recipe `{first['recipe']}` with `{PROFILE}`. On its "
        f"{first['test_images']:,d} test images the dense network has "
        f"{first['accuracy_dense']:.2%}, the int8 file {first['accuracy_int8']:.2%}: "
        f"{first['points_lost']:.2f} points lost.{_records(rows)}",
        "",
        *_table(columns, cells),
        "",
    ]


def _records(rows: Sequence[Row]) -> str:
    """When the run's own record was taken, as a sentence more."""
    found = next((row["recorded"] for row in rows if row["recorded"]), None)
    if found is None:
        return ""
    load = found["load_average"]
    company = f", with a load of {load[0]:g} as it began" if load else ""
    return f" The run's record is of {found['date'][:10]}{company}."


SECTIONS: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "macs": _macs,
    "budget": _budget,
    "chain": _chain,
}


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|", *lines]


def _answer(row: Row) -> str:
    """Whether the row's condition holds, in a word; empty where it has none."""
    if row["holds"] is None:
        return ""
    return "yes" if row["holds"] else f"NO: {'; '.join(row['missed'])}"


def _times(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} times ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _interval(ratio: Mapping[str, float], digits: str) -> str:
    low, high = format(ratio["low"], digits), format(ratio["high"], digits)
    return f"{format(ratio['median'], digits)} ({low} to {high})"
