"""The curve of a family: which members are dominated by others, and the page."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

COSTS = ("macs", "params", "bytes", "latency_ms")
"""By each of these a member may be dominated: another has no more of it and is as accurate."""

COLUMNS = (
    *("size", "validation", "test", "MACs", "parameters", "bytes", "latency, ms", "faster"),
    "dominated by",
)


def mark_dominated(rows: Sequence[dict[str, Any]]) -> None:
    """Give each row ``dominated``: the costs by which another is as accurate and no dearer.

    Accuracy is that on the images that ``judged_by`` says. Of two rows that are equal in both, the
    first counts as the better one.
    """
    images = judged_by(rows)
    for place, row in enumerate(rows):
        row["dominated"] = [
            cost
            for cost in COSTS
            if any(
                _dominates(other, row, (images, cost), earlier=number < place)
                for number, other in enumerate(rows)
                if number != place
            )
        ]


def judged_by(rows: Sequence[Mapping[str, Any]]) -> Literal["validation", "test"]:
    """Validation images, so that nothing is chosen by test images; those where a row has no other.

    Rows that were not tuned have no accuracy on validation images.
    """
    tuned = all(row["accuracy"]["validation"] is not None for row in rows)
    return "validation" if tuned else "test"


def _dominates(
    one: Mapping[str, Any], other: Mapping[str, Any], by: tuple[str, str], *, earlier: bool
) -> bool:
    images, cost = by
    ours, theirs = float(one["accuracy"][images]), float(other["accuracy"][images])
    if ours < theirs or one[cost] > other[cost]:
        return False
    return ours > theirs or one[cost] < other[cost] or earlier


def as_text(record: Mapping[str, Any]) -> str:
    """The curve as a page of Markdown."""
    cost, images = record["cost"], judged_by(record["members"])
    caution = "" if images == "validation" else ", for want of an accuracy on validation ones"
    lines = [
        f"# {record['recipe']}: a family of {len(record['members'])} from one search",
        "",
        f"{record['tune_epochs']} epochs of tuning each. Making all took {cost['macs_share']:.0%} "
        f"of the training compute of as many searches; the time, {cost['seconds_share']:.0%} of "
        "theirs, is only as fair as the machine was idle.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- " * len(COLUMNS) + "|",
        _line("dense", record["dense"]),
        *(_line(f"{row['share']:g}", row) for row in record["members"]),
        "",
        "Latency: median in ONNX Runtime at batch 1, all networks interleaved; faster: against the "
        "dense network, with the 95 % interval. A member is dominated by a cost if another has no "
        f"more of it and is at least as accurate on {images} images{caution}.",
    ]
    return "\n".join(lines) + "\n"


def _line(name: str, row: Mapping[str, Any]) -> str:
    accuracy, speedup = row["accuracy"], row["speedup"]
    validation = "" if accuracy["validation"] is None else f"{accuracy['validation']:.2%}"
    return (
        f"| {name} | {validation} | {accuracy['test']:.2%} | {row['macs']:,} "
        f"({row['macs_share']:.1%}) | {row['params']:,} | {row['bytes']:,} | "
        f"{row['latency_ms']:.3g} | {speedup['median']:.2f}x ({speedup['low']:.2f}-"
        f"{speedup['high']:.2f}) | {', '.join(row.get('dominated', []))} |"
    )
