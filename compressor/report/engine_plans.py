"""The section on TensorRT plans: layers by precision, and what came out where there is a GPU."""

from collections.abc import Mapping

from compressor.report import formats
from compressor.report.built import BuiltPlan
from compressor.report.headline import engine_name
from compressor.report.page import Section, Table
from compressor.report.run_files import RunRecord
from compressor.report.timings import Chain

UNMEASURED = "unmeasured"
NOT_READ = "not read back"

COLUMNS = (
    *("File", "Profile", "Built with", "Layers of the file", "Layers of the plan"),
    *("Size", "Validation accuracy", "Against float32", "Latency (p50)"),
)


def plans_section(run: RunRecord) -> Section | None:
    """Each plan by name with what is known and what is unmeasured; ``None`` without a plan."""
    if not run.plans:
        return None
    rows = tuple(_row(plan, run.latency.chain) for plan in run.plans)
    table = Table("Plans of the slim network", COLUMNS, rows, text_columns=5)
    return Section("plans", "TensorRT plans", tuple(_notes(run.plans)), tables=(table,))


def _notes(plans: list[BuiltPlan]) -> list[str]:
    """What must be known to read the table; each reason once."""
    notes = [
        "Layers are convolutions and matrix products, as shares by precision: those of the file "
        "that the plan was built from, and those that the engine chose, read back from the plan."
    ]
    unread = _by_reason({plan.file: plan.not_inspected for plan in plans})
    unmeasured = _by_reason({plan.file: plan.unmeasured for plan in plans})
    notes += [f"Not read back: {files}, {reason}." for reason, files in unread.items()]
    # A plan without an accuracy is not timed, even if there is a device by then.
    notes += [
        f"Accuracy unmeasured, and therefore not timed: {files}, {reason}."
        for reason, files in unmeasured.items()
    ]
    return [*notes, *_layer_notes(plans)]


def _layer_notes(plans: list[BuiltPlan]) -> list[str]:
    """Changes of layout, and 2:4 weights with what is wrong with them."""
    moved = [f"{p.file} {p.num_reformats}" for p in plans if p.num_reformats is not None]
    notes = [f"Layers that only change a layout or a type: {', '.join(moved)}."] if moved else []
    notes += [f"{plan.file}: {plan.sparse}." for plan in plans if plan.sparse is not None]
    return notes + [
        f"Warning: {plan.file}: {plan.sparse_warning}."
        for plan in plans
        if plan.sparse_warning is not None
    ]


def _by_reason(reasons: Mapping[str, str | None]) -> dict[str, str]:
    """Reason -> the files that it holds for."""
    found = dict.fromkeys(reason for reason in reasons.values() if reason is not None)
    return {
        reason: ", ".join(file for file, why in reasons.items() if why == reason)
        for reason in found
    }


def _row(plan: BuiltPlan, chain: Chain | None) -> tuple[str, ...]:
    gpu = "" if plan.gpu is None else f", {plan.gpu}"
    return (
        plan.file,
        plan.profile,
        f"{engine_name(plan.engine)} {plan.version}{gpu}",
        _shares(plan.file_products),
        NOT_READ if plan.plan_products is None else _shares(plan.plan_products),
        formats.size(plan.num_bytes),
        *_accuracy(plan),
        _latency(plan, chain),
    )


def _shares(products: Mapping[str, int]) -> str:
    """Share of the layers at each precision."""
    total = sum(products.values())
    shares = (f"{name} {formats.percent(number / total)}" for name, number in products.items())
    return ", ".join(shares) or formats.NOTHING


def _accuracy(plan: BuiltPlan) -> tuple[str, str]:
    if plan.accuracy is None or plan.float_accuracy is None:
        return (UNMEASURED, UNMEASURED)
    difference = formats.signed_points(plan.accuracy - plan.float_accuracy)
    return (formats.percent(plan.accuracy), difference)


def _latency(plan: BuiltPlan, chain: Chain | None) -> str:
    """Median of each batch size that was timed."""
    cells = sorted(chain.latency.items()) if chain is not None else []
    times = [
        f"batch {formats.integer(batch)}: {formats.milliseconds(links[plan.label].p50)}"
        for batch, links in cells
        if plan.label in links
    ]
    return ", ".join(times) or UNMEASURED
