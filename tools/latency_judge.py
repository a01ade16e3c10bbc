"""The figures -> rows, each with its condition, fixed before anything was measured."""

from collections.abc import Callable, Iterator
from typing import Any

from latency_budget import SLIM
from latency_chain import INT8
from latency_macs import DENSE
from latency_parts import Job, Outcome
from latency_timing import Figures

Row = dict[str, Any]

LEAST_WORTH = 0.9
"""Latency ratio over MACs ratio, of widths that suit the engine."""

MOST_ERROR = 0.1
"""Distance of the measured latency from the asked one, as a share of it."""

LEAST_SPEEDUP = 10.0
"""Of the whole way, one image at a time, on as many threads as were asked for."""

MOST_LOSS = 0.5
"""Points of test accuracy that the whole way may cost."""

CONDITIONS = {
    "macs": f"with `round_to = auto` the latency ratio is at least {LEAST_WORTH:g} of the MACs "
    "ratio",
    "budget": f"the measured latency is within {MOST_ERROR:.0%} of the asked one, as the solver "
    "measured it and once more afterwards",
    "chain": f"at batch 1, on each number of threads, at least {LEAST_SPEEDUP:g} times as fast, "
    f"at most {MOST_LOSS:g} points of test accuracy lost",
}


def rows_of(job: Job, outcome: Outcome) -> list[Row]:
    """The rows of one measurement; one with a ``reason`` where there are no figures.

    ``holds`` is None where nothing is asked of a row; ``missed`` says in words what is not so.
    """
    head = {"part": job.part, "threads": job.num_threads}
    if outcome.figures is None:
        subject = {} if job.part == "chain" else {"network": job.subject}
        return [{**head, **subject, "holds": None, "missed": [], "reason": outcome.reason}]
    rows = JUDGES[job.part](job, outcome.figures)
    measured = {"began": outcome.began, "others": outcome.others, "reason": ""}
    return [{**head, **measured, **row} for row in rows]


def _macs(job: Job, figures: Figures) -> Iterator[Row]:
    dense = figures["latency"][DENSE]
    for round_to, case in figures["cases"].items():
        slim, ratio = figures["latency"][round_to], figures["macs"] / case["macs"]
        worth = {name: value / ratio for name, value in slim["speedup"].items()}
        missed = [f"{worth['median']:.3f} < {LEAST_WORTH:g}"] * (worth["median"] < LEAST_WORTH)
        asked = round_to == "auto"
        yield {
            "network": job.subject,
            "round_to": round_to,
            "multiple": case["multiple"]["channels"],
            "aligned": case["alignment"]["macs_share"],
            "macs_share": 1 / ratio,
            "dense_ms": dense["p50"],
            "slim_ms": slim["p50"],
            "latency_ratio": slim["speedup"],
            "macs_ratio": ratio,
            "worth": worth,
            "clock": figures["method"]["clock"],
            **_verdict(missed if asked else None),
        }


def _budget(job: Job, figures: Figures) -> Iterator[Row]:
    record = figures["budget"]
    asked, speedup = record["asked"]["share"], figures["again"][SLIM]["speedup"]
    again = {
        "share": 1 / speedup["median"],
        "low": 1 / speedup["high"],
        "high": 1 / speedup["low"],
    }
    errors = {"got": record["got"]["share"] / asked - 1, "again": again["share"] / asked - 1}
    missed = [
        f"{name} {error:+.1%}" for name, error in errors.items() if not abs(error) <= MOST_ERROR
    ]
    yield {
        "network": job.subject,
        "round_to": figures["round_to"],
        "dense_ms": record["dense_ms"],
        "asked": asked,
        "predicted": record["trials"][0]["predicted"],
        "first": record["trials"][0]["got"],
        "got": record["got"]["share"],
        "error": errors["got"],
        "again": again,
        "again_error": errors["again"],
        "trials": len(record["trials"]),
        "layers_seconds": record["layers_seconds"],
        "macs_share": figures["macs_share"],
        "clock": record["method"]["clock"],
        **_verdict(missed),
    }


def _chain(_job: Job, figures: Figures) -> Iterator[Row]:
    accuracy, num_images = figures["accuracy"], figures["accuracy"]["test_images"]
    lost = accuracy["dense_right"] - accuracy["int8_right"]
    for batch, cell in figures["latency"].items():
        speedup = cell[INT8]["speedup"]
        missed = []
        if speedup["median"] < LEAST_SPEEDUP:
            missed.append(f"{speedup['median']:.2f} times < {LEAST_SPEEDUP:g}")
        # In whole numbers: 93.15 - 92.65 is more than 0.5 in floating point.
        if 100 * lost > MOST_LOSS * num_images:
            missed.append(f"{100 * lost / num_images:.2f} points > {MOST_LOSS:g}")
        asked = batch == "1"
        yield {
            "recipe": figures["recipe"],
            "batch": int(batch),
            "links": {name: _link(link) for name, link in cell.items()},
            "speedup": speedup,
            "accuracy_dense": accuracy["dense"],
            "accuracy_int8": accuracy["int8"],
            "points_lost": 100 * lost / num_images,
            "test_images": num_images,
            "clock": figures["method"]["clock"],
            "source": figures["source"],
            "recorded": _recorded(figures.get("environment")),
            **_verdict(missed if asked else None),
        }


def _recorded(environment: Figures | None) -> Row | None:
    """When the run's own record was taken, and what load there was; None if it is not used."""
    if environment is None:
        return None
    return {"date": environment["date"], "load_average": environment["load_average"]}


def _link(link: Figures) -> Row:
    return {"p50": link["p50"], "speedup": link["speedup"]}


def _verdict(missed: list[str] | None) -> Row:
    """None where nothing is asked."""
    return {"holds": None if missed is None else not missed, "missed": missed or []}


JUDGES: dict[str, Callable[[Job, Figures], Iterator[Row]]] = {
    "macs": _macs,
    "budget": _budget,
    "chain": _chain,
}
