"""The sections on what came out: sizes, accuracy, and that stripping changed nothing."""

from typing import Any

from compressor.report import formats
from compressor.report.given import given_accuracy, given_notes, given_row
from compressor.report.page import Section, Table
from compressor.report.run_files import RunRecord, Summary

BUDGET_NAMES = {
    "macs": "MACs kept",
    "params": "Parameters kept",
    "latency": "Latency kept",
    "latency_ms": "Latency",
}


def comparison_section(run: RunRecord) -> Section:
    """Dense beside slim: accuracy, compute, size; and the budget, asked and reached."""
    note = (
        "MACs are multiply-accumulates for one image. Training compute counts a forward and a "
        "backward pass as three forward passes for each image; for the slim network that is search "
        "and tuning with the teacher's passes, without what the teacher's own training cost."
    )
    zeros = (_weights_note(run.summary),) if run.summary.weights.masked else ()
    notes = (note, *zeros, *given_notes(run.summary))
    tables = (_comparison_table(run.summary), _budget_table(run.summary))
    return Section("comparison", "Dense against slim", notes, tables=tables)


def _weights_note(summary: Summary) -> str:
    weights = summary.weights
    pattern = ", two of every four" if weights.granularity == "2:4" else ""
    return (
        f"Single weights are zero in the slim network{pattern}: "
        f"{formats.percent(weights.share_of_slim)} of its parameters are not, which is "
        f"{formats.percent(weights.share_of_dense)} of the dense network's. Engines do not gain "
        "from single zeros by themselves: MACs, parameters and latency here are those of the "
        "widths, with every zero computed like any other weight."
    )


def _comparison_table(summary: Summary) -> Table:
    dense, slim = summary.dense, summary.slim
    change = formats.signed_points(slim.accuracy - dense.accuracy)
    rows = (
        *given_accuracy(summary),
        ("Accuracy", formats.percent(dense.accuracy), formats.percent(slim.accuracy), change),
        _count_row("MACs", dense.macs, slim.macs),
        _count_row("Parameters", dense.params, slim.params),
        *_nonzero_rows(summary),
        (
            "ONNX file",
            formats.size(dense.bytes),
            formats.size(slim.bytes),
            formats.comparison(dense.bytes, slim.bytes, formats.SIZE_WORDS),
        ),
        _count_row("Training compute (MACs)", dense.training_macs, slim.training_macs),
    )
    columns = ("Quantity", "Dense", "Slim", "Slim against dense")
    return Table("The network before and after", columns, rows)


def _nonzero_rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """A row where single weights are left out; elsewhere it would repeat the parameters."""
    if not summary.weights.masked:
        return ()
    dense, slim = summary.dense.nonzero_params, summary.slim.nonzero_params
    return (_count_row("Parameters not zero", dense, slim),)


def _count_row(name: str, dense: int, slim: int) -> tuple[str, ...]:
    change = formats.comparison(dense, slim, formats.COUNT_WORDS)
    return (name, formats.count(dense), formats.count(slim), change)


def _budget_table(summary: Summary) -> Table:
    asked = {_quantity(key): _amount(key, value) for key, value in summary.budget.asked.items()}
    reached = {_quantity(key): _amount(key, value) for key, value in summary.budget.reached.items()}
    rows = tuple(
        (
            BUDGET_NAMES.get(quantity, quantity),
            asked.get(quantity, formats.NOTHING),
            reached.get(quantity, formats.NOTHING),
        )
        for quantity in dict.fromkeys([*asked, *reached])
    )
    return Table("The budget", ("Quantity", "Asked", "Reached"), rows)


def _quantity(key: str) -> str:
    return key.removeprefix("keep_").removesuffix("_share")


def _amount(key: str, value: Any) -> str:
    if not isinstance(value, (int, float)):
        return formats.plain(value)
    if key.startswith("keep_") or key.endswith("_share"):
        return formats.percent(value)
    return formats.milliseconds(value) if key.endswith("_ms") else formats.plain(value)


def accuracy_section(run: RunRecord) -> Section:
    """Accuracy on the test images after each stage and of each exported file."""
    summary = run.summary
    stages = (
        ("Dense", summary.dense.accuracy),
        ("Masked", summary.masked.accuracy),
        ("Stripped, before tuning", summary.stripped_before_tuning.accuracy),
        ("Slim, tuned", summary.slim.accuracy),
        *((exported.file, exported.accuracy) for exported in summary.verify),
    )
    rows = tuple(
        (
            name,
            formats.percent(accuracy),
            formats.signed_points(accuracy - summary.dense.accuracy),
        )
        for name, accuracy in stages
    )
    note = f"All on the same {formats.integer(summary.test_images)} test images."
    rows = (*given_row(summary), *rows)
    table = Table("Accuracy after each stage", ("Stage or file", "Accuracy", "Against dense"), rows)
    notes = (note, *given_notes(summary))
    return Section("accuracy", "Accuracy at each stage", notes, tables=(table,))


def certificate_section(run: RunRecord) -> Section:
    """How far stripping and exporting moved the outputs."""
    certificate, bounds = run.summary.certificate, run.certificate
    rows = (
        _compared(
            "Masked against stripped, float32",
            certificate.max_rel_diff_fp32,
            bounds.get("bound_fp32"),
        ),
        _compared(
            "Masked against stripped, float64",
            certificate.max_rel_diff_fp64,
            bounds.get("bound_fp64"),
        ),
        *(
            _compared(f"PyTorch against {exported.file}", exported.max_rel_diff, exported.bound)
            for exported in run.summary.verify
        ),
    )
    note = (
        "The masked network (removed units set to zero) and the stripped one (removed units gone) "
        f"were given the same {formats.integer(certificate.inputs)} inputs; a difference in "
        "float32 that all but vanishes in float64 is rounding."
    )
    columns = ("Comparison", "Largest relative difference", "Bound")
    tables = (Table("Outputs compared", columns, rows), *_certificate_tables(run))
    return Section("certificate", "Certificate", (note,), tables=tables)


def _compared(what: str, figure: float, bound: float | None) -> tuple[str, str, str]:
    allowed = formats.NOTHING if bound is None else formats.difference(bound)
    return (what, formats.difference(figure), allowed)


def _certificate_tables(run: RunRecord) -> tuple[Table, ...]:
    """The whole certificate; no table where a run does not have it at hand."""
    if not run.certificate:
        return ()
    rows = tuple(formats.flat(run.certificate))
    return (Table("The whole certificate", ("Key", "Value"), rows, text_columns=2, folded=True),)
